// A signature made ready for calls: what does not depend on a request is worked out once, when the model is loaded.
import type { Signature, TensorSpec } from "../onnx/index.js";
import { invalidArgument } from "../status.js";
import { elementTypeInfo, formatShape, type Shape, type Tensor } from "../tensor/index.js";
import type { TensorSource } from "./predict.js";

/** One input, at its place among the feeds. */
export interface BoundInput {
  readonly alias: string;
  readonly spec: TensorSpec;
  readonly defaultValue: Tensor | undefined;
  /**
   * One number a dimension: a size of 0 or more; -1 where any size will do; -2 - k where the size must be the one that
   * the k-th shared symbol has everywhere else. undefined: any rank.
   */
  readonly dimensions: readonly number[] | undefined;
}

export interface BoundOutput {
  readonly alias: string;
  /** The tensor's name in the graph. */
  readonly name: string;
}

export interface BoundSignature {
  readonly inputs: readonly BoundInput[];
  /** Names of the inputs' tensors in the graph. */
  readonly feeds: readonly string[];
  readonly outputs: readonly BoundOutput[];
  /** Of the outputs, in their order. */
  readonly outputAliases: readonly string[];
  readonly outputByAlias: ReadonlyMap<string, BoundOutput>;
  /** Names of all outputs' tensors, each once. */
  readonly fetches: readonly string[];
  /** Each output has a tensor of its own: fetches and outputs have one order. */
  readonly fetchesAreOutputs: boolean;
  /** Names of dimensions that occur more than once among the inputs, and so must have one size in a call. */
  readonly sharedSymbols: readonly string[];
  readonly hasDefaults: boolean;
}

const bound = new WeakMap<Signature, BoundSignature>();

export function bindSignature(signature: Signature): BoundSignature {
  let binding = bound.get(signature);
  if (binding === undefined) {
    binding = makeBinding(signature);
    bound.set(signature, binding);
  }
  return binding;
}

function makeBinding(signature: Signature): BoundSignature {
  const sharedSymbols = sharedSymbolsOf(signature.inputs.values());
  const inputs = [...signature.inputs].map(([alias, spec]) => ({
    alias,
    spec,
    defaultValue: signature.defaults?.get(alias),
    dimensions: spec.shape?.map((dimension) => {
      if (typeof dimension === "number") return dimension;
      const slot = dimension === undefined ? -1 : sharedSymbols.indexOf(dimension);
      return slot < 0 ? -1 : -2 - slot;
    }),
  }));
  const outputs = [...signature.outputs].map(([alias, { name }]) => ({ alias, name }));
  const fetches = [...new Set(outputs.map(({ name }) => name))];
  return {
    inputs,
    feeds: inputs.map(({ spec }) => spec.name),
    outputs,
    outputAliases: outputs.map(({ alias }) => alias),
    outputByAlias: new Map(outputs.map((output) => [output.alias, output])),
    fetches,
    fetchesAreOutputs: fetches.length === outputs.length,
    sharedSymbols,
    hasDefaults: inputs.some(({ defaultValue }) => defaultValue !== undefined),
  };
}

function sharedSymbolsOf(inputs: Iterable<TensorSpec>): string[] {
  const uses = new Map<string, number>();
  for (const { shape } of inputs) {
    for (const dimension of shape ?? []) {
      if (typeof dimension === "string") uses.set(dimension, (uses.get(dimension) ?? 0) + 1);
    }
  }
  return [...uses].filter(([, count]) => count > 1).map(([symbol]) => symbol);
}

/**
 * The request's tensors in the order of the feeds; undefined where the default value serves.
 * @throws INVALID_ARGUMENT in TensorFlow Serving's words for names that do not fit and tensors that are none
 */
export function matchInputs(
  binding: BoundSignature,
  request: ReadonlyMap<string, TensorSource>,
): (TensorSource | undefined)[] {
  const { inputs } = binding;
  if (request.size > inputs.length || (request.size < inputs.length && !binding.hasDefaults)) {
    throw inputSizeMismatch(inputs, request);
  }
  const matched = new Array<TensorSource | undefined>(inputs.length);
  let used = 0;
  for (let index = 0; index < inputs.length; index++) {
    const input = inputs[index]!;
    const source = request.get(input.alias);
    if (source === undefined) {
      if (input.defaultValue === undefined) throw inputMissing(input, inputs, request);
    } else {
      if (source.invalid !== undefined) throw unreadableTensor(input.alias, source.invalid);
      used++;
    }
    matched[index] = source;
  }
  if (used < request.size) throw invalidName(inputs, request);
  return matched;
}

export function unreadableTensor(alias: string, detail: string) {
  return invalidArgument(`tensor parsing error: ${alias}: ${detail}`);
}

function inputSizeMismatch(inputs: readonly BoundInput[], request: ReadonlyMap<string, TensorSource>) {
  const sent = [...request.keys()].sort();
  const known = inputs.map(({ alias }) => alias).sort();
  const extra = sent.filter((alias) => !known.includes(alias));
  const missing = inputs
    .filter(({ alias, defaultValue }) => defaultValue === undefined && !request.has(alias))
    .map(({ alias }) => alias)
    .sort();
  return invalidArgument(
    `input size does not match signature: ${sent.length}!=${known.length} ` +
      `len({${sent.join(",")}}) != len({${known.join(",")}}). ` +
      `Sent extra: {${extra.join(",")}}. Missing but required: {${missing.join(",")}}.`,
  );
}

function inputMissing(
  input: BoundInput,
  inputs: readonly BoundInput[],
  request: ReadonlyMap<string, TensorSource>,
): Error {
  const defaults = inputs.filter(({ defaultValue }) => defaultValue !== undefined).map(({ alias }) => alias);
  return invalidArgument(
    `Signature input alias: ${input.alias}(feed name: ${input.spec.name}) not found in request and no default value ` +
      `provided. Inputs expected to be in the request {${[...request.keys()].sort().join(",")}}, ` +
      `or default input alias set: ${defaults.sort().join(",")}`,
  );
}

function invalidName(inputs: readonly BoundInput[], request: ReadonlyMap<string, TensorSource>) {
  const used = inputs.map(({ alias }) => alias).filter((alias) => request.has(alias));
  return invalidArgument(
    `Inputs contains invalid name. Used request inputs: ${used.sort().join(",")}, ` +
      `request input: ${[...request.keys()].sort().join(",")}`,
  );
}

/**
 * The outputs that a filter asks for, in the signature's order; all of them for an empty filter.
 * @throws INVALID_ARGUMENT in TensorFlow Serving's words
 */
export function selectOutputs(binding: BoundSignature, filter: readonly string[]): readonly BoundOutput[] {
  if (filter.length === 0) return binding.outputs;
  const asked = new Set<string>();
  for (const alias of filter) {
    if (!binding.outputByAlias.has(alias)) {
      const known = [...binding.outputByAlias.keys()].sort().join(",");
      throw invalidArgument(
        `output tensor alias not found in signature: ${alias} Outputs expected to be in the set {${known}}.`,
      );
    }
    if (asked.has(alias)) throw invalidArgument(`duplicate output tensor alias: ${alias}`);
    asked.add(alias);
  }
  return binding.outputs.filter(({ alias }) => asked.has(alias));
}

/**
 * Compares types, then ranks and sizes, with what the signature declares. Nothing has been allocated for the values yet.
 * @param model what errors call the model
 * @throws INVALID_ARGUMENT
 */
export function checkValues(
  binding: BoundSignature,
  values: readonly { readonly dtype: Tensor["dtype"]; readonly shape: Shape }[],
  model: string,
): void {
  const { inputs } = binding;
  for (let i = 0; i < inputs.length; i++) {
    const { spec, alias } = inputs[i]!;
    const { dtype } = values[i]!;
    if (dtype !== spec.dtype) {
      const [want, got] = [elementTypeInfo(spec.dtype).tensorflowName, elementTypeInfo(dtype).tensorflowName];
      throw invalidArgument(`Expects arg[${i}] to be ${want} but ${got} is provided (model ${model}, input ${alias})`);
    }
  }
  // The size each shared symbol has in this call, and the input that said so first.
  const sizes: number[] = binding.sharedSymbols.length === 0 ? none : [];
  const saidBy: string[] = binding.sharedSymbols.length === 0 ? none : [];
  for (let i = 0; i < inputs.length; i++) {
    const { dimensions, spec, alias } = inputs[i]!;
    if (dimensions === undefined) continue;
    const { shape } = values[i]!;
    if (shape.length !== dimensions.length) throw shapeMismatch(model, alias, spec, shape);
    for (let axis = 0; axis < dimensions.length; axis++) {
      const declared: number = dimensions[axis]!;
      const size = shape[axis]!;
      if (declared >= 0) {
        if (size !== declared) throw shapeMismatch(model, alias, spec, shape);
      } else if (declared < -1) {
        const symbol = -2 - declared;
        if (sizes[symbol] === undefined) {
          sizes[symbol] = size;
          saidBy[symbol] = alias;
        } else if (sizes[symbol] !== size) {
          throw invalidArgument(
            `model ${model}, input ${alias}: dimension ${axis} (${binding.sharedSymbols[symbol]}) ` +
              `expected ${sizes[symbol]}, as in input ${saidBy[symbol]}; got ${size}`,
          );
        }
      }
    }
  }
}

/** Never written to. */
const none: never[] = [];

function shapeMismatch(model: string, alias: string, spec: TensorSpec, got: Shape) {
  return invalidArgument(
    `model ${model}, input ${alias}: expected shape ${formatShape(spec.shape!)}, got ${formatShape(got)}`,
  );
}

/** @param reason why the model cannot take a tensor without elements; see ModelDescription.refusesEmptyTensors */
export function emptyTensor(model: string, alias: string, shape: Shape, reason: string) {
  return invalidArgument(
    `model ${model}, input ${alias}: the shape ${formatShape(shape)} holds no elements, and ${reason}`,
  );
}
