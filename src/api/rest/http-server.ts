import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type FastifyInstance, type FastifyReply, fastify } from "fastify";
import type { Clock } from "../../clock.js";
import { requireInteger } from "../../options.js";
import type { ModelRepository, RequestSampler } from "../../serving/index.js";
import type { Logger } from "../../telemetry/index.js";
import type { CallObserver } from "../grpc/interceptors.js";
import type { ServingSwitch } from "../grpc/serving-switch.js";
import { requestIds } from "../request-id.js";
import { TlsHandshakes } from "../tls/tls-handshakes.js";
import type { TlsOptions } from "../tls/tls-options.js";
import type { TrainingCalls } from "../training/training-calls.js";
import { isOipUrl } from "./oip-path.js";
import { type OipDeps, type OipRoutesDeps, serveOip } from "./oip-routes.js";
import { addOperationRoutes } from "./operation-routes.js";
import { originForm } from "./request-target.js";
import { errorBody, type RestCallDeps } from "./rest-call.js";
import { RestRequestLog } from "./rest-request-log.js";
import { isTfsUrl, serveTfs, type TfsRoutesDeps } from "./tfs-routes.js";
import { isTrainingUrl } from "./training-path.js";
import { serveTraining, type TrainingRoutesDeps } from "./training-routes.js";

export interface RestServerDeps {
  readonly repository: ModelRepository;
  readonly servingSwitch: ServingSwitch;
  /** Hears of every call under /v1/ and /v2 once, when it is over. */
  readonly observer: CallObserver;
  /** The page of all metrics, in Prometheus' text format. */
  readonly metricsPage: () => string | Promise<string>;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Chooses the calls under /v1/ that are logged. Default: none is. */
  readonly requestSampler?: RequestSampler;
  /** What answers under /v2. */
  readonly openInference: OipDeps;
  /** What answers under /v1/training. Default: nothing does. */
  readonly training?: TrainingCalls | undefined;
}

export interface RestServerOptions {
  /** How long the work for a call may take; 0 or less: without end. Default 30 000. */
  readonly timeoutMs: number;
  /** Answer calls under /v1/ and /v2 with CORS headers. Default false. */
  readonly enableCors: boolean;
  /** The largest body, as sent and inflated. Default 64 MiB. */
  readonly bodyLimitBytes: number;
  /** Refuse signatures whose method is none of predict, classify, regress. Default false. */
  readonly enableSignatureMethodNameCheck: boolean;
  /** A place for the metrics beside /metrics and TensorFlow Serving's customary one. Default undefined. */
  readonly metricsPath: string | undefined;
  /**
   * From a request's first byte to its last; tables to train on take as long as they take. Default 300 000; looked at
   * every 30 seconds, or as often as this says where it is less.
   */
  readonly requestTimeoutMs: number;
  /** Speak HTTPS. Default undefined: plain HTTP. */
  readonly tls: TlsOptions | undefined;
}

/** Idle connections are kept longer than load balancers keep theirs (60 s), so that it is not we who close first. */
const keepAliveTimeoutMs = 75_000;
/** From accepting a connection to the end of its TLS handshake. */
const handshakeTimeoutMs = 10_000;

/** The REST door. */
export interface RestServer {
  /** Listens; resolves to the port that was bound (the one asked for, or the one the system chose for 0). */
  listen(host: string, port: number): Promise<number>;
  /** In the place of listening: makes ready for connections that another process accepts. */
  prepare(): Promise<void>;
  /** Serves a connection that another process has accepted. */
  accept(socket: Socket): void;
  /**
   * No new connections, and idle ones are closed; resolves when all calls have been answered, or cuts those that
   * remain after `graceMs`.
   */
  close(graceMs: number): Promise<void>;
}

export function createRestServer(deps: RestServerDeps, given: Partial<RestServerOptions> = {}): RestServer {
  const options = validateRestServerOptions(given);
  const connections = new Connections();
  const calls: RestCallDeps = {
    clock: deps.clock,
    logger: deps.logger,
    observer: deps.observer,
    nextRequestId: requestIds(),
    corsHeaders: options.enableCors ? corsHeaders : {},
    lastOnConnection: () => deps.servingSwitch.state !== "serving" || connections.closing,
  };
  const { timeoutMs, bodyLimitBytes, enableSignatureMethodNameCheck } = options;
  const shared = { repository: deps.repository, timeoutMs, bodyLimitBytes, calls };
  const { servingSwitch, clock, logger, requestSampler: sampler = { sample: () => undefined } } = deps;
  const requestLog = new RestRequestLog({ sampler, clock, logger });
  const tfsRoutes: TfsRoutesDeps = { ...shared, enableSignatureMethodNameCheck, requestLog };
  const oipRoutes: OipRoutesDeps = { ...shared, ...deps.openInference, servingSwitch, clock };
  const { training } = deps;
  const trainingRoutes: TrainingRoutesDeps | undefined = training && {
    training,
    calls: options.enableCors ? { ...calls, corsHeaders: trainingCorsHeaders } : calls,
    bodyLimitBytes,
    letTakeItsTime: ({ socket }) => connections.letTakeItsTime(socket),
  };
  const handshakes = options.tls && restHandshakes(options.tls, deps.logger);
  const app = createApp({ tfsRoutes, oipRoutes, trainingRoutes }, connections, handshakes, options.requestTimeoutMs);
  addOperationRoutes(app, {
    repository: deps.repository,
    servingSwitch: deps.servingSwitch,
    metricsPage: deps.metricsPage,
    metricsPaths: [
      "/metrics",
      "/monitoring/prometheus/metrics",
      ...(options.metricsPath === undefined ? [] : [options.metricsPath]),
    ],
  });
  return {
    async listen(host, port) {
      await app.listen({ host, port });
      return (app.server.address() as AddressInfo).port;
    },
    async prepare() {
      await app.ready();
      // Node begins to hold connections to their time limits once its server listens.
      app.server.emit("listening");
    },
    accept: (socket) => app.server.emit("connection", socket),
    async close(graceMs) {
      const timer = deps.clock.setTimer(graceMs, () => connections.cut());
      connections.close();
      await app.close();
      await connections.ended();
      await requestLog.close();
      handshakes?.close();
      timer.cancel();
    },
  };
}

export function validateRestServerOptions(given: Partial<RestServerOptions>): RestServerOptions {
  const options: RestServerOptions = {
    timeoutMs: 30_000,
    enableCors: false,
    bodyLimitBytes: 64 * 1024 * 1024,
    enableSignatureMethodNameCheck: false,
    metricsPath: undefined,
    requestTimeoutMs: 300_000,
    tls: undefined,
    ...given,
  };
  requireInteger("timeoutMs", options.timeoutMs, { max: 2 ** 31 - 1 });
  requireInteger("requestTimeoutMs", options.requestTimeoutMs, { min: 1, max: 2 ** 31 - 1 });
  requireInteger("bodyLimitBytes", options.bodyLimitBytes, { min: 1, max: 2 ** 31 - 1 });
  return Object.freeze(options);
}

const corsHeaders = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "POST, GET",
  "access-control-allow-headers": "Content-Type",
};

const trainingCorsHeaders = { ...corsHeaders, "access-control-allow-methods": "POST, GET, DELETE" };

/** Fastify serves all that has ordinary routes. What is under /v1/ and /v2 never reaches it. */
function createApp(
  routes: {
    readonly tfsRoutes: TfsRoutesDeps;
    readonly oipRoutes: OipRoutesDeps;
    readonly trainingRoutes: TrainingRoutesDeps | undefined;
  },
  connections: Connections,
  handshakes: RestHandshakes | undefined,
  requestTimeoutMs: number,
): FastifyInstance {
  const { tfsRoutes, oipRoutes, trainingRoutes } = routes;
  const app = fastify({
    serverFactory: (handler) => {
      const timeouts = {
        keepAliveTimeout: keepAliveTimeoutMs,
        requestTimeout: requestTimeoutMs,
        connectionsCheckingInterval: Math.min(30_000, requestTimeoutMs),
      };
      const server = createServer(timeouts, (request, response) => {
        connections.begin(request, response);
        const url = originForm(request.url ?? "");
        request.url = url;
        if (trainingRoutes !== undefined && isTrainingUrl(url)) serveTraining(request, response, trainingRoutes);
        else if (isTfsUrl(url)) serveTfs(request, response, tfsRoutes);
        else if (isOipUrl(url)) serveOip(request, response, oipRoutes);
        else handler(request, response);
      });
      connections.watch(server);
      handshakes?.precede(server, connections);
      return server;
    },
    // A call that comes on an open connection while the server closes is served like those before it.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) => {
      // Node tells of a request's timeout once, and leaves it to us what comes of it.
      if (error.code === "ERR_HTTP_REQUEST_TIMEOUT" && connections.mayTakeItsTime(socket)) return;
      answerMalformed(error, socket);
    },
    frameworkErrors: (error, _request, reply: FastifyReply) => {
      void reply.code(400).type("application/json").send(errorBody(error.message));
    },
  });
  app.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .type("application/json")
      .send(errorBody(`Not found: ${request.method} ${request.url}`)),
  );
  return app;
}

interface RestHandshakes {
  /** From now on the server sees of each connection what comes after its handshake. */
  precede(server: Server, connections: Connections): void;
  close(): void;
}

function restHandshakes(tls: TlsOptions, logger: Logger): RestHandshakes {
  let handshakes: TlsHandshakes | undefined;
  return {
    precede(server, connections) {
      const listeners = server.listeners("connection");
      server.removeAllListeners("connection");
      const deps = { protocols: ["http/1.1"], handshakeTimeoutMs, logger };
      const shaken = new TlsHandshakes(tls, deps, (socket) => {
        connections.shaken(socket);
        for (const listener of listeners) listener.call(server, socket);
      });
      handshakes = shaken;
      server.on("connection", (socket: Socket) => {
        connections.shakeHands(socket);
        shaken.begin(socket);
      });
    },
    close: () => handshakes?.close(),
  };
}

/** Bytes that are not HTTP, headers that are too large, a request that takes too long to come. */
function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const status =
    error.code === "HPE_HEADER_OVERFLOW"
      ? "431 Request Header Fields Too Large"
      : error.code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? "408 Request Timeout"
        : "400 Bad Request";
  const body = errorBody(`Malformed HTTP request: ${error.message}`);
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/** Open connections and the calls that each has: what closing needs to know, and Node's server does not tell. */
class Connections {
  closing = false;
  readonly #calls = new Map<Socket, Set<ServerResponse>>();
  readonly #patient = new WeakSet<Socket>();
  /** Called when the last connection has ended. */
  readonly #whenEmpty: (() => void)[] = [];
  /** Connections whose TLS handshake is under way, by their peer: a handshake comes back as another socket. */
  readonly #shaking = new Map<string, Socket>();

  watch(server: Server): void {
    server.on("connection", (socket: Socket) => {
      const responses = new Set<ServerResponse>();
      this.#calls.set(socket, responses);
      socket.once("close", () => {
        this.#calls.delete(socket);
        for (const response of responses) endUnsent(response);
        if (this.#calls.size === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
      });
    });
  }

  /** Resolves when there is none. */
  async ended(): Promise<void> {
    if (this.#calls.size === 0) return;
    await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  shakeHands(socket: Socket): void {
    const peer = peerOf(socket);
    this.#shaking.set(peer, socket);
    socket.once("close", () => {
      if (this.#shaking.get(peer) === socket) this.#shaking.delete(peer);
    });
  }

  shaken(socket: Socket): void {
    this.#shaking.delete(peerOf(socket));
  }

  begin({ socket }: IncomingMessage, response: ServerResponse): void {
    const responses = this.#calls.get(socket);
    responses?.add(response);
    response.on("close", () => {
      this.#patient.delete(socket);
      if (responses?.delete(response) !== true) return;
      if (this.closing && responses.size === 0 && this.#calls.has(socket)) socket.end();
    });
  }

  /** The request that is under way on this connection is not held to the time that others have. */
  letTakeItsTime(socket: Socket): void {
    this.#patient.add(socket);
  }

  mayTakeItsTime(socket: Socket): boolean {
    return this.#patient.has(socket);
  }

  /** Ends the connections that have no call; the others follow when their calls have ended. */
  close(): void {
    this.closing = true;
    for (const [socket, calls] of this.#calls) if (calls.size === 0) socket.destroy();
    for (const socket of this.#shaking.values()) socket.destroy();
  }

  cut(): void {
    for (const socket of this.#calls.keys()) socket.destroy();
  }
}

/** A response that waits its turn behind another's on a connection that has ended hears nothing of that from Node. */
function endUnsent(response: ServerResponse): void {
  if (response.socket !== null) return;
  response.destroy();
  response.emit("close");
}

const peerOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
