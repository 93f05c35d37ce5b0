// Arguments and environment → options → a server, or a call to one; signals → its end. Nothing else.
import { readFileSync } from "node:fs";
import { isClientCommand, runClientCommand } from "./client/cli.js";
import { helpText, type Options, parseCommandLine } from "./config.js";
import { readBatching } from "./model-keeper.js";
import { Server } from "./server.js";
import { errorMessage } from "./status.js";
import { Supervisor, servingProcesses } from "./supervisor.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

/** As TensorFlow Serving exits when it cannot start. */
const cannotStart = 255;

const argv = process.argv.slice(2);
if (isClientCommand(argv[0])) {
  // Whoever reads has gone, as head does: as other programs end by SIGPIPE.
  process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => process.exit(code === "EPIPE" ? 141 : 1));
  process.exitCode = await runClientCommand(argv, process.env);
} else await run();

async function run(): Promise<void> {
  try {
    const { command, options, ignored } = parseCommandLine(argv, process.env);
    if (command === "help") console.log(helpText());
    else if (command === "version") console.log(`onnxd ${version} (Node ${process.version})`);
    else await serve(options, ignored);
  } catch (error) {
    console.error(`Failed to start server. Error: ${errorMessage(error)}`);
    process.exit(cannotStart);
  }
}

async function serve(options: Options, ignored: readonly string[]): Promise<void> {
  const Serving = servingProcesses(options) === 1 ? Server : Supervisor;
  const server = new Serving(options, { version, notes: ignored }, await readBatching(options));
  let closing = false;
  /** A run that goes on would make process.exit() abort, with a core dump and a misleading message. */
  const exit = (code: number) => {
    if (server.busy) process.kill(process.pid, "SIGKILL");
    else process.exit(code);
  };
  // Listened to from the start: a server that is asked to end while its models load has not failed.
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (closing) {
        server.abandon();
        return exit(signal === "SIGTERM" ? 143 : 130);
      }
      closing = true;
      server.logger.info(`${signal}: draining; a second signal ends at once`);
      void server.close().then(() => exit(0));
    });
  }
  await server.start();
  if (!closing) for (const line of server.welcome()) console.error(line);
}
