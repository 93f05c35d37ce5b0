// A serving process: the doors and the sessions of a server whose versions another process decides on. That process has
// started this one, hands it connections, and is told of everything that a client wants changed.
import type { ModelControl } from "./api/open-inference/model-control.js";
import {
  type ModelKeeperDeps,
  readBatching,
  repositoryContext,
  repositoryOptions,
  type ServerModels,
  tritonConfigs,
} from "./model-keeper.js";
import { ProcessChannel } from "./processes/index.js";
import { Server, type ServerFigures } from "./server.js";
import { ReplicaRepository } from "./serving/index.js";
import type { ChargeOffer, ServingProcessOffer, ServingProcessStart } from "./serving-process-offers.js";
import { type StatusError, unavailable } from "./status.js";
import { createLogger, InferenceStatistics } from "./telemetry/index.js";
import { RemoteTraining } from "./training-between-processes.js";

let server: Server | undefined;
let replica: ReplicaRepository | undefined;
const connections = { taken: 0, ended: 0 };
let connectionsTold = true;

const channel = new ProcessChannel<ChargeOffer, ServingProcessOffer>(
  process,
  {
    open,
    load: (load, { cancellation }) => opened().load(load, cancellation),
    activate: (key) => opened().activate(key),
    unload: (key) => opened().unload(key),
    hear: (news) => opened().hear(news),
    caughtUp: () => {},
    connect(door, { socket }) {
      countConnections("taken");
      if (socket === undefined) return countConnections("ended");
      socket.once("close", () => countConnections("ended"));
      server!.accept(socket, door);
    },
    figures({ withLag }) {
      if (server === undefined) throw notOpened();
      return server.metrics.snapshot(withLag);
    },
    drain: () => server?.drain(),
    close: () => void end(),
  },
  {
    peerName: "the process in charge",
    logger: createLogger({ level: "info", format: "json" }),
    // Nobody can be served by a process that no connection and no version reaches any more.
    onClosed: () => void end(),
  },
);

// A signal to the whole group is the business of the process in charge, which tells this one to close.
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => {});

async function open({ options, version, processes, cpus }: ServingProcessStart): Promise<void> {
  const follow = (deps: ModelKeeperDeps): ServerModels => {
    const triton = tritonConfigs(options);
    replica = new ReplicaRepository(repositoryOptions(options, triton, deps), {
      ...repositoryContext(deps),
      tritonConfigs: triton,
      processes,
      reloadConfig: (config, cancellation) => channel.call("reloadConfig", config, cancellation),
    });
    return {
      repository: replica,
      training: new RemoteTraining(channel),
      open: async () => {},
      control: options.model_control_mode === "explicit" ? control : undefined,
      start: async () => {},
      follow: () => {},
      pollNow: async () => {},
      stopFollowing: async () => {},
    };
  };
  server = new Server(options, { version, member: { follow, figures, cpus } }, await readBatching(options));
  await server.start();
}

function opened(): ReplicaRepository {
  if (replica === undefined) throw notOpened();
  return replica;
}

function notOpened(): StatusError {
  return unavailable("the serving process has not been opened");
}

const control: ModelControl = {
  available: () => channel.call("availableModels", undefined),
  load: (name, config, cancellation) => channel.call("loadModel", { name, config }, cancellation),
  unload: (name) => channel.call("unloadModel", name),
};

const figures: ServerFigures = {
  page: () => channel.call("metricsPage", undefined),
  async statistics() {
    const statistics = new InferenceStatistics();
    statistics.absorb(await channel.call("statistics", undefined));
    return statistics;
  },
  counter: (internalName) => channel.call("counter", internalName),
};

/** Told once a turn of the event loop, however many come and go. */
function countConnections(what: keyof typeof connections): void {
  connections[what] += 1;
  if (!connectionsTold) return;
  connectionsTold = false;
  setImmediate(() => {
    connectionsTold = true;
    channel.notify("connections", { ...connections });
    connections.taken = 0;
    connections.ended = 0;
  });
}

let ending: Promise<void> | undefined;
function end(): Promise<void> {
  ending ??= (async () => {
    await server?.close();
    // A run that goes on would make process.exit() abort, with a core dump and a misleading message.
    if (server?.busy === true) process.kill(process.pid, "SIGKILL");
    else process.exit(0);
  })();
  return ending;
}
