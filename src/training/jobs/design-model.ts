// A new model for given data: what its list of layers and its target leave open.
import { invalidArgument } from "../../status.js";
import { asNumber, isMissing } from "../data/cells.js";
import type { PreparedTable } from "../data/prepare-table.js";
import type { Table } from "../data/table.js";
import { rowSize } from "../examples.js";
import type { LayerSpec } from "../layers/layer-spec.js";
import { type ShortForm, shortForm } from "../layers/short-forms.js";
import type { LossKind, LossOptions } from "../losses.js";
import { classesOf } from "../tensor-rows.js";
import type { TensorSet } from "../tensor-set.js";
import { lastActivation } from "../tensor-training.js";
import type { GivenTrainingOptions } from "../training-options.js";
import type { JobStart, TableSpec } from "./job-spec.js";

type NewStart = Extract<JobStart, { kind: "layers" | "classic" }>;

export interface ModelDesign {
  readonly layers: readonly LayerSpec[];
  /** Instead of what was given. */
  readonly training: Pick<GivenTrainingOptions, "loss" | "optimizer">;
}

/**
 * Whether a column is to be predicted as classes or as a number: as the client says, by the loss, by what the layers
 * end in, or else by what the column holds.
 */
export function taskOfTable(
  { target, task }: Pick<TableSpec, "target" | "task">,
  start: NewStart,
  loss: LossKind | undefined,
  table: Table,
): { readonly task: "classification" | "regression"; readonly notice?: string } {
  const said = task ?? taskOfLoss(loss ?? (start.kind === "classic" ? shortForm(start.form).loss.kind : undefined));
  if (said !== undefined) return { task: said };
  if (start.kind === "layers" && endsInClasses(start.layers)) return { task: "classification" };
  if (!holdsNumbers(table, target)) return { task: "classification" };
  const notice = `column "${target}" holds numbers and is predicted as one; to tell them apart as classes, set table.task to classification`;
  return { task: "regression", notice };
}

const taskOfLoss = (loss: LossKind | undefined) =>
  loss === undefined ? undefined : loss.endsWith("crossentropy") ? "classification" : "regression";

/** A number to be predicted is one unit that is not squashed. */
function endsInClasses(layers: readonly LayerSpec[]): boolean {
  return ["sigmoid", "softmax", "log_softmax"].includes(lastActivation(layers) ?? "") || (lastUnits(layers) ?? 1) > 1;
}

function lastUnits(layers: readonly LayerSpec[]): number | undefined {
  const last = layers.findLast(({ type }) => type !== "activation" && type !== "dropout");
  return last?.type === "dense" ? last.units : undefined;
}

function holdsNumbers(table: Table, column: string): boolean {
  const place = table.columns.indexOf(column);
  if (place < 0) throw invalidArgument(`the table has no column "${column}"; it has ${table.columns.join(", ")}`);
  for (const cells of table.rows()) {
    const cell = cells[place]!;
    if (!isMissing(cell) && asNumber(cell) === undefined) return false;
  }
  return true;
}

export function designForTable(
  start: NewStart,
  { target, split }: PreparedTable,
  { loss, optimizer }: GivenTrainingOptions,
): ModelDesign {
  if (start.kind === "classic") {
    const classes = target.kind === "classes" ? target.labels.length : 2;
    return designOfForm(
      shortForm(start.form, { ...start.options, classes, rows: split.train.length }),
      loss,
      optimizer,
    );
  }
  const oneScore = lastUnits(start.layers) === 1;
  const suited = oneScore ? "binary_crossentropy" : "sparse_categorical_crossentropy";
  return {
    layers: start.layers,
    training: { loss: { kind: target.kind === "number" ? "mse" : suited, ...loss }, optimizer: optimizer ?? {} },
  };
}

export function designForTensors(
  start: NewStart,
  data: TensorSet,
  { loss, optimizer }: GivenTrainingOptions,
  { labels, trainRows }: { readonly labels: readonly string[] | undefined; readonly trainRows: number },
): ModelDesign {
  if (start.kind === "layers") return { layers: start.layers, training: { loss, optimizer: optimizer ?? {} } };
  const form = shortForm(start.form, {
    ...start.options,
    rows: trainRows,
    classes: labels?.length ?? classCount(data),
  });
  const [last] = form.layers;
  const units = form.loss.kind === "mse" ? rowSize(data.target) : undefined;
  const dense: LayerSpec = last?.type === "dense" && units !== undefined ? { ...last, units } : last!;
  const shape = data.inputs[0]?.shape ?? [];
  const layers: readonly LayerSpec[] = shape.length > 1 ? [{ type: "flatten" }, dense] : [dense];
  return designOfForm({ ...form, layers }, loss, optimizer);
}

/** As many as the highest number asks for. */
function classCount(data: TensorSet): number {
  const classes = classesOf(data, "sparse_categorical_crossentropy");
  // What is no class is refused when its row is read.
  const highest = classes?.reduce((a, b) => (Number.isInteger(b) ? Math.max(a, b) : a), 0) ?? 0;
  return Math.max(2, highest + 1);
}

function designOfForm(
  form: ShortForm,
  loss: Partial<LossOptions> | undefined,
  optimizer: GivenTrainingOptions["optimizer"],
): ModelDesign {
  return {
    layers: form.layers,
    training: { loss: { ...form.loss, ...loss }, optimizer: { ...optimizer, ...form.optimizer } },
  };
}
