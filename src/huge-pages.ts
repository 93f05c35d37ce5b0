// Models read all of their weights with every run. In pages of 4 KB that is more than the processor keeps the addresses
// of; with pages of 2 MB, ResNet-50 and an MLP were measured 5 % faster. Linux gives them, mostly, to those who ask, and
// glibc's malloc asks when an environment variable said so as the process started. Hence a second start, at the very
// beginning, in the same process: what started it, and sends it signals, notices nothing.
import { readFileSync } from "node:fs";
import { basename } from "node:path";

/** One arena for all threads: the others grow in small steps, which leaves no room for a huge page. */
export const hugePageVariables = { GLIBC_TUNABLES: "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1" };

/** Says that the second start has been: a Node with capabilities of its own is not shown GLIBC_TUNABLES. */
const restarted = "RESTARTED_BY_ONNXD";

/** The part of `process` that matters here. */
export interface RestartableProcess {
  readonly platform: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Node, this program, and what it was given. */
  readonly argv: readonly string[];
  readonly execPath: string;
  readonly execArgv: readonly string[];
  /** There for a process that was forked, whose channel would not outlive a second start. */
  readonly send?: unknown;
  /** From Node 22.15 on; not on Windows. Does not return, and when it fails, it ends the process. */
  execve?(file: string, args: readonly string[], env: Readonly<Record<string, string | undefined>>): never;
}

/**
 * Starts a server's process anew with huge pages for its memory, unless that has been done, cannot be done, or
 * GLIBC_TUNABLES says something already. Calls of a client are let pass: they are over too soon to gain from it.
 * @param readPolicy whom Linux gives huge pages to
 */
export function restartWithHugePages(process: RestartableProcess, readPolicy: () => string = readHugePagePolicy): void {
  const { platform, env, argv, execPath, execArgv } = process;
  if (platform !== "linux" || process.execve === undefined || process.send !== undefined) return;
  // Where a loader was told to run Node, that is what execPath names.
  if (!basename(execPath).startsWith("node") || !serves(argv[2])) return;
  if (env["GLIBC_TUNABLES"] !== undefined || env[restarted] !== undefined || !isOffered(readPolicy())) return;
  const variables = { ...env, ...hugePageVariables, [restarted]: "1" };
  process.execve(execPath, [execPath, ...execArgv, ...argv.slice(1)], variables);
}

/** The command is "serve", or left out. */
function serves(word: string | undefined): boolean {
  return word === undefined || word === "serve" || (word.startsWith("-") && word !== "--help" && word !== "--version");
}

/** One of three words is in brackets: "always [madvise] never". */
function isOffered(policy: string): boolean {
  return policy.includes("[always]") || policy.includes("[madvise]");
}

function readHugePagePolicy(): string {
  try {
    return readFileSync("/sys/kernel/mm/transparent_hugepage/enabled", "latin1");
  } catch {
    return ""; // a kernel without them
  }
}
