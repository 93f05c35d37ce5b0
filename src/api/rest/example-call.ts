import { setImmediate } from "node:timers/promises";
import type { Cancellation } from "../../cancellation.js";
import {
  classify,
  type ExampleInput,
  type ExampleRequest,
  type ExampleResult,
  type ModelSpec,
  type RequestLog,
  regress,
} from "../../serving/index.js";
import type { CallRecord } from "../../telemetry/index.js";
import { encodeClassificationResponse, encodeRegressionResponse } from "../codecs/example-request.js";
import { ExamplesBody } from "../codecs/json-examples.js";
import { writeClassifications, writeRegressions } from "../codecs/json-results.js";
import { encodeLoggedExamples } from "../codecs/logged-request.js";
import { type LogField, logFields } from "../codecs/prediction-log.js";
import { recordFigures } from "../grpc/example-methods.js";
import { modelSpecOf, nextTurn, type PredictCallDeps, type RestAnswer, sliceBytes } from "./predict-call.js";
import type { LoggedCall } from "./rest-request-log.js";
import type { TfsTarget } from "./tfs-path.js";

/** Runs a classify or regress call. */
export async function examplesCall(
  record: CallRecord,
  target: TfsTarget,
  bytes: Buffer,
  cancellation: Cancellation,
  { repository, enableSignatureMethodNameCheck, requestLog }: PredictCallDeps,
): Promise<RestAnswer> {
  const body = new ExamplesBody(bytes);
  while (!body.advance(sliceBytes)) await nextTurn(cancellation);
  const { input } = body;
  const modelSpec = modelSpecOf(target, body.signatureName);
  const request: ExampleRequest = {
    modelSpec,
    input,
    onResolved(id, signature) {
      record.version = id.version;
      record.signature = signature.key;
    },
  };
  const options = { enableSignatureMethodNameCheck };
  const sample = (model: string) => {
    const log = requestLog.sample(model);
    return log?.hasRoom(bytes.length) === true ? log : undefined;
  };
  if (target.verb === "classify") {
    const result = await classify(repository, request, cancellation, options);
    recordFigures(record, result);
    const logged = loggedCall(logFields.classify, modelSpec, input, result, encodeClassificationResponse, sample);
    return { pieces: writeClassifications(result.value), logged };
  }
  const result = await regress(repository, request, cancellation, options);
  recordFigures(record, result);
  const logged = loggedCall(logFields.regress, modelSpec, input, result, encodeRegressionResponse, sample);
  return { pieces: writeRegressions(result.value), logged };
}

function loggedCall<T>(
  field: LogField,
  modelSpec: ModelSpec,
  input: ExampleInput,
  result: ExampleResult<T>,
  encodeResponse: (result: ExampleResult<T>) => Uint8Array,
  sample: (model: string) => RequestLog | undefined,
): LoggedCall | undefined {
  const { servableId, signature } = result;
  const log = sample(servableId.name);
  if (log === undefined) return undefined;
  return {
    log,
    field,
    servableId,
    signature,
    async encode() {
      let written = 0;
      const request = await encodeLoggedExamples(modelSpec, input, signature, async (more) => {
        written += more;
        if (written < sliceBytes) return;
        written = 0;
        await setImmediate();
      });
      return [request, encodeResponse(result)];
    },
  };
}
