// What of a request does not fit its model, in Triton's order and words; all of it before anything is allocated.
import type { TensorSource } from "../../serving/index.js";
import { invalidArgument } from "../../status.js";
import { elementCount, elementTypeInfo, type Shape } from "../../tensor/index.js";
import { classificationOf, refuseSharedMemory } from "./infer-parameters.js";
import type { InferInput, InferRequest } from "./infer-request.js";
import { type ModelView, shownShape, type TensorView } from "./model-view.js";

export interface CheckedRequest {
  readonly inputs: ReadonlyMap<string, TensorSource>;
  /** By name, in the order they were asked for: how many of the best elements, or 0 for the tensor itself. */
  readonly outputs: ReadonlyMap<string, number>;
  /** Of the request; 1 when the model has no batch dimension. */
  readonly rows: number;
}

/**
 * @param model what errors call the model
 * @throws INVALID_ARGUMENT; NOT_FOUND for regions of shared memory
 */
export function checkRequest(request: InferRequest, view: ModelView, model: string): CheckedRequest {
  const inputs = distinctInputs(request.inputs);
  const outputs = new Map<string, number>();
  for (const { name, parameters } of request.outputs) outputs.set(name, classificationOf(name, parameters));
  for (const { name, parameters, contents } of inputs.values()) {
    refuseSharedMemory(parameters);
    const fault = contents.fault(name, model);
    if (fault !== undefined) throw invalidArgument(fault);
  }
  for (const name of outputs.keys()) {
    if (!view.outputs.has(name)) throw invalidArgument(`unexpected inference output '${name}' for model '${model}'`);
  }
  const { id } = request;
  checkNames(inputs, view, model, id);
  const rows = checkBatch(inputs, view, model, id);
  const sources = new Map<string, TensorSource>();
  for (const [name, input] of inputs) sources.set(name, checkInput(input, view, model, id));
  if (outputs.size === 0) for (const name of view.outputs.keys()) outputs.set(name, 0);
  return { inputs: sources, outputs, rows };
}

function distinctInputs(inputs: readonly InferInput[]): ReadonlyMap<string, InferInput> {
  const byName = new Map<string, InferInput>();
  for (const input of inputs) {
    if (byName.has(input.name)) throw invalidArgument(`input '${input.name}' already exists in request`);
    byName.set(input.name, input);
  }
  return byName;
}

function checkNames(inputs: ReadonlyMap<string, InferInput>, view: ModelView, model: string, id: string): void {
  if (inputs.size > view.inputs.size || inputs.size < view.requiredInputs) {
    throw wrongNumberOfInputs(inputs, view, model, id);
  }
  for (const name of inputs.keys()) {
    if (!view.inputs.has(name)) throw invalidArgument(`unexpected inference input '${name}' for model '${model}'`);
  }
}

function wrongNumberOfInputs(inputs: ReadonlyMap<string, InferInput>, view: ModelView, model: string, id: string) {
  const { requiredInputs: required } = view;
  const missing = [...view.inputs].filter(([name, { optional }]) => !optional && !inputs.has(name));
  const list = (names: readonly string[]) => `[${names.map((name) => `'${name}'`).join(",")}]`;
  const expected =
    required === view.inputs.size
      ? `expected ${required} inputs but got`
      : `expected number of inputs between ${required} and ${view.inputs.size} but got`;
  return invalidArgument(
    `${tag(id)}${expected} ${inputs.size} inputs for model '${model}'. Got input(s) ${list([...inputs.keys()])}, ` +
      `but missing required input(s) ${list(missing.map(([name]) => name))}. Please provide all required input(s).`,
  );
}

function checkBatch(inputs: ReadonlyMap<string, InferInput>, view: ModelView, model: string, id: string): number {
  if (view.maxBatchSize === 0) return 1;
  let rows: number | undefined;
  for (const { name, shape } of inputs.values()) {
    if (shape.length === 0) {
      throw invalidArgument(`${tag(id)}input '${name}' has no shape but model requires batch dimension for '${model}'`);
    }
    rows ??= shape[0]!;
    if (shape[0] !== rows) {
      throw invalidArgument(`${tag(id)}input '${name}' batch size does not match other inputs for '${model}'`);
    }
  }
  if (view.limitsBatch && (rows ?? 0) > view.maxBatchSize) {
    throw invalidArgument(`${tag(id)}inference request batch-size must be <= ${view.maxBatchSize} for '${model}'`);
  }
  return rows ?? 1;
}

function checkInput(input: InferInput, view: ModelView, model: string, id: string): TensorSource {
  const { name, datatype, shape, contents } = input;
  const tensor = view.inputs.get(name)!;
  const type = elementTypeInfo(tensor.dtype);
  if (datatype !== type.openInference) {
    throw invalidArgument(
      `${tag(id)}inference input '${name}' data-type is '${datatype}', but model '${model}' expects '${type.openInference}'`,
    );
  }
  const count = elementCount(shape);
  if (count === undefined || !fits(shape, view, tensor)) throw unexpectedShape(input, view, tensor, model, id);
  if (type.bytesPerElement > 0) {
    const expected = count * type.bytesPerElement;
    const got = contents.byteLength(type);
    if (got !== expected) {
      throw invalidArgument(
        `${tag(id)}input byte size mismatch for input '${name}' for model '${model}'. Expected ${expected}, got ${got}`,
      );
    }
  }
  const shapeOfModel = reshaped(shape, view, tensor);
  return {
    invalid: undefined,
    dtype: tensor.dtype,
    shape: shapeOfModel,
    decode: () => ({
      dtype: tensor.dtype,
      shape: shapeOfModel,
      data: contents.decode(type, count, name, model),
    }),
  };
}

function fits(shape: Shape, view: ModelView, { dims }: TensorView): boolean {
  if (dims === undefined) return true;
  const from = view.maxBatchSize > 0 ? 1 : 0;
  if (shape.length !== dims.length + from) return false;
  return dims.every((size, axis) => size === -1 || size === shape[axis + from]);
}

function unexpectedShape(input: InferInput, view: ModelView, tensor: TensorView, model: string, id: string) {
  const expected = tensor.dims === undefined ? "any rank" : `[${shownShape(view, tensor).join(",")}]`;
  const note =
    view.maxBatchSize > 0
      ? "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape."
      : "";
  return invalidArgument(
    `${tag(id)}unexpected shape for input '${input.name}' for model '${model}'. ` +
      `Expected ${expected}, got [${input.shape.join(",")}]. ${note}`,
  );
}

/** The shape that the model itself sees: its open dimensions take the sizes of the open dimensions of dims, in turn. */
function reshaped(shape: Shape, view: ModelView, { dims, reshape }: TensorView): Shape {
  if (reshape === undefined || dims === undefined) return shape;
  const from = view.maxBatchSize > 0 ? 1 : 0;
  const open = dims.flatMap((size, axis) => (size === -1 ? [shape[axis + from]!] : []));
  let next = 0;
  return [...shape.slice(0, from), ...reshape.map((size) => (size === -1 ? open[next++]! : size))];
}

/** As Triton's core begins its errors, so that they can be found in the log of a client that has many requests. */
function tag(id: string): string {
  return `[request id: ${id === "" ? "<id_unknown>" : id}] `;
}
