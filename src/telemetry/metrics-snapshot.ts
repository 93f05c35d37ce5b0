// What the processes of one server tell each other of their metrics.
import type { EventLoopLag } from "./event-loop-lag.js";
import type { VersionStatistics } from "./inference-statistics.js";
import { ReadFamily, type SeriesSnapshot } from "./metric-family.js";
import type { SessionLoad } from "./metrics.js";

export interface ProcessFigures {
  readonly process: string;
  readonly residentBytes: number;
  /** Connections it serves; undefined: it serves none. */
  readonly connections: number | undefined;
}

/** What one process has counted, as plain data, for a page of several. */
export interface MetricsSnapshot {
  /** Of each family that holds its series, by name. */
  readonly counted: ReadonlyMap<string, SeriesSnapshot>;
  readonly gauges: ReadonlyMap<string, SeriesSnapshot>;
  readonly statistics: readonly VersionStatistics[];
  readonly sessionLoads: readonly SessionLoad[];
  readonly droppedLines: number;
  readonly eventLoopLag: EventLoopLag | undefined;
  readonly residentBytes: number;
}

export const residentMemoryName = "onnxd_resident_memory_bytes";

/** Gauges of which each process has its own. */
export function perProcess(processes: () => Iterable<ProcessFigures>): ReadFamily[] {
  const gauge = (name: string, help: string, value: (figures: ProcessFigures) => number | undefined) =>
    new ReadFamily("gauge", { name, help, labels: ["process"] }, () =>
      [...processes()].flatMap((figures) => {
        const found = value(figures);
        return found === undefined ? [] : [[[figures.process], found] as const];
      }),
    );
  return [
    gauge(residentMemoryName, "Resident memory of each process.", ({ residentBytes }) => residentBytes),
    gauge("onnxd_connections", "Open connections of each process.", ({ connections }) => connections),
  ];
}
