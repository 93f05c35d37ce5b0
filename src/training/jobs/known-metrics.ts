import { invalidArgument } from "../../status.js";
import { computeMetrics, type Task } from "../metrics.js";
import type { PreparedTraining } from "../prepared-training.js";
import type { JobSpec } from "./job-spec.js";

/**
 * What early stopping watches and the gate asks for must be told in the end.
 * Throws INVALID_ARGUMENT naming the metric, or for want of rows to validate on.
 */
export function requireKnownMetrics(
  { gate, training: { earlyStopping } }: JobSpec,
  { trainer, validation }: Pick<PreparedTraining, "trainer" | "validation">,
): void {
  const names = metricNames(trainer.task);
  const require = (what: string, name: string, known: readonly string[]) => {
    if (validation === undefined) {
      throw invalidArgument(
        `${what} asks for ${name}, but there are no rows to validate on; give validation data, or a validation_split`,
      );
    }
    if (!known.includes(name)) {
      throw invalidArgument(`${what} asks for "${name}", which this model does not have; it has ${known.join(", ")}`);
    }
  };
  for (const { metric } of gate.conditions) require("gate.conditions", metric, names);
  const watched = earlyStopping === undefined ? "loss" : (earlyStopping.monitor ?? "val_loss");
  // The loss of training there always is.
  if (watched !== "loss")
    require("early_stopping.monitor", watched, ["val_loss", ...names.flatMap((name) => [name, `val_${name}`])]);
}

/** The names of all metrics that such a task has where its rows define them. */
function metricNames(task: Task): string[] {
  const classes = task.kind === "multiclass" ? task.classes : 1;
  const predictions = new Float64Array(2 * classes);
  // Two rows, told apart rightly: there is nothing they leave undefined.
  predictions[classes === 1 ? 1 : 0] = 1;
  if (classes > 1) predictions[classes + 1] = 1;
  const { values } = computeMetrics(task, { predictions, targets: [0, 1], weights: [1, 1] });
  return ["loss", ...values.keys()];
}
