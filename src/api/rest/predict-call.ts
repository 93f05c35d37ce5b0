import { setImmediate } from "node:timers/promises";
import type { Cancellation } from "../../cancellation.js";
import {
  checkMethodName,
  findSignature,
  type ModelRepository,
  type ModelSpec,
  runSignature,
  type TensorSource,
} from "../../serving/index.js";
import { invalidArgument, type StatusError } from "../../status.js";
import type { CallRecord } from "../../telemetry/index.js";
import type { Tensor } from "../../tensor/index.js";
import { bytesOfMessage } from "../codecs/encodable-message.js";
import { PredictBody } from "../codecs/json-tensor.js";
import { writePredictResponse } from "../codecs/json-writer.js";
import { encodeLoggedPredict } from "../codecs/logged-request.js";
import { encodePredictResponse } from "../codecs/predict-response.js";
import { logFields } from "../codecs/prediction-log.js";
import type { LoggedCall, RestRequestLog } from "./rest-request-log.js";
import type { TfsTarget } from "./tfs-path.js";

/** How much of a body is read before others have their turn: about a millisecond's worth. */
export const sliceBytes = 256 * 1024;

export interface PredictCallDeps {
  readonly repository: ModelRepository;
  /** Refuse signatures whose method is none of predict, classify, regress. */
  readonly enableSignatureMethodNameCheck: boolean;
  readonly requestLog: RestRequestLog;
}

/** What a call is answered with. */
export interface RestAnswer {
  readonly pieces: Iterator<Buffer, undefined>;
  /** Set where the call is one of those that are logged. */
  readonly logged: LoggedCall | undefined;
}

/**
 * Does the work for a predict call. In TensorFlow Serving's order: first the text must be JSON, then there must be such a
 * model, version and signature, then the inputs must fit it.
 */
export async function predictCall(
  record: CallRecord,
  target: TfsTarget,
  bytes: Buffer,
  cancellation: Cancellation,
  { repository, enableSignatureMethodNameCheck, requestLog }: PredictCallDeps,
): Promise<RestAnswer> {
  const body = new PredictBody(bytes);
  while (!body.advance(sliceBytes)) await nextTurn(cancellation);
  const modelSpec = modelSpecOf(target, body.signatureName);
  // Held until the run is over: an open handle is what keeps a version from being unloaded.
  const handle = repository.getServableHandle(modelSpec);
  try {
    const { servable } = handle;
    record.version = servable.id.version;
    const signature = findSignature(servable, body.signatureName, signatureNotFound);
    record.signature = signature.key;
    if (enableSignatureMethodNameCheck) checkMethodName(signature);
    const reader = body.readInputs(signature);
    while (!reader.advance(sliceBytes)) await nextTurn(cancellation);
    const inputs = reader.inputs();
    const log = requestLog.sample(servable.id.name);
    // Before the run, which may hand the tensors' memory to another thread.
    const request = log && encodeLoggedPredict(modelSpec, decoded(inputs), (size) => log.hasRoom(size));
    const result = await runSignature(servable, signature, { inputs: () => inputs, outputFilter: [] }, cancellation);
    record.queueMs = result.queueMs;
    record.computeMs = result.computeMs;
    record.batchSize = result.batchSize;
    record.rows = result.rows;
    const logged = request && {
      log: log!,
      field: logFields.predict,
      servableId: servable.id,
      signature,
      encode: async () => [request, bytesOfMessage(encodePredictResponse(result, true))] as const,
    };
    return { pieces: writePredictResponse(result.outputs, reader.form), logged };
  } finally {
    handle[Symbol.dispose]();
  }
}

function decoded(sources: ReadonlyMap<string, TensorSource>): ReadonlyMap<string, Tensor> {
  return new Map(Array.from(sources, ([alias, source]) => [alias, source.decode()]));
}

export function modelSpecOf({ model, version, label }: TfsTarget, signatureName: string): ModelSpec {
  const name = { name: model, signatureName };
  if (version !== undefined) return { ...name, version };
  return label === undefined ? name : { ...name, versionLabel: label };
}

function signatureNotFound(key: string): StatusError {
  return invalidArgument(`Serving signature name: "${key}" not found in signature def`);
}

export async function nextTurn(cancellation: Cancellation): Promise<void> {
  await setImmediate();
  if (cancellation.reason !== undefined) throw cancellation.reason;
}
