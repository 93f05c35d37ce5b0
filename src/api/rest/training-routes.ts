// Training over REST: everything under /v1/training. Calls take as long as they take, as a load does: the timeout of the
// REST API is for inference.
import type { IncomingMessage, ServerResponse } from "node:http";
import { Code, invalidArgument } from "../../status.js";
import type { DataPiece } from "../../training/index.js";
import type { JsonObject } from "../codecs/message-json.js";
import {
  evaluationFromJson,
  evaluationToJson,
  evaluationWithoutData,
  jobEventToJson,
  jobListToJson,
  jobToJson,
  listRequestFromJson,
  startFromJson,
  startWithoutData,
} from "../codecs/training-json.js";
import type { RolePiece, TrainingCaller, TrainingCalls } from "../training/training-calls.js";
import { QueryParameters } from "./query-parameters.js";
import { readBody } from "./request-body.js";
import { RestCall, type RestCallDeps } from "./rest-call.js";
import { restPeer } from "./rest-peer.js";
import { streamedBody } from "./streamed-body.js";
import { parseTrainingPath, type TrainingTarget } from "./training-path.js";

export interface TrainingRoutesDeps {
  readonly training: TrainingCalls;
  readonly calls: RestCallDeps;
  /** The largest body of JSON, as sent and inflated. Tables are as large as the intake takes. */
  readonly bodyLimitBytes: number;
  /** From now on the request is not held to the time that others have to come in. */
  readonly letTakeItsTime: (request: IncomingMessage) => void;
}

/** Answers a call under /v1/training. Never throws. */
export function serveTraining(request: IncomingMessage, response: ServerResponse, deps: TrainingRoutesDeps): void {
  const { method = "", url = "" } = request;
  const [path = "", query = ""] = splitOnce(url, "?");
  const peer = restPeer(request);
  const call = new RestCall(request, response, path, peer.address, deps.calls);
  if (method === "OPTIONS") {
    call.answerEmpty(Code.OK); // a CORS preflight
    return;
  }
  const target = parseTrainingPath(method, path);
  if (target === undefined) call.refuse(404, Code.NOT_FOUND, `Not found: ${method} ${path}`);
  else if (target === "wrong method") call.refuse(405, Code.UNIMPLEMENTED, `${path} does not take ${method}`);
  else {
    const { cancellation } = call.begin(0);
    const caller: TrainingCaller = { peer, record: call.record, cancellation };
    const takesData = target.kind === "start" || target.kind === "evaluate";
    answer(call, target, { request, query, caller }, deps).catch((thrown) =>
      takesData ? call.failUnread(thrown) : call.fail(thrown),
    );
  }
}

interface Received {
  readonly request: IncomingMessage;
  readonly query: string;
  readonly caller: TrainingCaller;
}

async function answer(
  call: RestCall,
  target: TrainingTarget,
  received: Received,
  deps: TrainingRoutesDeps,
): Promise<void> {
  const { query, caller } = received;
  const { training } = deps;
  const json = (value: JsonObject) => call.answerJson(`${JSON.stringify(value)}\n`);
  switch (target.kind) {
    case "start":
      json(await start(received, deps));
      break;
    case "evaluate":
      json(await evaluate(received, deps));
      break;
    case "list":
      json(await list(query, caller, training));
      break;
    case "get":
      noParameters(query);
      json(jobToJson(await training.get(target.id, caller)));
      break;
    case "events": {
      const from = new QueryParameters(query, ["from"]).whole("from");
      const events = training.watch(target.id, from, caller);
      await call.answerLines(eventLines(events), "application/x-ndjson");
      break;
    }
    case "cancel":
      noParameters(query);
      json(jobToJson(await training.cancel(target.id, caller)));
      break;
    case "publish":
      noParameters(query);
      json(jobToJson(await training.publish(target.id, caller)));
      break;
    case "delete":
      noParameters(query);
      await training.delete(target.id, caller);
      json({});
      break;
  }
}

/** A StartJob as JSON; or a table, taken to the disk as it comes, whose spec is in the URL. */
async function start({ request, query, caller }: Received, deps: TrainingRoutesDeps): Promise<JsonObject> {
  const { training, bodyLimitBytes } = deps;
  training.requireManagement(caller, "StartJob");
  const kind = tableKindOf(request);
  if (kind === undefined) {
    noParameters(query);
    const given = startFromJson((await readBody(request, bodyLimitBytes)).toString());
    return jobToJson(await training.start(given, caller));
  }
  const parameters = new QueryParameters(query, ["spec", "idempotency_key", "dry_run"]);
  const spec = parameters.text("spec");
  if (spec === undefined) throw invalidArgument("parameter spec is missing: the training spec as JSON");
  const given = startWithoutData(spec, parameters.text("idempotency_key") ?? "", parameters.flag("dry_run"));
  deps.letTakeItsTime(request);
  return jobToJson(await training.startWith(given, tableOf(request, kind), caller));
}

async function* tableOf(request: IncomingMessage, kind: TableKind): AsyncGenerator<RolePiece, void, undefined> {
  for await (const bytes of streamedBody(request)) yield { role: "train", piece: { kind, bytes } };
}

/** An Evaluate as JSON; or a table, with the rest in the URL. */
async function evaluate({ request, query, caller }: Received, deps: TrainingRoutesDeps): Promise<JsonObject> {
  const { training, bodyLimitBytes } = deps;
  training.requireManagement(caller, "Evaluate");
  const kind = tableKindOf(request);
  if (kind === undefined) {
    noParameters(query);
    const given = evaluationFromJson((await readBody(request, bodyLimitBytes)).toString());
    return evaluationToJson(await training.evaluate(given, caller));
  }
  const parameters = new QueryParameters(query, ["model", "version", "label", "weight", "top_k", "threshold"]);
  const model = { name: parameters.text("model") ?? "", ...parameters.texts("version", "label") };
  const asked = evaluationWithoutData({ model, ...parameters.texts("weight", "top_k", "threshold") });
  const bytes = await readBody(request, bodyLimitBytes);
  return evaluationToJson(await training.evaluateOn(asked, [{ kind, bytes }], caller));
}

async function list(query: string, caller: TrainingCaller, training: TrainingCalls): Promise<JsonObject> {
  const parameters = new QueryParameters(query, ["page_size", "page_token", "model"], ["state"]);
  const request = listRequestFromJson({
    page_size: parameters.text("page_size") ?? 0,
    page_token: parameters.text("page_token") ?? "",
    model: parameters.text("model") ?? "",
    states: parameters.list("state").map((name) => name.toUpperCase()),
  });
  return jobListToJson(await training.list(request, caller));
}

async function* eventLines(events: ReturnType<TrainingCalls["watch"]>): AsyncGenerator<string, void, undefined> {
  for await (const event of events) yield JSON.stringify(jobEventToJson(event));
}

type TableKind = Extract<DataPiece["kind"], "csv" | "json-lines">;

const tableKinds: Readonly<Record<string, TableKind>> = {
  "text/csv": "csv",
  "application/csv": "csv",
  "application/x-ndjson": "json-lines",
  "application/ndjson": "json-lines",
  "application/jsonl": "json-lines",
};

/** undefined: the body is JSON, whatever it is called, as everywhere under /v1. */
function tableKindOf(request: IncomingMessage): TableKind | undefined {
  const [type = ""] = splitOnce(request.headers["content-type"] ?? "", ";");
  return tableKinds[type.trim().toLowerCase()];
}

function noParameters(query: string): void {
  new QueryParameters(query, []);
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
