// A servable as the Open Inference Protocol shows it: one flat list of inputs and outputs, and whether the first
// dimension of all of them is a batch that the server may put together with others.
import { type Dimension, defaultSignatureKey, type Signature } from "../../onnx/index.js";
import type { Servable } from "../../serving/index.js";
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
  const signature = viewedSignature(servable);
  const maxBatchSize = batchSizeOf(servable, signature);
  const dimsOf = (shape: readonly Dimension[] | undefined) => {
    const dims = shape?.map((size) => (typeof size === "number" ? size : -1));
    return maxBatchSize > 0 ? dims?.slice(1) : dims;
  };
  const inputs = [...signature.inputs].map(([name, { dtype, shape }]): [string, TensorView] => [
    name,
    { dtype, dims: dimsOf(shape), reshape: undefined, optional: signature.defaults?.has(name) === true },
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
          dims: dimsOf(shape),
          reshape: undefined,
          optional: false,
          labels: servable.description.classLabels.get(tensor)?.map(String),
        },
      ]),
    ),
  };
}

/** The protocol has no signatures: it shows serving_default, or the only one there is. */
function viewedSignature({ id, signatures }: Servable): Signature {
  const signature =
    signatures.get(defaultSignatureKey) ?? (signatures.size === 1 ? [...signatures.values()][0] : undefined);
  if (signature !== undefined) return signature;
  throw failedPrecondition(
    `model '${id.name}' has the signatures ${[...signatures.keys()].join(", ")} and no ${defaultSignatureKey}; ` +
      "the Open Inference Protocol cannot tell them apart",
  );
}

/**
 * As many rows as the server itself would run together, where that is proven safe and every tensor begins with an open
 * dimension. (Triton assumes 4 for every model with open first dimensions, proven or not.)
 */
function batchSizeOf(servable: Servable, { inputs, outputs }: Signature): number {
  const { provenSafe } = servable.description.batching;
  if (!provenSafe) return 0;
  const open = [...inputs.values(), ...outputs.values()].every(
    ({ shape }) => shape !== undefined && shape.length > 0 && typeof shape[0] !== "number",
  );
  return open ? autoMaxBatchSize : 0;
}

const autoMaxBatchSize = 256;
