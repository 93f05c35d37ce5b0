import type { IncomingHttpHeaders } from "node:http";
import { setImmediate } from "node:timers/promises";
import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import type { ModelRepository } from "../../serving/index.js";
import { invalidArgument } from "../../status.js";
import { elementTypeInfo } from "../../tensor/index.js";
import { JsonInferBody, type JsonInferRequest } from "../codecs/oip-json-request.js";
import { type JsonInferResponse, writeInferResponse } from "../codecs/oip-json-response.js";
import { RawContents } from "../codecs/oip-raw-contents.js";
import { infer } from "../open-inference/infer.js";
import { findServable } from "../open-inference/model-lookup.js";
import { type ModelView, modelView } from "../open-inference/model-view.js";
import { compress, type Encoding, preferredEncoding } from "./content-encoding.js";
import type { RestCall } from "./rest-call.js";

export interface InferCallDeps {
  readonly repository: ModelRepository;
  readonly clock: Clock;
}

/** Answers an inference: JSON, bytes behind it, or the bare bytes of the only input. */
export async function answerInfer(
  call: RestCall,
  headers: IncomingHttpHeaders,
  { model, version }: { readonly model: string; readonly version: string },
  body: Buffer,
  cancellation: Cancellation,
  { repository, clock }: InferCallDeps,
): Promise<void> {
  const headBytes = parseHeadBytes(headers[headLengthKey], body.length);
  const request =
    headBytes === 0
      ? rawRequest(repository, model, version, body)
      : await readRequest(body, headBytes, model, version, cancellation);
  const response = await infer(repository, request, cancellation, call.record, clock);
  await send(call, writeInferResponse(response, request.isBinary), preferredEncoding(headers["accept-encoding"]));
}

const headLengthKey = "inference-header-content-length";

/** Bytes of JSON in front of the body; undefined: all of it is. */
function parseHeadBytes(given: string | string[] | undefined, bodyBytes: number): number | undefined {
  if (given === undefined) return undefined;
  const text = String(given).trim();
  if (!/^\d{1,10}$/.test(text)) throw invalidArgument(`Unable to parse Inference-Header-Content-Length, got: ${text}`);
  if (Number(text) > bodyBytes) {
    throw invalidArgument(
      `inference header size should be in range (0, ${bodyBytes}), got: ${text} (Inference-Header-Content-Length counts bytes of the body as it is without compression)`,
    );
  }
  return Number(text);
}

async function readRequest(
  body: Buffer,
  headBytes: number | undefined,
  model: string,
  version: string,
  cancellation: Cancellation,
): Promise<JsonInferRequest> {
  const reader = new JsonInferBody(body, headBytes, model);
  while (!reader.advance()) {
    await setImmediate();
    if (cancellation.reason !== undefined) throw cancellation.reason;
  }
  return reader.request(version);
}

/** The body is the only input's bytes; what it says nothing of, the model has to. All outputs come as bytes. */
function rawRequest(repository: ModelRepository, model: string, version: string, body: Buffer): JsonInferRequest {
  using handle = findServable(repository, model, version);
  const view = modelView(handle.servable);
  const [only, ...others] = view.inputs;
  if (only === undefined || others.length > 0) {
    throw invalidArgument(
      `Raw request must only have 1 input (found 1) to be deduced but got ${view.inputs.size} inputs in '${model}' model configuration`,
    );
  }
  const [name, { dtype }] = only;
  const { openInference: datatype = "" } = elementTypeInfo(dtype);
  return {
    modelName: model,
    modelVersion: handle.servable.id.version.toString(),
    id: "",
    parameters: new Map(),
    inputs: [
      {
        name,
        datatype,
        shape: deducedShape(view, name, body.length),
        parameters: new Map(),
        contents: new RawContents(dtype === "string" ? lengthPrefixed(body) : body),
      },
    ],
    outputs: [],
    isBinary: () => true,
  };
}

/** One row; one open dimension takes what the bytes fill. */
function deducedShape({ inputs, maxBatchSize }: ModelView, name: string, bytes: number): number[] {
  const { dtype, dims } = inputs.get(name)!;
  const open = dims?.filter((size) => size === -1).length;
  const batch = maxBatchSize > 0 ? [1] : [];
  const fixed = dims?.reduce((product, size) => (size === -1 ? product : product * size), 1) ?? 0;
  if (dtype === "string") {
    if (open === 0 && fixed === 1) return [...batch, ...dims!];
    throw invalidArgument(`For BYTE datatype raw input '${name}', the model must have input shape [1]`);
  }
  if (dims === undefined || open! > 1) {
    throw invalidArgument(
      `The shape of the raw input '${name}' can not be deduced because there are more than one variable-sized dimension`,
    );
  }
  const fill = fixed === 0 ? 0 : Math.floor(bytes / (fixed * elementTypeInfo(dtype).bytesPerElement));
  return [...batch, ...dims.map((size) => (size === -1 ? fill : size))];
}

function lengthPrefixed(body: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
}

async function send(
  call: RestCall,
  { head, blobs, blobBytes }: JsonInferResponse,
  encoding: Encoding | undefined,
): Promise<void> {
  if (blobBytes === 0 && encoding === undefined) {
    await call.answerPieces(head);
    return;
  }
  const pieces: Uint8Array[] = [];
  let headBytes = 0;
  for (const piece of head) {
    pieces.push(piece);
    headBytes += piece.length;
    await setImmediate();
  }
  const headers: Record<string, string | number> = {};
  if (blobBytes > 0) {
    headers["content-type"] = "application/octet-stream";
    headers[headLengthKey] = headBytes;
  }
  pieces.push(...blobs);
  if (encoding === undefined) {
    call.answerBytes(pieces, headers);
    return;
  }
  headers["content-encoding"] = encoding;
  call.answerBytes([await compress(Buffer.concat(pieces), encoding)], headers);
}
