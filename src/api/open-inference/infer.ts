import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { RunError } from "../../runtime/index.js";
import { type ModelRepository, type PredictResult, runSignature } from "../../serving/index.js";
import { Code, internal } from "../../status.js";
import type { CallRecord } from "../../telemetry/index.js";
import type { Tensor } from "../../tensor/index.js";
import { type CheckedRequest, checkRequest } from "./check-request.js";
import { classify } from "./classification.js";
import { checkRequestParameters } from "./infer-parameters.js";
import type { InferOutput, InferRequest, InferResponse } from "./infer-request.js";
import { findServable } from "./model-lookup.js";
import { type ModelView, modelView, type OutputView } from "./model-view.js";

/** What an inference tells of itself on its way: the fields of the call's record. */
export type InferRecord = Pick<
  CallRecord,
  "model" | "version" | "signature" | "queueMs" | "computeMs" | "batchSize" | "rows" | "inputMs" | "outputMs"
>;

/**
 * Answers one inference of the Open Inference Protocol, over whichever door it came.
 * @param record filled in as things become known, for the access line and the statistics
 * @throws StatusError with Triton's codes and words
 */
export async function infer(
  repository: ModelRepository,
  request: InferRequest,
  cancellation: Cancellation,
  record: InferRecord,
  clock: Clock,
): Promise<InferResponse> {
  const startMs = clock.now();
  record.model = request.modelName;
  const handle = findServable(repository, request.modelName, request.modelVersion);
  try {
    const { servable } = handle;
    const { id } = servable;
    record.version = id.version;
    checkRequestParameters(request.parameters);
    const view = modelView(servable);
    record.signature = view.signature.key;
    const checked = checkRequest(request, view, id.name);
    const call = { inputs: () => checked.inputs, outputFilter: [...checked.outputs.keys()] };
    const running = runSignature(servable, view.signature, call, cancellation);
    // The inputs have been decoded by now, and where nobody waits the model has run.
    const startedMs = clock.now();
    const result = await running;
    const endMs = clock.now();
    const outputs = shownOutputs(result, view, checked);
    // Without a batch dimension the server may run rows together all the same: then they count as they do at every door.
    record.rows = view.maxBatchSize > 0 ? checked.rows : result.rows;
    record.queueMs = result.queueMs;
    record.computeMs = result.computeMs;
    record.batchSize = result.batchSize;
    const around = Math.max(0, endMs - startMs - result.queueMs - result.computeMs);
    record.inputMs = Math.min(startedMs - startMs, around);
    record.outputMs = around - record.inputMs + clock.now() - endMs;
    return { servableId: id, id: request.id, outputs };
  } catch (thrown) {
    // A failed run is Triton's own fault in its codes, whatever the runtime says of the values.
    if (thrown instanceof RunError && thrown.code === Code.INVALID_ARGUMENT) throw internal(thrown.message);
    throw thrown;
  } finally {
    handle[Symbol.dispose]();
  }
}

function shownOutputs(result: PredictResult, view: ModelView, { outputs }: CheckedRequest): readonly InferOutput[] {
  const hasBatch = view.maxBatchSize > 0;
  return [...outputs].map(([name, count]) => {
    const output = view.outputs.get(name)!;
    const tensor = unreshaped(result.outputs.get(name)!, output, hasBatch);
    return { name, tensor: count === 0 ? tensor : classify(tensor, count, hasBatch, output) };
  });
}

/** The shape that clients see: the open dimensions of dims take the sizes of the open dimensions of reshape, in turn. */
function unreshaped(tensor: Tensor, { dims, reshape }: OutputView, hasBatch: boolean): Tensor {
  if (reshape === undefined || dims === undefined) return tensor;
  const from = hasBatch ? 1 : 0;
  const open = reshape.flatMap((size, axis) => (size === -1 ? [tensor.shape[axis + from]!] : []));
  let next = 0;
  const shape = [...tensor.shape.slice(0, from), ...dims.map((size) => (size === -1 ? open[next++]! : size))];
  return { dtype: tensor.dtype, shape, data: tensor.data };
}
