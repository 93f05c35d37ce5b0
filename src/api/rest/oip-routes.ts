// The Open Inference Protocol over REST, with Triton's extensions: everything under /v2.
import type { IncomingMessage, ServerResponse } from "node:http";
import { Code, errorMessage, invalidArgument } from "../../status.js";
import type { InferenceStatistics } from "../../telemetry/index.js";
import { messageToJson, toModelConfig } from "../codecs/oip-model-config.js";
import { toModelStatistics } from "../codecs/oip-statistics.js";
import type { Peer } from "../grpc/service-table.js";
import type { ServingSwitch } from "../grpc/serving-switch.js";
import { sharedMemoryIsOff } from "../open-inference/infer-parameters.js";
import { extensions, modelMetadata, modelStatistics, requireReady, serverName } from "../open-inference/model-info.js";
import { findServable } from "../open-inference/model-lookup.js";
import type { RepositoryCalls, RepositoryParameter } from "../open-inference/repository-calls.js";
import {
  type LogSetting,
  logSettings,
  refuseLogChanges,
  refuseTraceChanges,
  traceSettings,
} from "../open-inference/server-settings.js";
import { readEncodedBody, UnsupportedEncoding } from "./oip-encoding.js";
import { answerInfer, type InferCallDeps } from "./oip-infer-call.js";
import { type OipTarget, parseOipPath } from "./oip-path.js";
import { RestCall, type RestCallDeps } from "./rest-call.js";
import { restPeer } from "./rest-peer.js";

/** What the protocol needs beside what every REST call does. */
export interface OipDeps {
  readonly repositoryCalls: RepositoryCalls;
  /** What every version has answered so far, of the whole server. */
  readonly readStatistics: () => InferenceStatistics | Promise<InferenceStatistics>;
  /** Of this package. */
  readonly version: string;
}

export interface OipRoutesDeps extends OipDeps, InferCallDeps {
  readonly calls: RestCallDeps;
  readonly servingSwitch: ServingSwitch;
  /** How long the work for a call may take once its body is here; 0 or less: without end. */
  readonly timeoutMs: number;
  /** The largest body, as sent and inflated. */
  readonly bodyLimitBytes: number;
}

/** Answers a call under /v2. Never throws. */
export function serveOip(request: IncomingMessage, response: ServerResponse, deps: OipRoutesDeps): void {
  const { method = "", url = "" } = request;
  const query = url.indexOf("?");
  const path = query === -1 ? url : url.slice(0, query);
  const peer = restPeer(request);
  const call = new RestCall(request, response, path, peer.address, deps.calls);
  try {
    if (method === "OPTIONS") {
      call.answerEmpty(Code.OK); // a CORS preflight
      return;
    }
    const target = parseOipPath(method, path);
    if (target === undefined) call.refuse(404, Code.NOT_FOUND, "Not Found");
    else if (target === "wrong method") call.refuse(405, Code.UNIMPLEMENTED, "Method Not Allowed");
    else {
      if ("model" in target) call.record.model = target.model;
      if (method === "GET") answerGet(call, target, deps);
      else void answerPost(call, request, target, peer, deps);
    }
  } catch (error) {
    call.fail(error);
  }
}

function answerGet(call: RestCall, target: OipTarget, deps: OipRoutesDeps): void {
  const described = describe(target, deps);
  if (described instanceof Promise) {
    described.then(
      (value) => call.answerJson(JSON.stringify(value)),
      (error: unknown) => call.fail(error),
    );
    return;
  }
  const body = JSON.stringify(described);
  if (target.kind === "ready" && !isReady(deps)) {
    call.refuse(400, Code.UNAVAILABLE, "the server is not ready", body); // Triton's status for "no"
  } else call.answerJson(body);
}

function isReady({ servingSwitch, repository }: OipRoutesDeps): boolean {
  return servingSwitch.state === "serving" && repository.settled();
}

/** What a GET is answered with. @throws as the model that is asked for */
function describe(target: OipTarget, deps: OipRoutesDeps): unknown {
  const { repository, version } = deps;
  switch (target.kind) {
    case "server-metadata":
      return { name: serverName, version, extensions };
    case "live":
      return { live: true };
    case "ready":
      return { ready: isReady(deps), live: true };
    case "model-list":
      return { models: repository.listModels().map(({ name }) => name) };
    case "model-ready":
      requireReady(repository, target.model, target.version);
      return { name: target.model, ready: true };
    case "model-metadata":
      return modelMetadata(repository, target.model, target.version);
    case "model-config": {
      using handle = findServable(repository, target.model, target.version);
      return messageToJson(toModelConfig(handle.servable));
    }
    case "all-statistics":
      return statisticsJson("", "", deps);
    case "model-statistics":
      return statisticsJson(target.model, target.version, deps);
    case "shared-memory-status":
      return [];
    case "trace-settings":
      return traceSettingsJson();
    case "log-settings":
      return Object.fromEntries(logSettings);
    default:
      throw new Error(`${target.kind} is not asked for by GET`);
  }
}

async function statisticsJson(
  model: string,
  version: string,
  { repository, readStatistics }: OipRoutesDeps,
): Promise<object> {
  const found = modelStatistics(repository, await readStatistics(), model, version);
  return { model_stats: found.map((each) => messageToJson(toModelStatistics(each))) };
}

async function answerPost(
  call: RestCall,
  request: IncomingMessage,
  target: OipTarget,
  peer: Peer,
  deps: OipRoutesDeps,
): Promise<void> {
  const { repositoryCalls } = deps;
  try {
    if (target.kind === "infer") call.record.api = "ModelInfer";
    const body = await readEncodedBody(request, deps.bodyLimitBytes);
    // A load takes as long as the model does.
    const { cancellation, done } = call.begin(target.kind === "load" ? 0 : deps.timeoutMs);
    try {
      switch (target.kind) {
        case "infer":
          await answerInfer(call, request.headers, target, body, cancellation, deps);
          break;
        case "index": {
          const onlyReady = readObject(body)["ready"] === true;
          call.answerJson(JSON.stringify(await repositoryCalls.index(target.repository, onlyReady)));
          break;
        }
        case "load": {
          const parameters = readParameters(body);
          await repositoryCalls.load(peer, target.repository, target.model, parameters, cancellation);
          call.answerEmpty(Code.OK);
          break;
        }
        case "unload":
          await repositoryCalls.unload(peer, target.repository, target.model, readParameters(body));
          call.answerEmpty(Code.OK);
          break;
        case "shared-memory-change":
          throw sharedMemoryIsOff();
        case "trace-settings":
          refuseTraceChanges(new Map(Object.entries(readObject(body)).map(([key, value]) => [key, traceValue(value)])));
          call.answerJson(JSON.stringify(traceSettingsJson()));
          break;
        case "log-settings":
          refuseLogChanges(new Map(Object.entries(readObject(body) as Record<string, LogSetting>)));
          call.answerJson(JSON.stringify(Object.fromEntries(logSettings)));
          break;
        default:
          throw new Error(`${target.kind} is not asked for by POST`);
      }
    } finally {
      done();
    }
  } catch (error) {
    if (error instanceof UnsupportedEncoding) call.addHeaders(error.headers);
    call.fail(error);
  }
}

/** Values as strings, the level as a list. */
function traceSettingsJson(): object {
  return Object.fromEntries(
    [...traceSettings].map(([key, value]) => [key, key === "trace_level" ? value : value.join()]),
  );
}

function traceValue(value: unknown): readonly string[] {
  if (value === null || value === undefined) return [];
  return Array.isArray(value) ? value.map(String) : [String(value)];
}

/** A small JSON body; none at all stands for {}. */
function readObject(body: Buffer): Readonly<Record<string, unknown>> {
  if (body.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch (error) {
    throw invalidArgument(`failed to parse the request JSON buffer: ${errorMessage(error)}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidArgument("the body must be a JSON object");
  }
  return value as Readonly<Record<string, unknown>>;
}

function readParameters(body: Buffer): ReadonlyMap<string, RepositoryParameter> {
  const { parameters = {} } = readObject(body);
  if (typeof parameters !== "object" || parameters === null) throw invalidArgument("'parameters' must be an object");
  return new Map(Object.entries(parameters));
}
