// Jobs and their events, as the client hands them out.
import {
  type Epoch,
  type Job,
  Job_State,
  type JobEvent,
  type Plan,
  type Step,
  TrainingSpec,
} from "../../gen/onnxd/v1/training.js";
import { type Code, internal, StatusError } from "../../status.js";
import { fromProtoJson, type ProtoJson } from "./proto-json.js";

/** onnxd.v1.TrainingSpec in its JSON form; proto/onnxd/v1/training.proto says what each field means. */
export type TrainingSpecJson = ProtoJson<TrainingSpec>;

/** onnxd.v1.Job, its state by name. */
export type TrainingJob = Omit<Job, "state"> & { readonly state: JobStateName };
export type JobStateName = Exclude<keyof typeof Job_State, "STATE_UNSPECIFIED">;

/** onnxd.v1.JobEvent; `kind` says which one it is, and the member of its name holds what it says. */
export type TrainingEvent = {
  readonly jobId: string;
  /** From 1, without gaps; 0 in a dry run. */
  readonly sequence: bigint;
  readonly time: Date | undefined;
} & (
  | { readonly kind: "state"; readonly job: TrainingJob }
  | { readonly kind: "planned"; readonly plan: Plan }
  | { readonly kind: "step"; readonly step: Step }
  | { readonly kind: "epoch"; readonly epoch: Epoch }
  /** The step that was kept. */
  | { readonly kind: "checkpoint"; readonly step: bigint }
  | { readonly kind: "notice"; readonly notice: string }
);

export function specOf(spec: TrainingSpecJson): TrainingSpec {
  return fromProtoJson("spec", "onnxd.v1.TrainingSpec", TrainingSpec, spec);
}

const stateNames = new Map(Object.entries(Job_State).map(([name, number]) => [number, name as JobStateName]));

export function isJobState(name: string): name is JobStateName {
  return name !== "STATE_UNSPECIFIED" && Object.hasOwn(Job_State, name);
}

export function jobOf(job: Job): TrainingJob {
  const state = stateNames.get(job.state);
  if (state === undefined) throw internal(`the server's job ${job.id} is in a state unknown here: ${job.state}`);
  return { ...job, state };
}

/** undefined for an event of a kind that this client does not know. */
export function eventOf({ job: jobId, sequence, time, event }: JobEvent): TrainingEvent | undefined {
  const head = { jobId, sequence, time };
  switch (event?.$case) {
    case "state":
      return { ...head, kind: "state", job: jobOf(event.value) };
    case "planned":
      return { ...head, kind: "planned", plan: event.value };
    case "step":
      return { ...head, kind: "step", step: event.value };
    case "epoch":
      return { ...head, kind: "epoch", epoch: event.value };
    case "checkpoint":
      return { ...head, kind: "checkpoint", step: event.value.step };
    case "notice":
      return { ...head, kind: "notice", notice: event.value };
    default:
      return undefined;
  }
}

/** The way back, for those who write messages in another form. */
export function messageOfJob(job: TrainingJob): Job {
  return { ...job, state: Job_State[job.state] };
}

export function messageOfEvent(event: TrainingEvent): JobEvent {
  const { jobId: job, sequence, time } = event;
  return { job, sequence, time, event: sayingOf(event) };
}

function sayingOf(event: TrainingEvent): JobEvent["event"] {
  switch (event.kind) {
    case "state":
      return { $case: "state", value: messageOfJob(event.job) };
    case "planned":
      return { $case: "planned", value: event.plan };
    case "step":
      return { $case: "step", value: event.step };
    case "epoch":
      return { $case: "epoch", value: event.epoch };
    case "checkpoint":
      return { $case: "checkpoint", value: { step: event.step } };
    case "notice":
      return { $case: "notice", value: event.notice };
  }
}

export function hasEnded({ state }: TrainingJob): boolean {
  return state === "SUCCEEDED" || state === "FAILED" || state === "CANCELLED";
}

/** @throws StatusError with the job's own code and words when it FAILED or was CANCELLED */
export function requireSuccess(job: TrainingJob): TrainingJob {
  if (job.state === "FAILED" || job.state === "CANCELLED") {
    throw new StatusError(job.errorCode as Code, job.errorMessage);
  }
  return job;
}
