#!/usr/bin/env node
// Arguments and environment → options → a server, or a call to one; signals → its end. Nothing else.
import { readFileSync } from "node:fs";
import { isClientCommand, runClientCommand } from "./client/cli.js";
import { helpText, type Options, parseCommandLine } from "./config.js";
import { type Server, startServer } from "./server.js";
import { errorMessage } from "./status.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

/** As TensorFlow Serving exits when it cannot start. */
const cannotStart = 255;

const argv = process.argv.slice(2);
if (isClientCommand(argv[0])) process.exitCode = await runClientCommand(argv, process.env);
else await run();

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
  // Listened to from the start: a signal that comes while models load is obeyed as soon as there is something to close.
  let server: Server | undefined;
  let closing = false;
  const close = async () => {
    await server?.close();
    exit(0);
  };
  /** A run that goes on would make process.exit() abort, with a core dump and a misleading message. */
  const exit = (code: number) => {
    if (server?.busy === true) process.kill(process.pid, "SIGKILL");
    else process.exit(code);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (closing || server === undefined) return exit(signal === "SIGTERM" ? 143 : 130);
      closing = true;
      server.logger.info(`${signal}: draining; a second signal ends at once`);
      void close();
    });
  }
  server = await startServer(options, { version, notes: ignored });
  for (const line of server.welcome()) console.error(line);
}
