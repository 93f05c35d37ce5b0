import type { Cancellation } from "../cancellation.js";
import type { Signature, TensorSpec } from "../onnx/index.js";
import type { RunResult } from "../runtime/index.js";
import { unknown } from "../status.js";
import type { Tensor } from "../tensor/index.js";
import { type BoundSignature, bindSignature, checkValues, emptyTensor } from "./bound-signature.js";
import type { ExampleInput } from "./example.js";
import { exampleFeeds } from "./example-feeds.js";
import { classesAlias } from "./example-signatures.js";
import type { Servable } from "./servable.js";

/** What a run took; see RunResult. */
export interface RunFigures extends Omit<RunResult, "outputs"> {
  /** Of this call's own: its examples. */
  readonly rows: number;
}

/** A run on examples, which several signatures can share that have the same features. */
export interface ExamplesRun extends RunFigures {
  /** What the signature calls its outputs, of those that the run was asked for. */
  outputsOf(signature: Signature): Map<string, Tensor>;
}

/**
 * Reads the examples once and runs the graph once for all the signatures, whose features must be the same.
 * @param aliases the outputs wanted; default: all
 */
export async function runExamples(
  servable: Servable,
  signatures: readonly [Signature, ...Signature[]],
  input: ExampleInput,
  cancellation: Cancellation,
  aliases?: ReadonlySet<string>,
): Promise<ExamplesRun> {
  const [{ features }] = signatures;
  const feeds = exampleFeeds(features!, input);
  const inner = innerBinding(signatures[0]);
  checkValues(inner, [...feeds.values()], servable.id.name);
  const { refusesEmptyTensors } = servable.description;
  for (const [name, { shape }] of feeds) {
    if (refusesEmptyTensors !== undefined && shape.includes(0)) {
      throw emptyTensor(servable.id.name, name, shape, refusesEmptyTensors);
    }
  }
  const wanted = (alias: string) => aliases === undefined || aliases.has(alias);
  const fetches = new Set<string>();
  for (const signature of signatures) {
    for (const { alias, name } of innerBinding(signature).outputs) if (wanted(alias)) fetches.add(name);
  }
  // Labels alone need no run; one is made all the same, so that inputs the graph refuses are refused.
  if (fetches.size === 0) fetches.add(inner.fetches[0]!);
  const rows = input.examples.count;
  const { outputs, ...figures } = await servable.session.run(feeds, [...fetches], {
    cancellation,
    feedsMayBeTaken: true,
  });
  return {
    ...figures,
    rows,
    outputsOf(signature) {
      const named = new Map<string, Tensor>();
      if (signature.classLabels !== undefined && wanted(classesAlias)) {
        named.set(classesAlias, repeatLabels(signature.classLabels, rows));
      }
      for (const { alias, name } of innerBinding(signature).outputs) {
        if (!wanted(alias)) continue;
        const tensor = outputs.get(name);
        if (tensor === undefined) throw unknown("Predict internal error");
        named.set(alias, tensor);
      }
      return named;
    },
  };
}

export function figuresOf({ queueMs, computeMs, batchSize, rows }: RunFigures): RunFigures {
  return { queueMs, computeMs, batchSize, rows };
}

/** Whether one reading of the examples serves both. */
export function haveSameFeatures(a: Signature, b: Signature): boolean {
  if (a.features === b.features) return true;
  if (a.features === undefined || b.features === undefined || a.features.size !== b.features.size) return false;
  for (const [name, feature] of a.features) {
    const other = b.features.get(name);
    if (other === undefined || !isSameSpec(other.spec, feature.spec)) return false;
    if (other.defaultValue !== feature.defaultValue || !isSamePadding(other.padding, feature.padding)) return false;
  }
  return true;
}

function isSamePadding(a: Tensor | undefined, b: Tensor | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && Object.is(a.data[0], b.data[0]));
}

function isSameSpec(a: TensorSpec, b: TensorSpec): boolean {
  return a.name === b.name && a.shape?.length === b.shape?.length && !a.shape?.some((size, i) => size !== b.shape![i]);
}

/** The signature as the graph sees it: features for inputs, and no labels that are none of its outputs. */
function innerBinding(signature: Signature): BoundSignature {
  let inner = inners.get(signature);
  if (inner === undefined) {
    const { key, methodName, features, outputs, classLabels } = signature;
    const own = [...outputs].filter(([alias]) => classLabels === undefined || alias !== classesAlias);
    inner = {
      key,
      methodName,
      inputs: new Map([...features!].map(([name, { spec }]) => [name, spec])),
      outputs: new Map(own),
    };
    inners.set(signature, inner);
  }
  return bindSignature(inner);
}

const inners = new WeakMap<Signature, Signature>();

function repeatLabels(labels: readonly string[], rows: number): Tensor {
  const data = new Array<string>(rows * labels.length);
  for (let i = 0; i < data.length; i++) data[i] = labels[i % labels.length]!;
  return { dtype: "string", shape: [rows, labels.length], data };
}
