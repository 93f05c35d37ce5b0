/** What is known of one call, gathered on its way and written once: as an access line, and into the metrics. */
export interface CallRecord {
  /** The client's x-request-id, or one of ours. */
  requestId: string;
  door: "grpc" | "rest";
  /** "/tensorflow.serving.PredictionService/Predict", or "POST /v1/models/m:predict". */
  method: string;
  peer: string;
  /** Set by the handler as soon as it knows. */
  model?: string | undefined;
  version?: bigint | undefined;
  signature?: string | undefined;
  /** "Predict", "Classify" …: the api label of metrics; undefined for calls that run no model. */
  api?: string | undefined;
  queueMs?: number | undefined;
  computeMs?: number | undefined;
  batchSize?: number | undefined;
  /** Rows of the call's own, where the model has a batch dimension. */
  rows?: number | undefined;
  /** From the call's arrival to the call of the run, and from the run's end to the answer. */
  inputMs?: number | undefined;
  outputMs?: number | undefined;
}

/** A record with room for all of it from the start: an object that grows field by field is moved again and again. */
export class NewCallRecord implements CallRecord {
  requestId = "";
  readonly door: "grpc" | "rest";
  method: string;
  peer: string;
  model: string | undefined = undefined;
  version: bigint | undefined = undefined;
  signature: string | undefined = undefined;
  api: string | undefined = undefined;
  queueMs: number | undefined = undefined;
  computeMs: number | undefined = undefined;
  batchSize: number | undefined = undefined;
  rows: number | undefined = undefined;
  inputMs: number | undefined = undefined;
  outputMs: number | undefined = undefined;

  constructor(door: "grpc" | "rest", method: string, peer: string) {
    this.door = door;
    this.method = method;
    this.peer = peer;
  }
}
