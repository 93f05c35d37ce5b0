// TensorFlow Serving's REST API: everything under /v1/. Its own rules for URLs and its own answers to wrong ones leave no
// work for a router.
import type { IncomingMessage, ServerResponse } from "node:http";
import { getModelMetadata } from "../../serving/index.js";
import { Code, invalidArgument } from "../../status.js";
import { tcpPeer } from "../grpc/peer.js";
import { echoedLabel, modelVersionHeader, versionLabelHeader } from "../version-label.js";
import { examplesCall } from "./example-call.js";
import { modelMetadataJson, modelStatusJson } from "./model-json.js";
import { modelSpecOf, type PredictCallDeps, predictCall, type RestAnswer } from "./predict-call.js";
import { readBody } from "./request-body.js";
import { RestCall, type RestCallDeps } from "./rest-call.js";
import { parseTfsPath, type TfsTarget } from "./tfs-path.js";

export interface TfsRoutesDeps extends PredictCallDeps {
  readonly calls: RestCallDeps;
  /** How long the work for a call may take once its body is here; 0 or less: without end. */
  readonly timeoutMs: number;
  /** The largest body, as sent and inflated. */
  readonly bodyLimitBytes: number;
}

/** Whether a URL is TensorFlow Serving's. */
export function isTfsUrl(url: string): boolean {
  return /^\/v1\//i.test(url);
}

/** Answers a call under /v1/. Never throws. */
export function serveTfs(request: IncomingMessage, response: ServerResponse, deps: TfsRoutesDeps): void {
  const { method = "", url = "", socket } = request;
  const query = url.indexOf("?");
  const path = query === -1 ? url : url.slice(0, query);
  const call = new RestCall(
    request,
    response,
    path,
    tcpPeer(socket.remoteAddress, socket.remotePort).address,
    deps.calls,
  );
  try {
    if (method === "OPTIONS") {
      // A CORS preflight; what counts as one is TensorFlow Serving's choice.
      call.answerEmpty(/https?:\/\//.test(request.headers.origin ?? "") ? Code.OK : Code.FAILED_PRECONDITION);
      return;
    }
    const target = parseTfsPath(method, path);
    call.record.model = target.model;
    if (method === "GET") call.answerJson(answerGet(target, deps));
    else void answerPost(call, request, target, deps);
  } catch (error) {
    call.fail(error);
  }
}

function answerGet(target: TfsTarget, { repository }: TfsRoutesDeps): string {
  if (target.model === "") throw invalidArgument("Missing model name in request.");
  if (target.verb === "status") {
    // A label is not looked at: TensorFlow Serving lists all versions then.
    return modelStatusJson(repository.getModelStatus(target.model, target.version));
  }
  const modelSpec = modelSpecOf(target, "");
  return modelMetadataJson(getModelMetadata(repository, { modelSpec, metadataFields: ["signature_def"] }));
}

async function answerPost(
  call: RestCall,
  request: IncomingMessage,
  target: TfsTarget,
  deps: TfsRoutesDeps,
): Promise<void> {
  try {
    call.record.api = target.verb[0]!.toUpperCase() + target.verb.slice(1);
    const body = await readBody(request, deps.bodyLimitBytes);
    const { cancellation, done } = call.begin(deps.timeoutMs);
    let answer: RestAnswer;
    try {
      const work = target.verb === "predict" ? predictCall : examplesCall;
      answer = await work(call.record, target, body, cancellation, deps);
    } finally {
      done(); // the timeout is for the work; how fast the client reads is its own affair
    }
    const label = echoedLabel(target.label);
    if (label !== undefined) {
      call.addHeaders({ [versionLabelHeader]: label, [modelVersionHeader]: String(call.record.version) });
    }
    const sending = call.answerPieces(answer.pieces);
    if (sending !== undefined) await sending;
    if (answer.logged !== undefined) deps.requestLog.write(answer.logged);
  } catch (error) {
    call.fail(error);
  }
}
