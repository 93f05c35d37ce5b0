import type { Clock } from "../../clock.js";
import type { Signature } from "../../onnx/index.js";
import type { RequestLog, RequestSampler, ServableId } from "../../serving/index.js";
import type { Logger } from "../../telemetry/index.js";
import { encodePredictionLog, type LogField } from "../codecs/prediction-log.js";

/** A call of the sample, once it is known what it was and what it came to. */
export interface LoggedCall {
  readonly log: RequestLog;
  readonly field: LogField;
  readonly servableId: ServableId;
  readonly signature: Signature;
  /** As gRPC messages. Called when the call has been answered. */
  readonly encode: () => Promise<readonly [request: Uint8Array, response: Uint8Array]>;
}

/** The REST door's side of the request logs: what is written of a call is made when its client has the answer. */
export class RestRequestLog {
  readonly #sampler: RequestSampler;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #pending = new Set<Promise<void>>();

  constructor(deps: { readonly sampler: RequestSampler; readonly clock: Clock; readonly logger: Logger }) {
    this.#sampler = deps.sampler;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
  }

  /** undefined: this call is not logged. */
  sample(model: string): RequestLog | undefined {
    return this.#sampler.sample(model);
  }

  /** Returns at once. */
  write(call: LoggedCall): void {
    const timestampSecs = Math.floor(this.#clock.wallTime() / 1000);
    const pending = this.#write(call, timestampSecs)
      .catch((error: unknown) => {
        // The client has its answer: that the log lacks it is for the server's own log.
        this.#logger.error("a REST call could not be logged", { model: call.servableId.name, error });
      })
      .finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  async #write({ log, field, servableId, signature, encode }: LoggedCall, timestampSecs: number): Promise<void> {
    const [request, response] = await encode();
    const { samplingRate } = log;
    const record = { servableId, signatureName: signature.key, samplingRate, timestampSecs };
    log.write(encodePredictionLog(field, request, response, record));
  }

  /** Resolves when all calls that were to be logged have been handed over. */
  async close(): Promise<void> {
    await Promise.all(this.#pending);
  }
}
