import { type Clock, systemClock } from "../../clock.js";
import {
  GetModelMetadataRequest,
  GetModelMetadataResponse,
} from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import type { Signature } from "../../onnx/index.js";
import {
  getModelMetadata,
  type ModelRepository,
  type ModelSpec,
  type PredictRequest,
  type PredictResult,
  type RequestSampler,
  type ServableId,
  startPredict,
} from "../../serving/index.js";
import type { Waiter } from "../../waiter.js";
import { fromModelSpecMessage, toModelSpecMessage } from "../codecs/model-spec.js";
import { type DecodedPredictRequest, decodePredictRequest } from "../codecs/predict-request.js";
import { encodePredictResponse } from "../codecs/predict-response.js";
import { logFields } from "../codecs/prediction-log.js";
import { encodeSignatureDefMap } from "../codecs/signature-def.js";
import { echoVersionLabel, exampleMethods, recordFigures } from "./example-methods.js";
import { logged } from "./logged-method.js";
import { answersLater, type Call, type Method, type UnaryMethod } from "./service-table.js";

export interface PredictionServiceOptions {
  /** Outputs travel in tensor_content instead of typed fields. Default false, as TensorFlow Serving. */
  readonly enableSerializationAsTensorContent: boolean;
  /** Refuse signatures whose method is none of predict, classify, regress. Default false, as TensorFlow Serving. */
  readonly enableSignatureMethodNameCheck: boolean;
  /** What one tensor may take beyond what its message carries; see TensorProtoLimits. Default 64 MiB. */
  readonly maxFillBytes: number;
  /** Chooses the calls that are logged. Default: none is. */
  readonly requestSampler: RequestSampler;
  readonly clock: Clock;
}

const service = "tensorflow.serving.PredictionService";

/** tensorflow.serving.PredictionService, whole. */
export function predictionService(
  repository: ModelRepository,
  given: Partial<PredictionServiceOptions> = {},
): Method[] {
  const options: PredictionServiceOptions = {
    enableSerializationAsTensorContent: false,
    enableSignatureMethodNameCheck: false,
    maxFillBytes: 64 * 1024 * 1024,
    requestSampler: { sample: () => undefined },
    clock: systemClock,
    ...given,
  };
  return [
    logged(predictMethod(repository, options), logFields.predict, options),
    ...exampleMethods(service, repository, options),
    getModelMetadataMethod(repository),
  ];
}

function predictMethod(
  repository: ModelRepository,
  options: PredictionServiceOptions,
): UnaryMethod<DecodedPredictRequest, PredictResult> {
  const { enableSerializationAsTensorContent: asContent, enableSignatureMethodNameCheck } = options;
  const predictOptions = { enableSignatureMethodNameCheck, outputsAreBorrowed: true };
  const limits = { maxFillBytes: options.maxFillBytes };
  return {
    kind: "unary",
    path: `/${service}/Predict`,
    decode: (bytes) => decodePredictRequest(bytes, limits),
    decodeAt: (bytes, start, end) => decodePredictRequest(bytes, limits, start, end),
    requestEndsWithAnswer: true,
    encode: (result) => encodePredictResponse(result, asContent),
    handle(request, call, waiter) {
      call.record.api = "Predict";
      if (request.modelSpec !== undefined) call.record.model = request.modelSpec.name;
      const predictCall = new PredictCall(request, call, waiter);
      startPredict(repository, predictCall, call.cancellation, predictOptions, predictCall);
      return answersLater;
    },
  };
}

/** One call of Predict on its way: what it asks for, and what is noted of it. */
class PredictCall implements PredictRequest, Waiter<PredictResult> {
  readonly #request: DecodedPredictRequest;
  readonly #call: Call;
  readonly #waiter: Waiter<PredictResult>;

  constructor(request: DecodedPredictRequest, call: Call, waiter: Waiter<PredictResult>) {
    this.#request = request;
    this.#call = call;
    this.#waiter = waiter;
  }

  get modelSpec(): ModelSpec | undefined {
    return this.#request.modelSpec;
  }

  get outputFilter(): readonly string[] {
    return this.#request.outputFilter;
  }

  inputs(): DecodedPredictRequest["inputs"] {
    return this.#request.inputs;
  }

  onResolved(id: ServableId, signature: Signature): void {
    const { record } = this.#call;
    record.version = id.version;
    record.signature = signature.key;
  }

  resolve(result: PredictResult): void {
    recordFigures(this.#call.record, result);
    echoVersionLabel(this.#call, this.modelSpec);
    this.#waiter.resolve(result);
  }

  reject(error: unknown): void {
    this.#waiter.reject(error);
  }
}

const signatureDefMapTypeUrl = "type.googleapis.com/tensorflow.serving.SignatureDefMap";

function getModelMetadataMethod(
  repository: ModelRepository,
): UnaryMethod<GetModelMetadataRequest, GetModelMetadataResponse> {
  return {
    kind: "unary",
    path: `/${service}/GetModelMetadata`,
    decode: (bytes) => GetModelMetadataRequest.decode(bytes),
    encode: (response) => GetModelMetadataResponse.encode(response).finish(),
    handle({ modelSpec: message, metadataField }, call) {
      const { record } = call;
      const modelSpec = fromModelSpecMessage(message);
      if (modelSpec !== undefined) record.model = modelSpec.name;
      const { servableId, signatures } = getModelMetadata(repository, { modelSpec, metadataFields: metadataField });
      record.version = servableId.version;
      echoVersionLabel(call, modelSpec);
      const packed = { typeUrl: signatureDefMapTypeUrl, value: encodeSignatureDefMap(signatures) };
      return { modelSpec: toModelSpecMessage(servableId), metadata: new Map([["signature_def", packed]]) };
    },
  };
}
