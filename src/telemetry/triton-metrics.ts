import { failureReasons, type InferenceStatistics, type VersionStatistics } from "./inference-statistics.js";
import { ReadFamily } from "./metric-family.js";
import type { SessionLoad } from "./metrics.js";

/** Triton's names and units, read from the statistics when the page is. */
export function tritonFamilies(
  statistics: InferenceStatistics,
  sessionLoads: () => readonly SessionLoad[],
): readonly ReadFamily[] {
  const labels = ["model", "version"];
  const perVersion = (name: string, help: string, value: (version: VersionStatistics) => number) =>
    new ReadFamily("counter", { name: `nv_inference_${name}`, help, labels }, () =>
      Array.from(statistics, (version) => [labelsOf(version), value(version)] as const),
    );
  return [
    perVersion("request_success", "Inferences that were answered.", ({ success }) => success.count),
    new ReadFamily(
      "counter",
      {
        name: "nv_inference_request_failure",
        help: "Inferences that failed, by Triton's reasons.",
        labels: [...labels, "reason"],
      },
      () =>
        [...statistics].flatMap((version) =>
          failureReasons.map((reason) => [[...labelsOf(version), reason], version.failures[reason]] as const),
        ),
    ),
    perVersion("count", "Rows that were answered.", ({ rows }) => rows),
    perVersion("exec_count", "Runs of the model.", ({ runs }) => Math.round(runs)),
    perVersion("request_duration_us", "From an inference's arrival to its answer, in all.", ({ success, fail }) =>
      micros(success.ms + fail.ms),
    ),
    perVersion("queue_duration_us", "Waiting for a session, in all.", ({ queue }) => micros(queue.ms)),
    perVersion("compute_input_duration_us", "Reading and checking requests, in all.", ({ computeInput }) =>
      micros(computeInput.ms),
    ),
    perVersion("compute_infer_duration_us", "Runs that answered inferences, in all.", ({ computeInfer }) =>
      micros(computeInfer.ms),
    ),
    perVersion("compute_output_duration_us", "Making answers of outputs, in all.", ({ computeOutput }) =>
      micros(computeOutput.ms),
    ),
    new ReadFamily(
      "gauge",
      { name: "nv_inference_pending_request_count", help: "Inferences that wait for a session.", labels },
      () => sessionLoads().map((load) => [[load.model, load.version.toString()], load.queued] as const),
    ),
  ];
}

function labelsOf({ model, version }: VersionStatistics): readonly string[] {
  return [model, version.toString()];
}

function micros(ms: number): number {
  return Math.round(ms * 1000);
}
