// tensorflow.serving.PredictionLog: a call with its request and response as they were on the wire.
import { LogMetadata } from "../../gen/tensorflow_serving/apis/logging.js";
import type { RequestLogRecord } from "../../serving/index.js";
import { toModelSpecMessage } from "./model-spec.js";
import { tagOf, WireReader, WireType } from "./wire-reader.js";
import { fieldSize, writeVarint32 } from "./wire-writer.js";

/** Numbers of PredictionLog's fields. */
export const logFields = {
  classify: 2,
  regress: 3,
  multiInference: 4,
  sessionRun: 5,
  predict: 6,
  predictStreamed: 7,
} as const;
export type LogField = (typeof logFields)[keyof typeof logFields];

const metadataTag = tagOf(1, WireType.bytes);
const requestTag = tagOf(1, WireType.bytes);
const responseTag = tagOf(2, WireType.bytes);
const fields = new Map<number, LogField>(
  Object.values(logFields).map((field) => [tagOf(field, WireType.bytes), field]),
);

/**
 * Which kind of call was logged, and its request; undefined where no kind is set.
 * @throws WireFormatError
 */
export function decodePredictionLog(
  bytes: Uint8Array,
): { readonly field: LogField; readonly request: Uint8Array } | undefined {
  const reader = new WireReader(bytes);
  let log: { readonly field: LogField; readonly request: Uint8Array } | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    const field = fields.get(tag);
    if (field === undefined) {
      reader.skip(tag);
      continue;
    }
    // Of two kinds the last one counts; of one in two parts the requests are merged, which on the wire is joining them.
    const parts = log?.field === field ? [log.request] : [];
    const outer = reader.enter();
    for (let inner = reader.tag(); inner !== 0; inner = reader.tag()) {
      if (inner === requestTag) parts.push(reader.view());
      else reader.skip(inner);
    }
    reader.leave(outer);
    log = { field, request: parts.length === 1 ? parts[0]! : Buffer.concat(parts) };
  }
  return log;
}

export function encodePredictionLog(
  field: LogField,
  request: Uint8Array,
  response: Uint8Array,
  { servableId, signatureName, samplingRate, timestampSecs }: RequestLogRecord,
): Uint8Array {
  const metadata = LogMetadata.encode({
    modelSpec: toModelSpecMessage(servableId, signatureName),
    samplingConfig: { samplingRate, attributes: 0, perTaskSamplingConfigs: [] },
    savedModelTags: [],
    timestampSecs: BigInt(timestampSecs),
    dc: "",
    requestOrigin: "",
    requestCriticality: "",
    safeAggregationPrivacyKey: 0n,
  }).finish();
  const callSize = fieldSize(request.length) + fieldSize(response.length);
  const out = Buffer.allocUnsafe(fieldSize(metadata.length) + fieldSize(callSize));
  let pos = writeField(out, 0, metadataTag, metadata);
  out[pos++] = tagOf(field, WireType.bytes);
  pos = writeVarint32(out, pos, callSize);
  pos = writeField(out, pos, requestTag, request);
  writeField(out, pos, responseTag, response);
  return out;
}

function writeField(out: Buffer, start: number, tag: number, bytes: Uint8Array): number {
  out[start] = tag;
  const pos = writeVarint32(out, start + 1, bytes.length);
  out.set(bytes, pos);
  return pos + bytes.length;
}
