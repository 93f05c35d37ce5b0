import { requireInteger, requireNumber, requireOneOf } from "../../options.js";
import { invalidArgument } from "../../status.js";
import { validateColumnSpec } from "../data/column-spec.js";
import { shortForm } from "../layers/short-forms.js";
import { validateTrainingOptions } from "../training-options.js";
import { givenTrainingOptions } from "./given-training-options.js";
import type { JobSpec, TableSpec } from "./job-spec.js";

/**
 * All that can be said of a spec before there are data. Throws INVALID_ARGUMENT in the client's words: fields are named
 * as in onnxd/v1/training.proto.
 */
export function validateJobSpec(spec: JobSpec): void {
  requireModest(spec);
  if (spec.model === "") throw invalidArgument("model: name the model whose next version this becomes");
  if (spec.version !== undefined) requireVersion("version", spec.version);
  validateStart(spec);
  if (spec.table !== undefined) validateTable(spec.table, spec.start.kind === "update");
  validateLabels(spec);
  const { training, limits } = spec;
  validateTrainingOptions(givenTrainingOptions(training));
  if (training.validationSplit !== undefined) {
    requireNumber("validation_split", training.validationSplit, { min: 0, below: 1 });
  }
  for (const [label, weight] of Object.entries(training.classWeights)) {
    requireNumber(`class_weights: the weight of "${label}"`, weight, { min: 0 });
  }
  validateGate(spec);
  if (limits.maxSeconds !== undefined) requireNumber("limits.max_seconds", limits.maxSeconds, { above: 0 });
  if (limits.maxMemoryBytes !== undefined) requireInteger("limits.max_memory_bytes", limits.maxMemoryBytes, { min: 1 });
  if (limits.checkpointSeconds !== undefined) {
    requireNumber("limits.checkpoint_seconds", limits.checkpointSeconds, { above: 0 });
  }
}

/** Each event about a job's state holds its spec, and so does each answer. */
const maxSpecLength = 2 ** 20;

function requireModest(spec: JobSpec): void {
  const { length } = JSON.stringify(spec);
  if (length > maxSpecLength) {
    throw invalidArgument(`the spec has ${length} characters as JSON; ${maxSpecLength} are allowed`);
  }
}

/** The first that has been there before, told in one pass over however many there are. */
function firstTwice(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return names.find((name) => seen.size === seen.add(name).size);
}

function requireVersion(what: string, version: string): void {
  if (/^[1-9]\d{0,18}$/.test(version) && BigInt(version) < 2n ** 63n) return;
  throw invalidArgument(`${what} must be a whole number from 1 on that 64 bits hold; got "${version}"`);
}

function validateStart({ start, training }: JobSpec): void {
  const { loss, optimizer } = training;
  switch (start.kind) {
    case "layers":
      if (start.layers.length === 0) throw invalidArgument("layers: there are no layers");
      return;
    case "classic": {
      const form = shortForm(start.form, start.options);
      if (loss?.kind !== undefined && loss.kind !== form.loss.kind) {
        throw invalidArgument(`classic: ${start.form} has the loss ${form.loss.kind}; leave ${loss.kind} out`);
      }
      if ((optimizer.l1 ?? 0) > 0 || (optimizer.l2 ?? 0) > 0) {
        throw invalidArgument(
          "classic: penalties belong to ridge, lasso and elastic_net; leave optimizer.l1 and l2 out",
        );
      }
      return;
    }
    case "fine-tune":
      requireRef("fine_tune.base", start.base);
      if (start.headClasses !== undefined) requireInteger("fine_tune.head_classes", start.headClasses, { min: 2 });
      for (const { names, scale } of start.learningRateScales) {
        requireNumber(`fine_tune.learning_rate_scales: the scale of "${names}"`, scale, { min: 0 });
      }
      return;
    case "update":
      requireRef("update.base", start.base);
      if (loss !== undefined) throw invalidArgument("loss: an update keeps the loss of its base; leave it out");
      if (training.threshold !== undefined) {
        throw invalidArgument("threshold: an update keeps that of its base; leave it out");
      }
  }
}

function requireRef(
  what: string,
  { version, label }: { version?: string | undefined; label?: string | undefined },
): void {
  if (version !== undefined) requireVersion(`${what}.version`, version);
  if (version !== undefined && label !== undefined)
    throw invalidArgument(`${what}: give a version or a label, not both`);
}

function validateTable({ target, task, columns, numbers, weight, onlyNamed }: TableSpec, isUpdate: boolean): void {
  if (task !== undefined) requireOneOf("table.task", task, ["classification", "regression"]);
  const names = columns.map(({ name }) => name);
  if (names.includes("")) throw invalidArgument("table.columns: a column has no name");
  const twice = firstTwice(names);
  if (twice !== undefined) throw invalidArgument(`table.columns: "${twice}" is given twice`);
  for (const column of columns) validateColumnSpec(column);
  if (numbers !== undefined) validateColumnSpec({ name: "table.numbers", ...numbers });
  if (weight !== undefined && weight === target) {
    throw invalidArgument(`table: column "${weight}" cannot be both target and weight`);
  }
  if (isUpdate && (columns.length > 0 || numbers !== undefined || onlyNamed || task !== undefined)) {
    throw invalidArgument("table: an update keeps how its base uses columns; only weight can be given");
  }
}

function validateLabels({ classLabels, start }: JobSpec): void {
  if (classLabels.length === 0) return;
  if (start.kind === "update" || (start.kind === "fine-tune" && start.headClasses === undefined)) {
    throw invalidArgument("class_labels: the classes are those of the base; leave class_labels out");
  }
  const twice = classLabels.includes("") ? "" : firstTwice(classLabels);
  if (twice !== undefined) throw invalidArgument(`class_labels: "${twice}" is empty or given twice`);
  if (start.kind === "fine-tune" && classLabels.length !== start.headClasses) {
    throw invalidArgument(`class_labels names ${classLabels.length} classes; the new head has ${start.headClasses}`);
  }
}

function validateGate({ gate }: JobSpec): void {
  for (const { metric, min, max } of gate.conditions) {
    if (metric === "") throw invalidArgument("gate.conditions: a condition names no metric");
    const of = `gate.conditions: ${metric}`;
    if (min === undefined && max === undefined) throw invalidArgument(`${of}: give min, max, or both`);
    for (const bound of [min, max]) if (bound !== undefined) requireNumber(of, bound, {});
    if (min !== undefined && max !== undefined && min > max) {
      throw invalidArgument(`${of}: min ${min} is above max ${max}`);
    }
  }
}
