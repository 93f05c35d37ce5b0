import { setImmediate } from "node:timers/promises";
import type { Cancellation } from "../../cancellation.js";
import {
  checkMethodName,
  findSignature,
  type ModelRepository,
  type ModelSpec,
  runSignature,
} from "../../serving/index.js";
import { invalidArgument, type StatusError } from "../../status.js";
import type { CallRecord } from "../../telemetry/index.js";
import type { Tensor } from "../../tensor/index.js";
import type { JsonForm } from "../codecs/json-inputs.js";
import { PredictBody } from "../codecs/json-tensor.js";
import { writePredictResponse } from "../codecs/json-writer.js";
import type { TfsTarget } from "./tfs-path.js";

/** How much of a body is read before others have their turn: about a millisecond's worth. */
export const sliceBytes = 256 * 1024;

export interface PredictCallDeps {
  readonly repository: ModelRepository;
  /** Refuse signatures whose method is none of predict, classify, regress. */
  readonly enableSignatureMethodNameCheck: boolean;
}

/**
 * Does the work for a predict call. In TensorFlow Serving's order: first the text must be JSON, then there must be such a
 * model, version and signature, then the inputs must fit it.
 * @returns the answer, in pieces
 */
export async function predictCall(
  record: CallRecord,
  target: TfsTarget,
  bytes: Buffer,
  cancellation: Cancellation,
  deps: PredictCallDeps,
): Promise<Iterator<Buffer, undefined>> {
  const body = new PredictBody(bytes);
  while (!body.advance(sliceBytes)) await nextTurn(cancellation);
  const { outputs, form } = await run(record, target, body, cancellation, deps);
  return writePredictResponse(outputs, form);
}

async function run(
  record: CallRecord,
  target: TfsTarget,
  body: PredictBody,
  cancellation: Cancellation,
  { repository, enableSignatureMethodNameCheck }: PredictCallDeps,
): Promise<{ readonly outputs: ReadonlyMap<string, Tensor>; readonly form: JsonForm }> {
  // Held until the run is over: an open handle is what keeps a version from being unloaded.
  const handle = repository.getServableHandle(modelSpecOf(target, body.signatureName));
  try {
    const { servable } = handle;
    record.version = servable.id.version;
    const signature = findSignature(servable, body.signatureName, signatureNotFound);
    record.signature = signature.key;
    if (enableSignatureMethodNameCheck) checkMethodName(signature);
    const reader = body.readInputs(signature);
    while (!reader.advance(sliceBytes)) await nextTurn(cancellation);
    const inputs = reader.inputs();
    const result = await runSignature(servable, signature, { inputs: () => inputs, outputFilter: [] }, cancellation);
    record.queueMs = result.queueMs;
    record.computeMs = result.computeMs;
    record.batchSize = result.batchSize;
    record.rows = result.rows;
    return { outputs: result.outputs, form: reader.form };
  } finally {
    handle[Symbol.dispose]();
  }
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
