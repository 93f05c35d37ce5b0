import { readdirSync, readFileSync } from "node:fs";

/** Children of a process that train, by their process ids. Needs Linux's /proc. */
export function trainingProcesses(parent: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const parentOf = Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")[1]);
        return parentOf === parent && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("training-process-main");
      } catch {
        return false; // gone meanwhile
      }
    });
}
