import type { Clock } from "../../clock.js";
import type { Signature } from "../../onnx/index.js";
import type { RequestSampler, ServableId } from "../../serving/index.js";
import { encodePredictionLog, type LogField } from "../codecs/prediction-log.js";
import type { UnaryMethod } from "./service-table.js";

export interface RequestLogging {
  readonly requestSampler: RequestSampler;
  readonly clock: Clock;
}

/** Writes a sample of the calls that succeed into the model's log, request and response as they are on the wire. */
export function logged<Request, Response extends { readonly servableId: ServableId; readonly signature?: Signature }>(
  method: UnaryMethod<Request, Response>,
  field: LogField,
  { requestSampler, clock }: RequestLogging,
): UnaryMethod<Request, Response> {
  return {
    ...method,
    observe({ servableId, signature }, exchange) {
      const log = requestSampler.sample(servableId.name);
      log?.write(
        encodePredictionLog(field, exchange.requestBytes(), exchange.responseBytes(), {
          servableId,
          signatureName: signature?.key ?? "",
          samplingRate: log.samplingRate,
          timestampSecs: Math.floor(clock.wallTime() / 1000),
        }),
      );
    },
  };
}
