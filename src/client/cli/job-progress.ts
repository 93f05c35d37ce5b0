// A job's events as they come, for people and for programs.
import type { JsonObject } from "@bufbuild/protobuf";
import { type Epoch, Job, JobEvent, type Plan, type Step, TrainingSpec } from "../../gen/onnxd/v1/training.js";
import { type Code, codeName, type StatusError } from "../../status.js";
import { toProtoJson } from "../training/proto-json.js";
import {
  hasEnded,
  messageOfEvent,
  messageOfJob,
  type TrainingEvent,
  type TrainingJob,
} from "../training/training-messages.js";
import type { CommandIo } from "./command-line.js";
import { formatMainMetrics } from "./format-evaluation.js";
import { ceilDivide, formatOutcome, planLines } from "./format-job.js";
import { formatCount, formatDuration, formatFixed, formatNumber } from "./format-numbers.js";
import { drawCurves } from "./loss-curve.js";
import { formatBar, ProgressLine } from "./progress-line.js";

/** Prints a job's story: a line an epoch, a bar between them where there is a terminal, and what came of it. */
export class JobProgress {
  readonly #io: CommandIo;
  readonly #program: string;
  readonly #line: ProgressLine;
  readonly #losses: (number | undefined)[] = [];
  readonly #validationLosses: (number | undefined)[] = [];
  #plan: Plan | undefined;
  #begun = false;
  #resumptions = 0;
  /** Where the speed is measured from: the first step heard of in this run. */
  #first: { readonly step: bigint; readonly time: number } | undefined;

  /** @param program what users write to run the command line */
  constructor(io: CommandIo, program: string) {
    this.#io = io;
    this.#program = program;
    this.#line = new ProgressLine(io);
  }

  show(event: TrainingEvent): void {
    switch (event.kind) {
      case "state":
        this.#state(event.job);
        break;
      case "planned":
        this.#plan = event.plan;
        for (const line of planLines(event.plan)) this.#line.print(line);
        break;
      case "step":
        this.#step(event.step, event.time ?? new Date());
        break;
      case "epoch":
        this.#epoch(event.epoch);
        break;
      case "notice":
        this.#line.print(`note: ${event.notice}`);
        break;
      case "checkpoint":
        break;
    }
  }

  /** The server has gone away, and is asked again. */
  lost({ code }: StatusError): void {
    this.#line.show(`the server does not answer (${codeName(code)}); trying again`);
  }

  /** Takes away what does not last. */
  clear(): void {
    this.#line.clear();
  }

  #state(job: TrainingJob): void {
    if (!this.#begun) {
      this.#begun = true;
      this.#line.print(`Job ${job.id} trains "${job.spec?.model}"`);
    }
    if (job.resumptions > this.#resumptions) {
      this.#resumptions = job.resumptions;
      this.#first = undefined;
      this.#line.print("The server had stopped; the job goes on from its last checkpoint");
    }
    if (job.state === "PENDING") {
      const before = job.queuePosition === 0 ? "" : `: ${formatCount(job.queuePosition, "job")} before it`;
      this.#line.show(`waiting${before}`);
    }
    if (job.state === "RUNNING") this.#line.show("preparing the data");
    if (job.state === "EVALUATING") this.#line.show("evaluating the candidate");
    if (job.state === "PUBLISHING") this.#line.show("publishing");
    if (!hasEnded(job)) return;
    this.#line.clear();
    const curves = [
      { mark: "*", name: "loss", values: this.#losses },
      { mark: "o", name: "val_loss", values: this.#validationLosses },
    ];
    const drawn = drawCurves(
      curves.filter(({ values }) => values.some((value) => value !== undefined)),
      { width: Math.min(72, (this.#io.columns ?? 80) - 14) },
    );
    if (drawn !== "") this.#io.out(`\n${drawn}`);
    this.#io.out(formatOutcome(job, this.#program, this.#io.columns));
    const took = job.started && job.ended ? ` in ${formatDuration(job.ended.getTime() - job.started.getTime())}` : "";
    if (job.state === "SUCCEEDED") this.#io.out(`Succeeded${took}\n`);
    else this.#io.error(`${codeName(job.errorCode as Code)}: ${job.errorMessage}\n`);
  }

  #step({ step, epoch, loss }: Step, time: Date): void {
    this.#first ??= { step, time: time.getTime() };
    const total = this.#plan?.totalSteps ?? 0n;
    const parts = [this.#epochTitle(epoch)];
    if (total > 0n) parts.push(formatBar(Number(step) / Number(total)));
    parts.push(`loss ${formatFixed(loss)}`);
    const [steps, ms] = [Number(step - this.#first.step), time.getTime() - this.#first.time];
    if (steps > 0 && ms > 0) {
      parts.push(`${formatNumber((1000 * steps) / ms, 3)} steps/s`);
      if (total > step) parts.push(`${formatDuration((ms / steps) * Number(total - step))} left`);
    }
    this.#line.show(parts.join("  "));
  }

  #epoch({ epoch, loss, validation }: Epoch): void {
    this.#losses[epoch - 1] = loss;
    this.#validationLosses[epoch - 1] = validation?.metrics.get("loss");
    const metrics = validation === undefined ? "" : `  ${formatMainMetrics(validation)}`;
    this.#line.print(`${this.#epochTitle(epoch)}  loss ${formatFixed(loss)}${metrics}`);
  }

  #epochTitle(epoch: number): string {
    const { totalSteps = 0n, stepsPerEpoch = 0n } = this.#plan ?? {};
    const all = stepsPerEpoch > 0n ? String(ceilDivide(totalSteps, stepsPerEpoch)) : "";
    return `epoch ${String(epoch).padStart(all.length)}${all === "" ? "" : `/${all}`}`;
  }
}

/** A job in the form that the server's REST API gives it, on one line. */
export function jobJson(job: TrainingJob): string {
  return `${JSON.stringify(jobObject(job))}\n`;
}

export function eventJson(event: TrainingEvent): string {
  const json = toProtoJson("onnxd.v1.JobEvent", JobEvent, messageOfEvent(event)) as JsonObject;
  if (event.kind === "state") json["state"] = jobObject(event.job);
  return `${JSON.stringify(json)}\n`;
}

/** The spec as it was given: it has many fields, and few of them say something. */
function jobObject(job: TrainingJob): JsonObject {
  const { spec } = job;
  const json = toProtoJson("onnxd.v1.Job", Job, messageOfJob(job)) as JsonObject;
  if (spec !== undefined) {
    json["spec"] = toProtoJson("onnxd.v1.TrainingSpec", TrainingSpec, spec, { zeros: false });
  }
  return json;
}
