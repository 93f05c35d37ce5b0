// A servable as the Open Inference Protocol shows it: one flat list of inputs and outputs, and whether the first
// dimension of all of them is a batch that the server may put together with others.
import { type Dimension, defaultSignatureKey, type Signature } from "../../onnx/index.js";
import { type Servable, type TritonModel, viewedSignature } from "../../serving/index.js";
import { failedPrecondition } from "../../status.js";
import type { ElementType, Shape } from "../../tensor/index.js";

export interface ModelView {
  readonly signature: Signature;
  /** Rows of a batch; 0: the model has no batch dimension that requests may rely on. */
  readonly maxBatchSize: number;
  /** Whether a request with more rows than maxBatchSize is refused. */
  readonly limitsBatch: boolean;
  /** By name, in the model's order. */
  readonly inputs: ReadonlyMap<string, TensorView>;
  /** Inputs that are not optional. */
  readonly requiredInputs: number;
  readonly outputs: ReadonlyMap<string, OutputView>;
}

export interface TensorView {
  readonly dtype: ElementType;
  /** What requests show, the batch dimension left out; -1 stands for any size; undefined: any rank. */
  readonly dims: Shape | undefined;
  /** What the model itself sees, the batch dimension left out, where that differs. */
  readonly reshape: Shape | undefined;
  /** The request may leave it out. */
  readonly optional: boolean;
}

export interface OutputView extends TensorView {
  /** By index along the last dimension, for the classification extension. */
  readonly labels: readonly string[] | undefined;
}

const views = new WeakMap<Servable, ModelView>();

/** @throws FAILED_PRECONDITION when none of several signatures is the default one */
export function modelView(servable: Servable): ModelView {
  let view = views.get(servable);
  if (view === undefined) {
    view = makeView(servable);
    views.set(servable, view);
  }
  return view;
}

/** The shape that metadata shows: with the batch dimension in front. A tensor of any rank is shown as one open dimension. */
export function shownShape(view: ModelView, { dims }: TensorView): Shape {
  if (dims === undefined) return [-1];
  return view.maxBatchSize > 0 ? [-1, ...dims] : dims;
}

function makeView(servable: Servable): ModelView {
  const signature = requireViewedSignature(servable);
  return servable.triton === undefined
    ? viewOfSignature(servable, signature, undefined)
    : viewOfTriton(servable, signature, servable.triton);
}

/** As config.pbtxt has it; what it leaves out is as the model file has it. */
function viewOfTriton(servable: Servable, signature: Signature, triton: TritonModel): ModelView {
  const { maxBatchSize, inputs, outputs } = triton;
  // A configuration that says nothing of tensors or batches leaves both to the model, as Triton's does.
  const saysNothing = maxBatchSize === 0 && inputs === undefined && outputs === undefined;
  const automatic = viewOfSignature(servable, signature, saysNothing ? undefined : maxBatchSize);
  return {
    ...automatic,
    limitsBatch: maxBatchSize > 0,
    ...(inputs && { inputs: new Map(inputs.map((input) => [input.name, { ...input, optional: false }])) }),
    ...(outputs && { outputs: new Map(outputs.map((output) => [output.name, { ...output, optional: false }])) }),
  };
}

function viewOfSignature(servable: Servable, signature: Signature, batchSize: number | undefined): ModelView {
  const maxBatchSize = batchSize ?? batchSizeOf(servable, signature);
  const seen = (shape: readonly Dimension[] | undefined): Pick<TensorView, "dims" | "reshape"> => {
    const sizes = shape?.map((size) => (typeof size === "number" ? size : -1));
    const dims = maxBatchSize > 0 ? sizes?.slice(1) : sizes;
    // A batch that was asked for leaves nothing of a tensor of one dimension: Triton then shows one element.
    const empty = batchSize !== undefined && batchSize > 0 && dims?.length === 0;
    return empty ? { dims: [1], reshape: [] } : { dims, reshape: undefined };
  };
  const inputs = [...signature.inputs].map(([name, { dtype, shape }]): [string, TensorView] => [
    name,
    { dtype, ...seen(shape), optional: signature.defaults?.has(name) === true },
  ]);
  return {
    signature,
    maxBatchSize,
    limitsBatch: false,
    inputs: new Map(inputs),
    requiredInputs: inputs.filter(([, { optional }]) => !optional).length,
    outputs: new Map(
      [...signature.outputs].map(([name, { name: tensor, dtype, shape }]) => [
        name,
        {
          dtype,
          ...seen(shape),
          optional: false,
          labels: servable.description.classLabels.get(tensor)?.map(String),
        },
      ]),
    ),
  };
}

function requireViewedSignature({ id, signatures }: Servable): Signature {
  const signature = viewedSignature(signatures);
  if (signature !== undefined) return signature;
  throw failedPrecondition(
    `model '${id.name}' has the signatures ${[...signatures.keys()].join(", ")} and no ${defaultSignatureKey}; ` +
      "the Open Inference Protocol cannot tell them apart",
  );
}

/**
 * As many rows as the server itself would run together, where that is proven safe and every tensor begins with an open
 * dimension. (Triton assumes 4 for every model with open first dimensions, proven or not.) An input of one dimension
 * would be left with none: perf_analyzer refuses such, so that its dimension is shown as what it is.
 */
function batchSizeOf(servable: Servable, { inputs, outputs }: Signature): number {
  const { provenSafe } = servable.description.batching;
  if (!provenSafe || [...inputs.values()].some(({ shape }) => shape?.length === 1)) return 0;
  const open = [...inputs.values(), ...outputs.values()].every(
    ({ shape }) => shape !== undefined && shape.length > 0 && typeof shape[0] !== "number",
  );
  return open ? autoMaxBatchSize : 0;
}

const autoMaxBatchSize = 256;
