import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { Code, errorMessage, internal, StatusError } from "../../status.js";
import type { CallRecord, Logger } from "../../telemetry/index.js";
import { type DecodedInferRequest, decodeInferRequest } from "../codecs/oip-infer-request.js";
import { encodeStreamAnswer, type InferAnswer, type StreamAnswer } from "../codecs/oip-infer-response.js";
import type { BidiMethod, Call } from "./service-table.js";

export interface InferenceStreamDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Requests that are under way at a time, at most: as many answers may wait for a slow reader. */
  readonly maxInFlight: number;
  readonly infer: (
    request: DecodedInferRequest,
    cancellation: Cancellation,
    record: CallRecord,
  ) => Promise<InferAnswer>;
  /** Told of each inference when it has been answered. */
  readonly onInference: (record: CallRecord, code: Code, durationMs: number) => void;
}

/** Bytes of requests that are under way at a time, when there are several. */
const maxBytesInFlight = 64 * 1024 * 1024;

/** What a request came to; nothing rejects, so that no answer need be waited for before its turn. */
type Outcome = InferAnswer | StatusError;
interface InFlight {
  readonly request: DecodedInferRequest;
  readonly outcome: Promise<Outcome>;
}
type Step =
  | { readonly kind: "request"; readonly result: IteratorResult<DecodedInferRequest> }
  | { readonly kind: "outcome"; readonly outcome: Outcome };

/**
 * Requests of one stream run beside each other and are answered in their order. One that fails is answered in its place,
 * with its message and code, and the others go on; unless the client has asked, by the header "triton_grpc_error: true",
 * that the first error end the stream.
 *
 * The next request is read only while there is room for it, so that a client that reads no answers is not read either.
 */
export function inferenceStream(
  deps: InferenceStreamDeps,
): Omit<BidiMethod<DecodedInferRequest, StreamAnswer>, "path"> {
  return {
    kind: "bidi",
    decode: decodeInferRequest,
    encode: encodeStreamAnswer,
    handle: (requests, call) => answers(requests[Symbol.asyncIterator](), call, deps),
  };
}

async function* answers(
  requests: AsyncIterator<DecodedInferRequest>,
  call: Call,
  deps: InferenceStreamDeps,
): AsyncGenerator<StreamAnswer, void, undefined> {
  const endsOnError = call.metadata.get("triton_grpc_error") === "true";
  const inFlight: InFlight[] = [];
  let bytes = 0;
  let ended = false;
  let reading: Promise<Step> | undefined;
  for (;;) {
    const hasRoom = inFlight.length === 0 || (inFlight.length < deps.maxInFlight && bytes < maxBytesInFlight);
    if (!ended && hasRoom) reading ??= requests.next().then((result) => ({ kind: "request", result }));
    const oldest = inFlight[0]?.outcome.then((outcome): Step => ({ kind: "outcome", outcome }));
    const waits = [reading, oldest].filter((each) => each !== undefined);
    if (waits.length === 0) return;
    const step = await Promise.race(waits);
    if (step.kind === "request") {
      reading = undefined;
      if (step.result.done === true) ended = true;
      else {
        const request = step.result.value;
        bytes += request.byteLength;
        inFlight.push({ request, outcome: answer(request, call, deps) });
      }
    } else {
      const { request } = inFlight.shift()!;
      bytes -= request.byteLength;
      if (!(step.outcome instanceof StatusError)) yield step.outcome;
      else if (endsOnError) throw step.outcome;
      else yield { error: step.outcome, id: request.id, modelName: request.modelName };
    }
  }
}

async function answer(request: DecodedInferRequest, call: Call, deps: InferenceStreamDeps): Promise<Outcome> {
  const { clock, logger, infer, onInference } = deps;
  const { requestId, door, method, peer } = call.record;
  // A record of its own: the call's tells of the stream as a whole.
  const record: CallRecord = { requestId, door, method, peer, api: "ModelStreamInfer" };
  const startMs = clock.now();
  let outcome: Outcome;
  try {
    outcome = await infer(request, call.cancellation, record);
  } catch (thrown) {
    if (thrown instanceof StatusError) outcome = thrown;
    else {
      const stack = thrown instanceof Error ? thrown.stack : undefined;
      logger.error(`${method} failed: ${errorMessage(thrown)}`, { requestId, stack });
      outcome = internal(`Internal error; the server's log has it under request id ${requestId}`);
    }
  }
  onInference(record, outcome instanceof StatusError ? outcome.code : Code.OK, clock.now() - startMs);
  return outcome;
}
