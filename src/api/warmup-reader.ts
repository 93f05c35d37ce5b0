import {
  classify,
  type ExampleRequest,
  type ModelSpec,
  multiInference,
  predict,
  regress,
  type WarmupRecord,
} from "../serving/index.js";
import { decodeExampleRequest, decodeMultiInferenceRequest } from "./codecs/example-request.js";
import { decodePredictRequest } from "./codecs/predict-request.js";
import { decodePredictionLog, logFields } from "./codecs/prediction-log.js";
import { WireFormatError } from "./codecs/wire-reader.js";

/** Reads one record of a warm-up file: a PredictionLog, of which only the request matters. */
export function readWarmupRecord(record: Uint8Array): WarmupRecord {
  try {
    return readRecord(record);
  } catch (error) {
    if (error instanceof WireFormatError) return { kind: "malformed" };
    throw error;
  }
}

function readRecord(record: Uint8Array): WarmupRecord {
  const log = decodePredictionLog(record);
  if (log === undefined) return { kind: "none" };
  const { field, request } = log;
  switch (field) {
    case logFields.predict: {
      const { modelSpec, inputs, outputFilter } = decodePredictRequest(request);
      const call = { modelSpec: modelSpec ?? unnamed, inputs: () => inputs, outputFilter };
      return { kind: "call", run: (lender, cancellation) => predict(lender, call, cancellation) };
    }
    case logFields.classify: {
      const call = exampleRequest(request);
      return { kind: "call", run: (lender, cancellation) => classify(lender, call, cancellation) };
    }
    case logFields.regress: {
      const call = exampleRequest(request);
      return { kind: "call", run: (lender, cancellation) => regress(lender, call, cancellation) };
    }
    case logFields.multiInference: {
      const call = decodeMultiInferenceRequest(request);
      return { kind: "call", run: (lender, cancellation) => multiInference(lender, call, cancellation) };
    }
    default:
      return { kind: "unsupported", field };
  }
}

/** A record need not say which model it is for: it is for the one that it lies with. */
const unnamed: ModelSpec = { name: "", signatureName: "" };

function exampleRequest(request: Uint8Array): ExampleRequest {
  const { modelSpec, input } = decodeExampleRequest(request);
  return { modelSpec: modelSpec ?? unnamed, input };
}
