// The process in charge of several that serve: it listens, decides on versions, and answers for the server as a whole;
// it runs no model and reads no request. The others have the doors and the sessions.
import type { ChildProcess } from "node:child_process";
import type { Server as NetServer, Socket } from "node:net";
import { type Listener, listenTcp, listenUnix } from "./api/grpc/transport/listener.js";
import { welcome } from "./api/welcome.js";
import { CancellationSource } from "./cancellation.js";
import { type Clock, systemClock, type Timer } from "./clock.js";
import type { Options } from "./config.js";
import { ModelKeeper } from "./model-keeper.js";
import { type Answers, type Arrival, ConnectionDispatcher, SupervisedProcess } from "./processes/index.js";
import { availableCpus, createModelRuntime } from "./runtime/index.js";
import type { Door, StartContext } from "./server.js";
import { type BatchingParametersFile, ReplicaSet } from "./serving/index.js";
import { ServingProcessLink } from "./serving-process-link.js";
import type { ChargeOffer } from "./serving-process-offers.js";
import { deadlineExceeded, failedPrecondition, unavailable } from "./status.js";
import { createLogger, Metrics, type MetricsSnapshot, type RootLogger, type SessionLoad } from "./telemetry/index.js";
import { TrainingAnswers } from "./training-between-processes.js";

/** How often serving processes are asked what they have counted, so that little of it ends with one that is killed. */
const figuresEveryMs = 1000;
/** A process that does not answer within this is shown as it was when it last did. */
const figuresPatienceMs = 2000;
/** Rounds of asking without an answer, three seconds each, after which a process is taken for stuck and ended. */
const mostSilentRounds = 10;
/** How long connections that were accepted may take to their serving processes at the end. */
const givingOutPatienceMs = 1000;
/** How much longer than calls may take a serving process may take to end. */
const endingPatienceMs = 15_000;

/** As many processes as were asked for, or as fit the CPUs. */
export function servingProcesses({ serving_processes: asked }: Options): number {
  return asked > 0 ? asked : Math.max(1, Math.floor(availableCpus() / 2));
}

export class Supervisor {
  readonly logger: RootLogger;
  readonly metrics: Metrics;
  readonly #options: Options;
  readonly #context: StartContext;
  readonly #clock: Clock;
  readonly #keeper: ModelKeeper;
  readonly #replicas: ReplicaSet;
  readonly #dispatcher = new ConnectionDispatcher<Door>();
  readonly #processes: SupervisedProcess[];
  readonly #links = new Set<ServingProcessLink>();
  /** What each has asked of training. */
  readonly #training = new Map<ServingProcessLink, TrainingAnswers>();
  readonly #listening = new Set<NetServer>();
  readonly #stopped = new CancellationSource();
  #ports: { grpcPort: number | undefined; restPort: number | undefined } = { grpcPort: undefined, restPort: undefined };
  #figuresTimer: Timer | undefined;
  #started = false;
  #closing: Promise<void> | undefined;
  #cutOff = false;

  constructor(options: Options, context: StartContext, batching: BatchingParametersFile | undefined) {
    this.#options = options;
    this.#context = context;
    this.#clock = context.clock ?? systemClock;
    const clock = this.#clock;
    this.logger = createLogger({ level: options.log_level, format: options.log_format, clock });
    const { logger } = this;
    this.metrics = new Metrics({ build: this.#build, clock });
    this.#replicas = new ReplicaSet(logger);
    const runtime = createModelRuntime({}, { logger, clock });
    const deps = { runtime, metrics: this.metrics, logger, clock, batching, replicas: this.#replicas };
    this.#keeper = new ModelKeeper(options, deps);
    this.#keeper.repository.onStateChange((name, { version, state }) =>
      this.metrics.setVersionState(name, version, state),
    );
    this.metrics.readDroppedLines(() => logger.droppedLines());
    this.#processes = Array.from({ length: servingProcesses(options) }, (_, index) => {
      const name = `serving process ${index + 1}`;
      return new SupervisedProcess({
        name,
        module: new URL("./serving-process.js", import.meta.url).href,
        clock,
        logger,
        prepare: (child) => this.#prepare(name, child),
      });
    });
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
    for (const note of this.#context.notes ?? []) this.logger.warn(note);
    await this.#keeper.open();
    await Promise.all(this.#processes.map((each) => each.start()));
    await this.#keeper.start(this.#stopped);
    if (this.#closing !== undefined) return;
    await this.#listen();
    if (this.#closing !== undefined) for (const server of this.#listening) server.close();
    this.#started = true;
    this.#keeper.follow();
    this.#keepFigures();
  }

  /**
   * Says NOT_SERVING, goes on serving for drain_delay_ms, lets calls in flight finish for shutdown_timeout_ms, and
   * resolves when every serving process has ended. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { drain_delay_ms: drainDelayMs, shutdown_timeout_ms: shutdownTimeoutMs } = this.#options;
    this.#stopped.cancel(unavailable("the server is closing"));
    this.#figuresTimer?.cancel();
    for (const link of this.#links) link.drain();
    if (this.#started && drainDelayMs > 0) await this.#delay(drainDelayMs);
    for (const each of this.#processes) each.stopRestarting();
    for (const server of this.#listening) server.close();
    await Promise.race([this.#dispatcher.close(), this.#delay(givingOutPatienceMs)]);
    for (const link of this.#links) link.close();
    // Those who watch jobs learn that the server closes, and do not hold it up.
    const stopped = this.#keeper.stopFollowing();
    const patience = this.#clock.setTimer(shutdownTimeoutMs + endingPatienceMs, () => this.#kill());
    const ends = await Promise.all(this.#processes.map(({ exited }) => exited));
    patience.cancel();
    this.#cutOff = ends.some(({ signal }) => signal === "SIGKILL");
    await stopped;
    const unheard = new CancellationSource();
    const timer = this.#clock.setTimer(endingPatienceMs, () => unheard.cancel(deadlineExceeded("loads do not end")));
    await this.#keeper.repository.close(unheard).catch(() => {});
    timer.cancel();
    this.logger.info("closed");
    await this.logger.flush();
  }

  /** Whether a run had to be cut off at the end. */
  get busy(): boolean {
    return this.#cutOff;
  }

  /** Ends the serving processes at once, whatever they do. */
  abandon(): void {
    this.#kill();
  }

  /** What a person reads at start: what is served where, and lines to paste. */
  welcome(): string[] {
    return welcome(this.#keeper.repository.listModels(), this.#ports);
  }

  #kill(): void {
    for (const each of this.#processes) {
      each.stopRestarting();
      each.kill();
    }
  }

  #delay(delayMs: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, delayMs));
  }

  get #build() {
    return { version: this.#context.version ?? "", node: process.version };
  }

  /** Brings a new process to where it can serve, with all versions that the others have, and gives it connections. */
  async #prepare(name: string, child: ChildProcess): Promise<void> {
    const { logger } = this;
    const link = new ServingProcessLink(name, child, (self) => this.#answers(self), {
      logger,
      onEnd: (ended) => this.#forget(ended),
    });
    this.#links.add(link);
    const processes = this.#processes.length;
    await link.open({
      // It is told when to drain.
      options: { ...this.#options, drain_delay_ms: 0 },
      version: this.#context.version ?? "",
      processes,
      cpus: Math.max(1, Math.floor(availableCpus() / processes)),
    });
    await this.#replicas.join(link);
    if (!this.#links.has(link)) throw unavailable(`${name} has ended`);
    this.#dispatcher.add(link);
    logger.info(`${name} is ready`, { pid: child.pid });
  }

  #forget(link: ServingProcessLink): void {
    void this.#training.get(link)?.close();
    this.#training.delete(link);
    this.#links.delete(link);
    this.#dispatcher.remove(link);
    this.#replicas.leave(link);
    // What it has counted stays counted.
    if (link.lastFigures !== undefined) this.metrics.absorb(link.lastFigures);
  }

  #answers(link: ServingProcessLink): Answers<ChargeOffer> {
    const { repository } = this.#keeper;
    const control = () => {
      const { control: found } = this.#keeper;
      if (found === undefined) throw failedPrecondition("models are not loaded by name");
      return found;
    };
    /** Answered when the outcome shows at every door. */
    const everywhere =
      <Body>(change: (body: Body, arrival: Arrival) => Promise<void>) =>
      async (body: Body, arrival: Arrival) => {
        try {
          await change(body, arrival);
        } finally {
          await this.#replicas.caughtUp();
        }
      };
    const training = new TrainingAnswers(this.#keeper.training);
    this.#training.set(link, training);
    return {
      ...training.answers(),
      connections: ({ taken, ended }) => {
        if (taken > 0) this.#dispatcher.taken(link);
        this.#dispatcher.ended(link, ended);
      },
      reloadConfig: everywhere((config, { cancellation }) => repository.reloadConfig(config, cancellation)),
      availableModels: () => control().available(),
      loadModel: everywhere(({ name, config }, { cancellation }) => control().load(name, config, cancellation)),
      unloadModel: everywhere((name) => control().unload(name)),
      metricsPage: async () => (await this.#wholeServer(true)).text(),
      statistics: async () => [...(await this.#wholeServer(false)).inferenceStatistics],
      counter: async (internalName) => (await this.#wholeServer(false)).readCounter(internalName),
    };
  }

  async #listen(): Promise<void> {
    const { bind_address: host, port, rest_api_port: restPort, grpc_socket_path: socketPath } = this.#options;
    const { logger } = this;
    const any = this.#context.anyPort === true;
    const listener = (door: Door): Listener => ({
      onConnection: (socket: Socket) => this.#dispatcher.accept(socket, door),
      logger,
      paused: true,
    });
    if (port !== 0) {
      const { server, port: bound } = await listenTcp(
        host,
        any ? 0 : port,
        listener({ kind: "grpc", origin: { kind: "tcp" } }),
      );
      this.#listening.add(server);
      this.#ports.grpcPort = bound;
      logger.info(`Running gRPC ModelServer at ${host}:${bound} ...`, { processes: this.#processes.length });
    }
    if (socketPath !== "") {
      const origin = { kind: "unix", path: socketPath } as const;
      this.#listening.add(await listenUnix(socketPath, listener({ kind: "grpc", origin })));
      logger.info(`Running gRPC ModelServer at UNIX socket ${socketPath} ...`);
    }
    if (restPort !== 0) {
      const { server, port: bound } = await listenTcp(host, any ? 0 : restPort, listener({ kind: "rest" }));
      this.#listening.add(server);
      this.#ports.restPort = bound;
      logger.info(`Exporting HTTP/REST API at:localhost:${bound} ...`);
    }
  }

  #keepFigures(): void {
    this.#figuresTimer = this.#clock.setTimer(figuresEveryMs, () => {
      void this.#ask(false).finally(() => {
        if (this.#closing !== undefined) return;
        this.#dispatcher.passOverStuck();
        this.#endStuck();
        this.#keepFigures();
      });
    });
  }

  /** One whose event loop stands still answers nobody, and no version can come while it is waited for. */
  #endStuck(): void {
    for (const link of this.#links) {
      if (link.countSilence() < mostSilentRounds) continue;
      this.logger.error(`${link.name} is stuck; it is ended, and another is started in its place`);
      link.kill();
    }
  }

  /** Resolves when every serving process has said what it has counted, or has had time to. */
  async #ask(withLag: boolean): Promise<void> {
    const asked = Promise.all([...this.#links].map((link) => link.figures(withLag).catch(() => {})));
    let timer: Timer | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = this.#clock.setTimer(figuresPatienceMs, resolve);
    });
    await Promise.race([asked, patience]);
    timer?.cancel();
  }

  /** The metrics of all processes as if they were one. */
  async #wholeServer(withLag: boolean): Promise<Metrics> {
    await this.#ask(withLag);
    // In one turn: what a process that has ended had counted is either here or there.
    const own = this.metrics.snapshot(false);
    const links = [...this.#links].flatMap((link) => (link.lastFigures ? [[link, link.lastFigures] as const] : []));
    const figures = links.map(([, each]) => each);
    const whole = new Metrics({
      build: this.#build,
      clock: this.#clock,
      processes: () => [
        { process: "in charge", residentBytes: own.residentBytes, connections: undefined },
        ...links.map(([link, { residentBytes }]) => ({
          process: link.name,
          residentBytes,
          connections: this.#dispatcher.open(link),
        })),
      ],
    });
    whole.takeGauges(own);
    for (const each of [own, ...figures]) whole.absorb(each);
    whole.readSessionLoads(() => sumLoads(figures));
    whole.readDroppedLines(() => [own, ...figures].reduce((sum, each) => sum + each.droppedLines, 0));
    whole.readEventLoopLag(() => worstLag(figures));
    return whole;
  }
}

function sumLoads(figures: readonly MetricsSnapshot[]): Iterable<SessionLoad> {
  const sums = new Map<string, SessionLoad>();
  for (const load of figures.flatMap(({ sessionLoads }) => sessionLoads)) {
    const key = `${load.model}/${load.version}`;
    const sum = sums.get(key);
    sums.set(key, {
      ...load,
      queued: load.queued + (sum?.queued ?? 0),
      running: load.running + (sum?.running ?? 0),
      sessions: load.sessions + (sum?.sessions ?? 0),
      memoryBytes: load.memoryBytes + (sum?.memoryBytes ?? 0),
    });
  }
  return sums.values();
}

function worstLag(figures: readonly MetricsSnapshot[]) {
  const worst = (pick: (lag: NonNullable<MetricsSnapshot["eventLoopLag"]>) => number) =>
    Math.max(0, ...figures.flatMap(({ eventLoopLag }) => (eventLoopLag ? [pick(eventLoopLag)] : [])));
  return { p50Ms: worst((lag) => lag.p50Ms), p99Ms: worst((lag) => lag.p99Ms), maxMs: worst((lag) => lag.maxMs) };
}
