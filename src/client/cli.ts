// The client on the command line: a word that names a command, and what all commands do alike.
import { Code, codeName, errorMessage, invalidArgument, StatusError } from "../status.js";
import { type Command, type CommandIo, CommandLine, processIo, type Run } from "./cli/command-line.js";
import { evaluateCommand } from "./cli/evaluate-command.js";
import { inferenceCommands } from "./cli/inference-commands.js";
import { jobsCommand } from "./cli/jobs-command.js";
import { trainCommand } from "./cli/train-command.js";
import { formatExactJson } from "./exact-json.js";

const commands: ReadonlyMap<string, Command> = new Map(
  Object.entries({ ...inferenceCommands, train: trainCommand, jobs: jobsCommand, evaluate: evaluateCommand }),
);

export function isClientCommand(word: string | undefined): boolean {
  return word !== undefined && commands.has(word);
}

/**
 * Runs a command. Resolves to the exit code: 0, 1 when the call or the job failed, 2 when the command line is wrong,
 * 130 after Ctrl-C.
 */
export async function runClientCommand(
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
  io: CommandIo = processIo,
): Promise<number> {
  // The commands of inference say what they are when no command is named.
  const command = commands.get(argv[0] ?? "") ?? inferenceCommands.predict;
  let line: CommandLine;
  let run: Run;
  try {
    line = new CommandLine(argv, command.flags, env);
    if (!isClientCommand(line.name)) throw invalidArgument(`unknown command "${line.name}"`);
    if (line.has("help")) {
      io.out(command.help);
      return 0;
    }
    run = command.prepare(line, io);
  } catch (thrown) {
    const [usage] = command.help.split("\n\n");
    io.error(`${errorMessage(thrown)}\n\n${usage}\n\nonnxd ${argv[0]} --help lists the flags.\n`);
    return 2;
  }
  try {
    return await run();
  } catch (thrown) {
    const code = thrown instanceof StatusError ? thrown.code : Code.UNKNOWN;
    const message = errorMessage(thrown);
    if (line.json) io.out(`${formatExactJson({ error: message, code: codeName(code) })}\n`);
    else io.error(`${codeName(code)}: ${message}\n`);
    return 1;
  }
}
