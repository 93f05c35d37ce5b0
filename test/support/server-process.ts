import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { repositoryRoot } from "./repository-root.js";

/** onnxd as its own process, from the command line a user types. */
export class ServerProcess implements AsyncDisposable {
  readonly target: string;
  readonly url: string;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  #output = "";

  private constructor(child: ChildProcess, port: number, restPort: number) {
    this.#child = child;
    this.target = `127.0.0.1:${port}`;
    this.url = `http://127.0.0.1:${restPort}`;
    for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (text) => (this.#output += text));
    this.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  }

  /** Resolves once both doors answer. */
  static async start(...flags: string[]): Promise<ServerProcess> {
    const server = await ServerProcess.launch(...flags);
    const ended = server.exited.then(({ code }) => {
      throw new Error(`the server ended with ${code} before it was ready:\n${server.output}`);
    });
    await Promise.race([server.#ready(), ended]);
    ended.catch(() => {});
    return server;
  }

  /** Resolves at once. */
  static async launch(...flags: string[]): Promise<ServerProcess> {
    const [port, restPort] = [await freePort(), await freePort()];
    const child = spawn(
      process.execPath,
      [
        join(repositoryRoot, "dist", "src", "main.js"),
        "serve",
        "--bind_address=127.0.0.1",
        `--port=${port}`,
        `--rest_api_port=${restPort}`,
        ...flags,
      ],
      { cwd: repositoryRoot, stdio: ["ignore", "pipe", "pipe"] },
    );
    return new ServerProcess(child, port, restPort);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** All that was printed so far. */
  get output(): string {
    return this.#output;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.exited;
  }

  async #ready(): Promise<void> {
    while (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ready = await fetch(`${this.url}/readyz`).then(
        (response) => response.ok,
        () => false,
      );
      if (ready) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
