// The composition root: every room is built here, bottom-up, and closed here, top-down.
import { access } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { catalogService } from "./api/grpc/catalog-service.js";
import { createDispatcher } from "./api/grpc/dispatch.js";
import { healthService } from "./api/grpc/health.js";
import { inferenceService } from "./api/grpc/inference-service.js";
import { type CallObserver, standardInterceptors } from "./api/grpc/interceptors.js";
import { modelService } from "./api/grpc/model-service.js";
import { predictionService } from "./api/grpc/prediction-service.js";
import { reflectionService } from "./api/grpc/reflection.js";
import type { GrpcTransport, Method, Origin, ServiceTable } from "./api/grpc/service-table.js";
import { ServingSwitch } from "./api/grpc/serving-switch.js";
import { trainingService } from "./api/grpc/training-service.js";
import { createGrpcJsTransport } from "./api/grpc/transport/grpc-js.js";
import { createHttp2Transport } from "./api/grpc/transport/http2/http2-transport.js";
import { validateGrpcTransportOptions } from "./api/grpc/transport/transport-options.js";
import { RepositoryCalls } from "./api/open-inference/repository-calls.js";
import { createRestServer, type RestServer } from "./api/rest/http-server.js";
import { readMetricsPath } from "./api/rest/monitoring-config.js";
import { SslConfigFile } from "./api/tls/ssl-config-file.js";
import { TrainingCalls } from "./api/training/training-calls.js";
import { welcome } from "./api/welcome.js";
import { CancellationSource } from "./cancellation.js";
import { type Clock, systemClock } from "./clock.js";
import type { Options } from "./config.js";
import { descriptorSetBase64 } from "./gen/descriptor-set.js";
import { ModelKeeper, type ModelKeeperDeps, readBatching, type ServerModels } from "./model-keeper.js";
import { type CountedModelRuntime, createModelRuntime } from "./runtime/index.js";
import type { BatchingParametersFile, ServedRepository } from "./serving/index.js";
import { deadlineExceeded, errorMessage, invalidArgument, unavailable } from "./status.js";
import {
  createLogger,
  EventLoopMonitor,
  type InferenceStatistics,
  Metrics,
  type RootLogger,
} from "./telemetry/index.js";

export interface StartContext {
  /** Of this package, for the metrics. */
  readonly version?: string;
  /** Logged at start: what the command line had to say. */
  readonly notes?: readonly string[];
  /** For tests: the system chooses both ports. */
  readonly anyPort?: boolean;
  readonly clock?: Clock;
  /** This process serves together with others. Default: alone. */
  readonly member?: Member;
}

/** What a process that serves together with others has from the one in charge. */
export interface Member {
  /** Makes what this process answers from. */
  follow(deps: ModelKeeperDeps): ServerModels;
  readonly figures: ServerFigures;
  /** CPUs that are this process's share. */
  readonly cpus: number;
}

/** What the whole server has done, for those who ask at any door. */
export interface ServerFigures {
  /** The page of all metrics, in Prometheus' text format. */
  page(): string | Promise<string>;
  statistics(): InferenceStatistics | Promise<InferenceStatistics>;
  /** By TensorFlow's internal name. */
  counter(internalName: string): number | Promise<number>;
}

/** Where a connection was accepted. */
export type Door = { readonly kind: "grpc"; readonly origin: Origin } | { readonly kind: "rest" };

/**
 * Starts a server from validated options: models first, then the doors. Rejects when a door cannot be opened, when there
 * is no model source, and, under strict_startup, when a model has failed.
 */
export async function startServer(options: Options, context: StartContext = {}): Promise<Server> {
  const server = new Server(options, context, await readBatching(options));
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** How long runs may go on after the last call was answered or cut. */
const releasePatienceMs = 5000;

export class Server {
  readonly logger: RootLogger;
  readonly repository: ServedRepository;
  readonly runtime: CountedModelRuntime;
  readonly metrics: Metrics;
  readonly #options: Options;
  readonly #context: StartContext;
  readonly #clock: Clock;
  readonly #servingSwitch = new ServingSwitch();
  readonly #lag = new EventLoopMonitor();
  readonly #models: ServerModels;
  readonly #figures: ServerFigures;
  readonly #repositoryCalls: RepositoryCalls;
  #grpc: GrpcTransport | undefined;
  #sslConfig: SslConfigFile | undefined;
  #rest: RestServer | undefined;
  #grpcPort: number | undefined;
  #restPort: number | undefined;
  #started = false;
  /** Fires when closing begins. */
  readonly #stopped = new CancellationSource();
  #closing: Promise<void> | undefined;

  /** @param batching what the file behind batching_parameters_file says */
  constructor(options: Options, context: StartContext, batching?: BatchingParametersFile) {
    this.#options = options;
    this.#context = context;
    this.#clock = context.clock ?? systemClock;
    this.logger = createLogger({ level: options.log_level, format: options.log_format, clock: this.#clock });
    const build = { version: context.version ?? "", node: process.version };
    this.metrics = new Metrics({ build, clock: this.#clock });
    this.runtime = createModelRuntime(
      {
        ...(options.inline_threshold_micros >= 0 && { inlineThresholdMicros: options.inline_threshold_micros }),
        ...(context.member && { cpus: context.member.cpus }),
      },
      {
        logger: this.logger,
        clock: this.#clock,
        // The runtime knows a session by "model/version".
        observer: {
          droppedBeforeRun: (name) => this.metrics.countCancelledBeforeRun(name.slice(0, name.lastIndexOf("/"))),
          workerRestarted: (name) => this.metrics.countWorkerRestart(name.slice(0, name.lastIndexOf("/"))),
        },
      },
    );
    const deps = { runtime: this.runtime, metrics: this.metrics, logger: this.logger, clock: this.#clock, batching };
    this.#models = context.member?.follow(deps) ?? new ModelKeeper(options, deps);
    this.#figures = context.member?.figures ?? {
      page: () => this.metrics.text(),
      statistics: () => this.metrics.inferenceStatistics,
      counter: (internalName) => this.metrics.readCounter(internalName),
    };
    this.repository = this.#models.repository;
    this.#repositoryCalls = new RepositoryCalls({
      repository: this.repository,
      control: this.#models.control,
      management: options.management,
    });
    this.#wireMetrics();
  }

  /** undefined: that door is shut. */
  get grpcPort(): number | undefined {
    return this.#grpcPort;
  }
  get restPort(): number | undefined {
    return this.#restPort;
  }

  /** Closes itself when it cannot start. Resolves without doors when it is closed meanwhile. */
  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      if (this.#closing !== undefined) return;
      await this.close();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { logger } = this;
    for (const note of this.#context.notes ?? []) logger.warn(note);
    const { ssl_config_file: sslConfig } = this.#options;
    if (sslConfig !== "") this.#sslConfig = await SslConfigFile.open(sslConfig, { clock: this.#clock, logger });
    await this.#models.open();
    const grpc = this.#makeGrpc();
    this.#grpc = grpc;
    await this.#models.start(this.#stopped);
    if (this.#closing !== undefined) return;
    await this.#openDoors(grpc);
    // Doors that were being opened when closing began.
    if (this.#closing !== undefined) await Promise.all([grpc.close(0), this.#rest?.close(0)]);
    this.#started = true;
    this.#models.follow();
  }

  /** Serves a connection that the process in charge has accepted. */
  accept(socket: Socket, door: Door): void {
    if (door.kind === "grpc") this.#grpc?.accept(socket, door.origin);
    else this.#rest?.accept(socket);
  }

  /** Says NOT_SERVING from now on, and goes on serving. */
  drain(): void {
    this.#servingSwitch.drain();
  }

  /** Looks for new versions now instead of at the next poll. */
  pollNow(): Promise<void> {
    return this.#models.pollNow();
  }

  /** Reads the certificates behind ssl_config_file now instead of at the next look. */
  async pollCertificates(): Promise<void> {
    await this.#sslConfig?.poll();
  }

  /**
   * Says NOT_SERVING, goes on serving for drain_delay_ms, lets calls in flight finish for shutdown_timeout_ms, cuts what
   * is left, releases all models and flushes the log. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { drain_delay_ms: drainDelayMs, shutdown_timeout_ms: shutdownTimeoutMs } = this.#options;
    this.#stopped.cancel(unavailable("the server is closing"));
    this.#servingSwitch.drain();
    if (this.#started && drainDelayMs > 0) await this.#delay(drainDelayMs);
    this.#servingSwitch.close();
    await Promise.all([
      this.#grpc?.close(shutdownTimeoutMs),
      this.#rest?.close(shutdownTimeoutMs),
      this.#models.stopFollowing(),
      this.#sslConfig?.close(),
    ]);
    await this.#releaseModels();
    this.#lag.close();
    this.logger.info("closed");
    await this.logger.flush();
  }

  /** Nobody waits for an answer any more: what still runs is given a moment, and then left to the end of the process. */
  async #releaseModels(): Promise<void> {
    const patience = new CancellationSource();
    const timer = this.#clock.setTimer(releasePatienceMs, () => patience.cancel(deadlineExceeded("runs do not end")));
    const released = this.repository.close(patience).then(() => this.runtime.close());
    const givenUp = new Promise<void>((_, reject) => patience.onCancel(reject));
    try {
      await Promise.race([released, givenUp]);
    } catch (error) {
      released.catch(() => {});
      this.logger.error("models could not be released", { reason: errorMessage(error) });
    } finally {
      timer.cancel();
    }
  }

  /** Whether a run or a load is under way. Node would have to end its thread, which makes onnxruntime abort the process. */
  get busy(): boolean {
    return this.runtime.stats().threads.some(({ busy }) => busy);
  }

  /** Nothing but the process itself has to be ended. */
  abandon(): void {}

  /** What a person reads at start: what is served where, and lines to paste. */
  welcome(): string[] {
    return welcome(this.repository.listModels(), { grpcPort: this.#grpcPort, restPort: this.#restPort });
  }

  #wireMetrics(): void {
    const { metrics, repository } = this;
    repository.onStateChange((name, { version, state, path }) => {
      metrics.setVersionState(name, version, state);
      if (state !== "AVAILABLE") return;
      const told = () => metrics.setMlmd(name, version);
      access(join(path, "assets.extra", "mlmd_uuid")).then(told, () => {});
    });
    metrics.readSessionLoads(() => repository.sessionLoads());
    metrics.readDroppedLines(() => this.logger.droppedLines());
    metrics.readEventLoopLag(() => this.#lag.read());
  }

  async #openDoors(grpc: GrpcTransport): Promise<void> {
    const { bind_address: host, port, rest_api_port: restPort, grpc_socket_path: socketPath } = this.#options;
    const any = this.#context.anyPort === true;
    if (this.#context.member !== undefined) {
      // The process in charge listens.
      if (restPort === 0) return;
      this.#rest = await this.#makeRest();
      await this.#rest.prepare();
      return;
    }
    if (port !== 0) {
      this.#grpcPort = await grpc.listenTcp(host, any ? 0 : port);
      this.logger.info(`Running gRPC ModelServer at ${host}:${this.#grpcPort} ...`);
    }
    if (socketPath !== "") {
      await grpc.listenUnix(socketPath);
      this.logger.info(`Running gRPC ModelServer at UNIX socket ${socketPath} ...`);
    }
    if (restPort !== 0) {
      this.#rest = await this.#makeRest();
      this.#restPort = await this.#rest.listen(host, any ? 0 : restPort);
      this.logger.info(`Exporting HTTP/REST API at:localhost:${this.#restPort} ...`);
    }
  }

  #trainingCalls(): TrainingCalls {
    return new TrainingCalls({
      service: this.#models.training,
      management: this.#options.management,
      clock: this.#clock,
    });
  }

  #makeGrpc(): GrpcTransport {
    const options = this.#options;
    const methods: Method[] = [
      ...predictionService(this.repository, {
        enableSerializationAsTensorContent: options.enable_serialization_as_tensor_content,
        enableSignatureMethodNameCheck: options.enable_signature_method_name_check,
        maxFillBytes: options.max_receive_message_bytes,
        requestSampler: this.repository.requestLogs,
        clock: this.#clock,
      }),
      ...modelService(this.repository, {
        management: options.management,
        readCounter: (internalName) => this.#figures.counter(internalName),
      }),
      ...catalogService(this.repository),
      ...inferenceService(
        {
          repository: this.repository,
          repositoryCalls: this.#repositoryCalls,
          readStatistics: () => this.#figures.statistics(),
          servingSwitch: this.#servingSwitch,
          clock: this.#clock,
          logger: this.logger,
          version: this.#context.version ?? "",
          onStreamedInference: (record, code, durationMs) => this.metrics.observeCall(record, code, durationMs),
        },
        { alwaysRaw: options.open_inference_always_raw },
      ),
      ...trainingService(this.#trainingCalls(), this.#clock),
    ];
    const services = () => new Set(methods.map(({ path }) => path.split("/")[1]!));
    if (options.enable_grpc_healthcheck_service) {
      methods.push(...healthService(this.repository, this.#servingSwitch, services()));
    }
    if (options.enable_reflection) {
      methods.push(...reflectionService(Buffer.from(descriptorSetBase64, "base64"), services()));
    }
    const table: ServiceTable = new Map(methods.map((method) => [method.path, method]));
    const { logger } = this;
    const clock = this.#clock;
    const interceptors = standardInterceptors(clock, this.#observer);
    const dispatcher = createDispatcher(table, { interceptors, logger, clock });
    const createTransport = options.grpc_transport === "http2" ? createHttp2Transport : createGrpcJsTransport;
    return createTransport(
      table,
      validateGrpcTransportOptions({
        maxReceiveMessageBytes: options.max_receive_message_bytes,
        channelArguments: parseChannelArguments(options.grpc_channel_arguments),
        tls: this.#sslConfig?.tls,
      }),
      { dispatcher, logger, clock },
    );
  }

  async #makeRest(): Promise<RestServer> {
    const options = this.#options;
    const { monitoring_config_file: monitoringConfig } = options;
    return createRestServer(
      {
        repository: this.repository,
        servingSwitch: this.#servingSwitch,
        observer: this.#observer,
        metricsPage: () => this.#figures.page(),
        logger: this.logger,
        clock: this.#clock,
        requestSampler: this.repository.requestLogs,
        training: this.#trainingCalls(),
        openInference: {
          repositoryCalls: this.#repositoryCalls,
          readStatistics: () => this.#figures.statistics(),
          version: this.#context.version ?? "",
        },
      },
      {
        timeoutMs: options.rest_api_timeout_in_ms,
        enableCors: options.rest_api_enable_cors_support,
        bodyLimitBytes: options.max_receive_message_bytes,
        enableSignatureMethodNameCheck: options.enable_signature_method_name_check,
        metricsPath: monitoringConfig === "" ? undefined : await readMetricsPath(monitoringConfig),
        tls: this.#sslConfig?.tls,
      },
    );
  }

  /** Hears of every call on any door. */
  readonly #observer: CallObserver = (record, code, durationMs) => {
    this.metrics.observeCall(record, code, durationMs);
    if (this.#options.access_log) this.logger.accessLog.write(record, code, durationMs);
  };

  #delay(delayMs: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, delayMs));
  }
}

/** "k=v,k=v"; whole numbers are passed as such. */
function parseChannelArguments(text: string): Map<string, string | number> {
  const parsed = new Map<string, string | number>();
  for (const pair of text.split(",")) {
    if (pair.trim() === "") continue;
    const equals = pair.indexOf("=");
    if (equals < 1) throw invalidArgument(`flag --grpc_channel_arguments takes k=v,k=v; got "${pair}"`);
    const value = pair.slice(equals + 1).trim();
    parsed.set(pair.slice(0, equals).trim(), /^-?\d+$/.test(value) ? Number(value) : value);
  }
  return parsed;
}
