import type { Cancellation } from "../../cancellation.js";
import { classify, type ExampleRequest, regress } from "../../serving/index.js";
import type { CallRecord } from "../../telemetry/index.js";
import { ExamplesBody } from "../codecs/json-examples.js";
import { writeClassifications, writeRegressions } from "../codecs/json-results.js";
import { recordFigures } from "../grpc/example-methods.js";
import { modelSpecOf, nextTurn, type PredictCallDeps, sliceBytes } from "./predict-call.js";
import type { TfsTarget } from "./tfs-path.js";

/** Runs a classify or regress call. @returns the answer's body, in pieces */
export async function examplesCall(
  record: CallRecord,
  target: TfsTarget,
  bytes: Buffer,
  cancellation: Cancellation,
  { repository, enableSignatureMethodNameCheck }: PredictCallDeps,
): Promise<Iterator<Buffer, undefined>> {
  const body = new ExamplesBody(bytes);
  while (!body.advance(sliceBytes)) await nextTurn(cancellation);
  const request: ExampleRequest = {
    modelSpec: modelSpecOf(target, body.signatureName),
    input: body.input,
    onResolved(id, signature) {
      record.version = id.version;
      record.signature = signature.key;
    },
  };
  const options = { enableSignatureMethodNameCheck };
  if (target.verb === "classify") {
    const result = await classify(repository, request, cancellation, options);
    recordFigures(record, result);
    return writeClassifications(result.value);
  }
  const result = await regress(repository, request, cancellation, options);
  recordFigures(record, result);
  return writeRegressions(result.value);
}
