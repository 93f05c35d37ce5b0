// Processes on CPUs of their own, and what they cost.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { findTool } from "../../support/find-tool.js";

// With two CPUs the load generator has one and the server the other, so that neither takes the other's time.
const pinned = findTool("taskset") !== undefined && cpus().length > 1;
const serverCpu = 0;
const loadCpu = 1;

export const howPinned = pinned
  ? "servers and bare loops on CPU 0, the load generator on CPU 1"
  : "nothing pinned to a CPU (needs taskset and two CPUs)";

function on(cpu: number, command: string, args: readonly string[]): [string, string[]] {
  return pinned ? ["taskset", ["-c", String(cpu), command, ...args]] : [command, [...args]];
}

/** A server that runs until it is stopped. */
export class Contestant {
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
  }

  /**
   * Resolves when it has printed something, which all servers here do once they listen.
   * @param variables of its environment, besides those of this process
   */
  static async start(
    port: number,
    command: string,
    args: readonly string[],
    variables: Readonly<Record<string, string>> = {},
  ): Promise<Contestant> {
    const [program, programArgs] = on(serverCpu, command, args);
    const env = { ...process.env, ...variables };
    const child = spawn(program, programArgs, { stdio: ["ignore", "pipe", "pipe"], env });
    const ended = once(child, "exit").then(() => {
      throw new Error(`${command} ${args.join(" ")} ended before it listened`);
    });
    await Promise.race([once(child.stdout!, "data"), once(child.stderr!, "data"), ended]);
    ended.catch(() => {});
    child.stdout!.resume();
    child.stderr!.resume();
    return new Contestant(child, port);
  }

  /** Seconds of CPU that all its threads have used; NaN where there is no /proc. */
  cpuSeconds(): number {
    const fields = this.#proc("stat")
      ?.replace(/^.*\) /s, "")
      .split(" ");
    return fields === undefined ? Number.NaN : (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Resident memory in MiB, now and at most; undefined where there is no /proc. */
  memoryMiB(): { readonly now: number; readonly most: number } | undefined {
    const status = this.#proc("status");
    if (status === undefined) return undefined;
    const kib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]);
    return { now: kib("VmRSS") / 1024, most: kib("VmHWM") / 1024 };
  }

  #proc(file: string): string | undefined {
    try {
      return readFileSync(`/proc/${this.#child.pid}/${file}`, "utf8");
    } catch {
      return undefined;
    }
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Runs a program to its end beside the servers, with the load generator's CPU or theirs, and returns what it prints. */
export function runOn(
  where: "load" | "server",
  command: string,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): string {
  const [program, programArgs] = on(where === "load" ? loadCpu : serverCpu, command, args);
  const env = { ...process.env, ...variables };
  return execFileSync(program, programArgs, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env });
}
