import { parseCommandLine } from "../../src/config.js";
import { type Server, startServer } from "../../src/server.js";
import { repositoryRoot } from "./repository-root.js";

export interface TestServer extends AsyncDisposable {
  readonly server: Server;
  /** For gRPC clients: "127.0.0.1:PORT". */
  readonly target: string;
  /** "http://127.0.0.1:PORT". */
  readonly url: string;
}

/** The real server on ports that the system chooses, serving the bundled models unless the flags say otherwise. */
export async function startTestServer(...flags: string[]): Promise<TestServer> {
  const choosesModels = flags.some((flag) => /^--model_(config_file|base_path|repository)=/.test(flag));
  const models = choosesModels ? [] : [`--model_config_file=${repositoryRoot}/models/models.config`];
  const { options } = parseCommandLine(
    ["--bind_address=127.0.0.1", "--log_level=error", "--shutdown_timeout_ms=5000", ...models, ...flags],
    {},
  );
  const server = await startServer(options, { anyPort: true });
  // The doors open when each model has one version to answer with; the tests want all of the bundled ones.
  if (!choosesModels) await allLoaded(server);
  return {
    server,
    target: `127.0.0.1:${server.grpcPort}`,
    url: `http://127.0.0.1:${server.restPort}`,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

async function allLoaded(server: Server): Promise<void> {
  const pending = () =>
    server.repository.listModels().some(({ versions }) => versions.some(({ state }) => state !== "AVAILABLE"));
  while (pending()) await new Promise((resolve) => setTimeout(resolve, 10));
}
