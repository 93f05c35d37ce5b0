import type { Clock } from "../../clock.js";
import type { Signature } from "../../onnx/index.js";
import type { RequestLog, RequestSampler, ServableId } from "../../serving/index.js";
import { encodePredictionLog, type LogField } from "../codecs/prediction-log.js";
import type { UnaryMethod } from "./service-table.js";

export interface RequestLogging {
  readonly requestSampler: RequestSampler;
  readonly clock: Clock;
}

interface Received<Request> {
  readonly request: Request;
  readonly bytes: Uint8Array;
}

interface Answered<Response> {
  readonly response: Response;
  /** Of the request; with where to write it, when this call is one of the sample. */
  readonly bytes: Uint8Array;
  readonly log: RequestLog | undefined;
}

/** Writes a sample of the calls that succeed into the model's log, request and response as they are on the wire. */
export function logged<Request, Response extends { readonly servableId: ServableId; readonly signature?: Signature }>(
  method: UnaryMethod<Request, Response>,
  field: LogField,
  { requestSampler, clock }: RequestLogging,
): UnaryMethod<Received<Request>, Answered<Response>> {
  return {
    kind: "unary",
    path: method.path,
    decode: (bytes) => ({ request: method.decode(bytes), bytes }),
    async handle({ request, bytes }, call) {
      const response = await method.handle(request, call);
      return { response, bytes, log: requestSampler.sample(response.servableId.name) };
    },
    encode({ response, bytes, log }) {
      const encoded = method.encode(response);
      log?.write(
        encodePredictionLog(field, bytes, encoded, {
          servableId: response.servableId,
          signatureName: response.signature?.key ?? "",
          samplingRate: log.samplingRate,
          timestampSecs: Math.floor(clock.wallTime() / 1000),
        }),
      );
      return encoded;
    },
  };
}
