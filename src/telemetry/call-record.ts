/** What is known of one call, gathered on its way and written once: as an access line, and into the metrics. */
export interface CallRecord {
  /** The client's x-request-id, or one of ours. */
  requestId: string;
  door: "grpc" | "rest";
  /** "/tensorflow.serving.PredictionService/Predict", or "POST /v1/models/m:predict". */
  method: string;
  peer: string;
  /** Set by the handler as soon as it knows. */
  model?: string;
  version?: bigint;
  signature?: string;
  /** "Predict", "Classify" …: the api label of metrics; undefined for calls that run no model. */
  api?: string;
  queueMs?: number;
  computeMs?: number;
  batchSize?: number;
  /** Rows of the call's own, where the model has a batch dimension. */
  rows?: number;
  /** From the call's arrival to the call of the run, and from the run's end to the answer. */
  inputMs?: number;
  outputMs?: number;
}
