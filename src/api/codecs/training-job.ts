// Jobs, their events and evaluations as messages of onnxd.v1.
import {
  type EvaluateResponse,
  type Evaluation,
  Job_State,
  type JobEvent as JobEventMessage,
  type Job as JobMessage,
  type ListJobsRequest,
  type Plan,
} from "../../gen/onnxd/v1/training.js";
import { Code, invalidArgument } from "../../status.js";
import type {
  EvaluationReport,
  Job,
  JobDrift,
  JobEpoch,
  JobEvaluation,
  JobEvent,
  JobPlace,
  JobPlan,
  JobState,
  JobStep,
} from "../../training/index.js";
import { toTrainingSpecMessage } from "./training-spec.js";

export function toJobMessage(job: Job, { queuePosition, lastEvent }: JobPlace): JobMessage {
  return {
    id: job.id,
    state: Job_State[job.state],
    spec: toTrainingSpecMessage(job.spec),
    created: new Date(job.created),
    started: toDate(job.started),
    ended: toDate(job.ended),
    errorCode: job.error?.code ?? Code.OK,
    errorMessage: job.error?.message ?? "",
    queuePosition,
    plan: job.plan && toPlanMessage(job.plan),
    step: job.step && toStep(job.step),
    epoch: job.epoch && toEpoch(job.epoch),
    evaluation: job.evaluation && toEvaluation(job.evaluation),
    baseEvaluation: job.baseEvaluation && toEvaluation(job.baseEvaluation),
    drift: job.drift.map(toDrift),
    notices: [...job.notices],
    data: { rows: BigInt(job.data.rows), bytes: BigInt(job.data.bytes), sha256: job.data.sha256 },
    baseModel: job.base?.model ?? "",
    baseVersion: job.base && BigInt(job.base.version),
    candidate: job.candidate,
    publishedVersion: job.publishedVersion === undefined ? undefined : BigInt(job.publishedVersion),
    resumptions: job.resumptions,
    idempotencyKey: job.idempotencyKey,
    lastEvent: BigInt(lastEvent),
    end: job.end ?? "",
  };
}

/** The answer to a dry run of StartJob: no job, but what it would be. */
export function toPlannedJobMessage(plan: JobPlan): JobMessage {
  return {
    ...{ id: "", state: Job_State.STATE_UNSPECIFIED, spec: undefined, plan: toPlanMessage(plan) },
    ...{ created: undefined, started: undefined, ended: undefined, errorCode: Code.OK, errorMessage: "" },
    ...{ queuePosition: 0, step: undefined, epoch: undefined, evaluation: undefined, baseEvaluation: undefined },
    ...{ drift: [], notices: [], data: undefined, baseModel: "", candidate: false, resumptions: 0 },
    ...{ idempotencyKey: "", lastEvent: 0n, end: "" },
  };
}

/** @param queuePosition of the job now, when the event is about a job that waits; otherwise 0 */
export function toJobEventMessage(job: string, event: JobEvent, queuePosition: number): JobEventMessage {
  const { sequence, time } = event;
  return { job, sequence: BigInt(sequence), time: new Date(time), event: toEvent(event, queuePosition) };
}

/** The one event of a dry run. */
export function toPlannedEventMessage(plan: JobPlan, time: number): JobEventMessage {
  const event: JobEvent = { kind: "planned", plan, sequence: 1, time };
  return toJobEventMessage("", event, 0);
}

function toEvent(event: JobEvent, queuePosition: number): JobEventMessage["event"] {
  switch (event.kind) {
    case "state": {
      const place = {
        queuePosition,
        lastEvent: event.sequence,
      };
      return { $case: "state", value: toJobMessage(event.job, place) };
    }
    case "planned":
      return { $case: "planned", value: toPlanMessage(event.plan) };
    case "step":
      return { $case: "step", value: toStep(event.step) };
    case "epoch":
      return { $case: "epoch", value: toEpoch(event.epoch) };
    case "checkpoint":
      return { $case: "checkpoint", value: { step: BigInt(event.step) } };
    case "notice":
      return { $case: "notice", value: event.text };
  }
}

export function toEvaluateResponse({ model, version, evaluation, drift }: EvaluationReport): EvaluateResponse {
  return { model, version, evaluation: toEvaluation(evaluation), drift: drift.map(toDrift) };
}

/** Throws INVALID_ARGUMENT for a number that is no state. */
export function fromJobStates(states: ListJobsRequest["states"]): JobState[] {
  return states.map((number) => {
    const name = stateNames.get(number);
    if (name === undefined) throw invalidArgument(`states: ${number} is no state of a job`);
    return name;
  });
}

const stateNames: ReadonlyMap<number, JobState> = new Map(
  Object.entries(Job_State).flatMap(([name, number]) => (number > 0 ? [[number, name as JobState]] : [])),
);

function toPlanMessage(plan: JobPlan): Plan {
  return {
    parameters: plan.parameters.map(({ name, shape }) => ({ name, shape: shape.map(BigInt) })),
    unused: [...plan.unused],
    parameterCount: whole(plan.parameterCount),
    parameterBytes: whole(plan.parameterBytes),
    activationBytes: whole(plan.activationBytes),
    exampleBytes: whole(plan.exampleBytes),
    batchSize: plan.batchSize,
    stepsPerEpoch: whole(plan.stepsPerEpoch),
    totalSteps: whole(plan.totalSteps),
    trainRows: whole(plan.trainRows),
    validationRows: whole(plan.validationRows),
    secondsPerStep: plan.secondsPerStep ?? 0,
  };
}

/** Estimates may have fractions. */
const whole = (value: number): bigint => BigInt(Math.ceil(value));

const toDate = (time: number | undefined): Date | undefined => (time === undefined ? undefined : new Date(time));

const toStep = ({ step, epoch, loss, gradientNorm, learningRate }: JobStep) => ({
  step: BigInt(step),
  ...{ epoch, loss, gradientNorm, learningRate },
});

const toEpoch = ({ epoch, step, loss, learningRate, validation }: JobEpoch) => ({
  step: BigInt(step),
  ...{ epoch, loss, learningRate },
  validation: validation && toEvaluation(validation),
});

function toEvaluation({ metrics, rows, confusion = [], classLabels = [] }: JobEvaluation): Evaluation {
  return {
    metrics: new Map(Object.entries(metrics)),
    rows: BigInt(rows),
    confusion: confusion.map((weights) => ({ weights: [...weights] })),
    classLabels: [...classLabels],
  };
}

const toDrift = ({ column, measures, warnings }: JobDrift) => ({
  column,
  measures: new Map(Object.entries(measures)),
  warnings: [...warnings],
});
