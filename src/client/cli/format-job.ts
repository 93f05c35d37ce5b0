// Jobs as people read them.
import type { Evaluation, Plan } from "../../gen/onnxd/v1/training.js";
import { type Code, codeName } from "../../status.js";
import { hasEnded, type TrainingJob } from "../training/training-messages.js";
import { formatConfusion, formatDrift, formatMetrics } from "./format-evaluation.js";
import { formatBytes, formatCount, formatDuration, formatFixed, formatNumber, formatTime } from "./format-numbers.js";
import { formatTable } from "./format-table.js";

/** What is trained, on what, for how long: a line each. */
export function planLines(plan: Plan): [string, string, string] {
  const { parameterCount, trainRows, validationRows, stepsPerEpoch, totalSteps, batchSize } = plan;
  const bytes = Number(plan.parameterBytes + plan.activationBytes + plan.exampleBytes);
  return [
    `${formatCount(parameterCount, "parameter")}, about ${formatBytes(bytes)} of memory`,
    `${formatCount(trainRows, "row")} to train on, ${validationRows} to validate`,
    `${formatCount(totalSteps, "step")} of ${formatCount(batchSize, "row")}, ${stepsPerEpoch} an epoch`,
  ];
}

/** A dry run's whole answer. */
export function formatDryRun(plan: Plan): string {
  const parameters = plan.parameters.map(({ name, shape }) => [`  ${name}`, `[${shape.join(",")}]`]);
  const perStep = plan.secondsPerStep * 1000;
  return [
    `${planLines(plan).join("\n")}\n`,
    `memory: weights ${formatBytes(Number(plan.parameterBytes))}, activations ${formatBytes(Number(plan.activationBytes))}, rows ${formatBytes(Number(plan.exampleBytes))}\n`,
    ...(perStep > 0
      ? [
          `time: ${formatNumber(perStep, 3)} ms a step, about ${formatDuration(perStep * Number(plan.totalSteps))} in all\n`,
        ]
      : []),
    "\n",
    formatTable([["  PARAMETER", "SHAPE"], ...parameters]),
    ...plan.unused.map((name) => `  ${name} does not reach the loss and stays as it is\n`),
  ].join("");
}

export function formatJobs(jobs: readonly TrainingJob[]): string {
  const rows = jobs.map((job) => [
    job.id,
    job.spec?.model ?? "",
    stateOf(job),
    epochsOf(job),
    job.epoch === undefined ? "" : formatFixed(job.epoch.loss),
    job.publishedVersion === undefined ? (job.candidate ? "candidate" : "") : String(job.publishedVersion),
    formatTime(job.created),
    job.errorMessage.slice(0, 80),
  ]);
  return formatTable([["ID", "MODEL", "STATE", "EPOCH", "LOSS", "VERSION", "CREATED", "ERROR"], ...rows]);
}

function stateOf({ state, queuePosition }: TrainingJob): string {
  return state === "PENDING" && queuePosition > 0 ? `PENDING (${queuePosition} before it)` : state;
}

function epochsOf({ epoch, plan, step }: TrainingJob): string {
  const current = Math.max(epoch?.epoch ?? 0, step?.epoch ?? 0);
  if (current === 0) return "";
  const all =
    plan === undefined || plan.stepsPerEpoch === 0n ? "" : `/${ceilDivide(plan.totalSteps, plan.stepsPerEpoch)}`;
  return `${current}${all}`;
}

export function ceilDivide(a: bigint, b: bigint): bigint {
  return (a + b - 1n) / b;
}

/** One job, with all that is known of it. */
export function formatJob(job: TrainingJob, program: string, columns?: number): string {
  const took = job.started && job.ended ? `  (${formatDuration(job.ended.getTime() - job.started.getTime())})` : "";
  const rows: (readonly [string, string])[] = [
    ["job", job.id],
    ["model", job.spec?.model ?? ""],
    ["state", stateOf(job)],
    ["error", job.errorMessage === "" ? "" : `${codeName(job.errorCode as Code)}: ${job.errorMessage}`],
    ["created", formatTime(job.created)],
    ["started", formatTime(job.started)],
    ["ended", `${formatTime(job.ended)}${took}`],
    ["data", dataOf(job)],
    ["base", job.baseVersion === undefined ? "" : `${job.baseModel}, version ${job.baseVersion}`],
    ["plan", job.plan === undefined ? "" : planLines(job.plan).join("; ")],
    ["epoch", epochsOf(job)],
    ["loss", job.epoch === undefined ? "" : formatFixed(job.epoch.loss)],
    ["training", job.end],
    ["resumed", job.resumptions === 0 ? "" : formatCount(job.resumptions, "time")],
    ["tags", [...(job.spec?.tags ?? [])].map(([key, value]) => `${key}=${value}`).join(" ")],
  ];
  const table = formatTable(rows.filter(([, value]) => value.trim() !== ""));
  return `${table}${job.notices.map((notice) => `note: ${notice}\n`).join("")}${formatDrift(job.drift)}${formatOutcome(job, program, columns)}`;
}

function dataOf({ data }: TrainingJob): string {
  if (data === undefined) return "";
  return `${formatCount(data.rows, "row")}, ${formatBytes(Number(data.bytes))}, SHA-256 ${data.sha256.slice(0, 16)}…`;
}

/** What came of a job: its evaluation, the gate, the version. "" before there is any. */
export function formatOutcome(job: TrainingJob, program: string, columns?: number): string {
  const { evaluation, baseEvaluation } = job;
  const parts: string[] = [];
  if (evaluation !== undefined) {
    const base = baseEvaluation === undefined ? "" : `; before: ${job.baseModel}, version ${job.baseVersion}`;
    parts.push(`\nOn ${formatCount(evaluation.rows, "row")} to validate${base}\n`);
    parts.push(formatMetrics(evaluation, baseEvaluation));
    const confusion = formatConfusion(evaluation, columns);
    if (confusion !== "") parts.push(`\n${confusion}`);
    const gate = hasEnded(job) ? formatGate(job, evaluation) : "";
    if (gate !== "") parts.push(`\n${gate}`);
  }
  if (parts.length > 0 && (job.candidate || job.publishedVersion !== undefined)) parts.push("\n");
  if (job.publishedVersion !== undefined) {
    parts.push(`Published as version ${job.publishedVersion} of "${job.spec?.model}"\n`);
  } else if (job.candidate) {
    parts.push(`A candidate waits: ${program} jobs ${job.id} --publish\n`);
  }
  return parts.join("");
}

/** Each condition with what was measured; what failed otherwise is in the job's error. */
function formatGate(job: TrainingJob, { metrics }: Evaluation): string {
  const conditions = (job.spec?.gate?.conditions ?? []).map(({ metric, min, max }) => {
    const value = metrics.get(metric);
    const met = value !== undefined && (min === undefined || value >= min) && (max === undefined || value <= max);
    const wanted = [min === undefined ? "" : `at least ${min}`, max === undefined ? "" : `at most ${max}`];
    const measured = value === undefined ? "not measured" : formatNumber(value, 6);
    return `${metric} ${measured}, ${wanted.filter(Boolean).join(" and ")}: ${met ? "met" : "not met"}`;
  });
  const { baseEvaluation, baseVersion, publishedVersion } = job;
  if (baseEvaluation !== undefined && publishedVersion !== undefined && job.spec?.gate?.allowWorse !== true) {
    conditions.push(`not worse than version ${baseVersion} of "${job.baseModel}": met`);
  }
  return conditions.map((condition) => `Gate: ${condition}\n`).join("");
}
