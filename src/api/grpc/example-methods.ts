import {
  type Classifications,
  classify,
  type ExampleRequest,
  type ExampleResult,
  type ModelRepository,
  type ModelSpec,
  type MultiInferenceResult,
  multiInference,
  type RunFigures,
  regress,
} from "../../serving/index.js";
import type { CallRecord } from "../../telemetry/index.js";
import {
  type DecodedExampleRequest,
  type DecodedMultiInferenceRequest,
  decodeExampleRequest,
  decodeMultiInferenceRequest,
  encodeClassificationResponse,
  encodeMultiInferenceResponse,
  encodeRegressionResponse,
} from "../codecs/example-request.js";
import { logFields } from "../codecs/prediction-log.js";
import { echoedLabel, versionLabelHeader } from "../version-label.js";
import { logged, type RequestLogging } from "./logged-method.js";
import type { Call, Method, UnaryMethod } from "./service-table.js";

export interface ExampleMethodsOptions extends RequestLogging {
  readonly enableSignatureMethodNameCheck: boolean;
}

/** The three methods of tensorflow.serving.PredictionService that take tf.Examples. */
export function exampleMethods(service: string, repository: ModelRepository, options: ExampleMethodsOptions): Method[] {
  const classifyMethod: UnaryMethod<DecodedExampleRequest, ExampleResult<Classifications>> = {
    kind: "unary",
    path: `/${service}/Classify`,
    decode: decodeExampleRequest,
    encode: encodeClassificationResponse,
    handle: (request, context) =>
      observed("Classify", request, context, (observing) =>
        classify(repository, observing, context.cancellation, options),
      ),
  };
  const regressMethod: UnaryMethod<DecodedExampleRequest, ExampleResult<Float32Array>> = {
    kind: "unary",
    path: `/${service}/Regress`,
    decode: decodeExampleRequest,
    encode: encodeRegressionResponse,
    handle: (request, context) =>
      observed("Regress", request, context, (observing) =>
        regress(repository, observing, context.cancellation, options),
      ),
  };
  const multiInferenceMethod: UnaryMethod<DecodedMultiInferenceRequest, MultiInferenceResult> = {
    kind: "unary",
    path: `/${service}/MultiInference`,
    decode: decodeMultiInferenceRequest,
    encode: encodeMultiInferenceResponse,
    async handle({ tasks, input }, call) {
      const { record, cancellation } = call;
      record.api = "MultiInference";
      const model = tasks[0]?.modelSpec?.name;
      if (model !== undefined) record.model = model;
      const onResolved = (id: { readonly version: bigint }) => {
        record.version = id.version;
      };
      const result = await multiInference(repository, { tasks, input, onResolved }, cancellation, options);
      recordFigures(record, result);
      echoVersionLabel(call, tasks[0]?.modelSpec);
      return result;
    },
  };
  return [
    logged(classifyMethod, logFields.classify, options),
    logged(regressMethod, logFields.regress, options),
    logged(multiInferenceMethod, logFields.multiInference, options),
  ];
}

async function observed<T extends RunFigures>(
  api: string,
  { modelSpec, input }: DecodedExampleRequest,
  call: Call,
  run: (request: ExampleRequest) => Promise<T>,
): Promise<T> {
  const { record } = call;
  record.api = api;
  if (modelSpec !== undefined) record.model = modelSpec.name;
  const result = await run({
    modelSpec,
    input,
    onResolved(id, signature) {
      record.version = id.version;
      record.signature = signature.key;
    },
  });
  recordFigures(record, result);
  echoVersionLabel(call, modelSpec);
  return result;
}

/** Says by which label the version was chosen that answers. */
export function echoVersionLabel(call: Pick<Call, "setHeader">, spec: ModelSpec | undefined): void {
  const label = echoedLabel(spec?.versionLabel);
  if (label !== undefined) call.setHeader(versionLabelHeader, label);
}

/** What the run took, for metrics and the access line. */
export function recordFigures(record: CallRecord, { queueMs, computeMs, batchSize, rows }: RunFigures): void {
  record.queueMs = queueMs;
  record.computeMs = computeMs;
  record.batchSize = batchSize;
  record.rows = rows;
}
