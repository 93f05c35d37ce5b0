// Training as clients of either door ask for it: who may, what is missing, and plain data to and from messages.
import { setImmediate } from "node:timers/promises";
import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import type {
  EvaluateResponse,
  JobEvent as JobEventMessage,
  Job as JobMessage,
  ListJobsRequest,
  ListJobsResponse,
  TrainingSpec,
} from "../../gen/onnxd/v1/training.js";
import { invalidArgument } from "../../status.js";
import type { CallRecord } from "../../telemetry/index.js";
import type {
  DataIntake,
  DataPiece,
  DataSetRole,
  Job,
  JobPlan,
  JobRequest,
  TrainingService,
} from "../../training/index.js";
import { type ManagementPolicy, requireManagement } from "../auth/management.js";
import { givenFields, unlessZero } from "../codecs/given-fields.js";
import { dataPieces, type GivenEvaluation, type GivenStart } from "../codecs/training-data.js";
import {
  fromJobStates,
  toEvaluateResponse,
  toJobEventMessage,
  toJobMessage,
  toPlannedEventMessage,
  toPlannedJobMessage,
} from "../codecs/training-job.js";
import { exactNumber, fromLossMessage, fromModelRefMessage, fromTrainingSpecMessage } from "../codecs/training-spec.js";
import type { Peer } from "../grpc/service-table.js";
import { jobPage } from "./job-page.js";

export interface TrainingCallsDeps {
  readonly service: TrainingService;
  readonly management: ManagementPolicy;
  readonly clock: Clock;
}

/** Who calls, and what is known of the call. */
export interface TrainingCaller {
  readonly peer: Pick<Peer, "local">;
  readonly record: CallRecord;
  readonly cancellation: Cancellation;
}

/** Some rows, and what they are for. */
export interface RolePiece {
  readonly role: DataSetRole;
  readonly piece: DataPiece;
}

/** Pieces, as they come or as they are made. */
type Rows = AsyncIterable<RolePiece> | Iterable<RolePiece>;

/** What a header or a StartJob says besides its data. */
export interface GivenJob {
  readonly spec: TrainingSpec | undefined;
  readonly idempotencyKey: string;
  readonly dryRun: boolean;
}

/** How a request for a job went on: under its idempotency key it had been made before, or its data are wanted. */
export type Admission =
  | { readonly kind: "known"; readonly job: Job }
  | { readonly kind: "new"; readonly request: JobRequest; readonly dryRun: boolean };

const maxIdempotencyKeyLength = 128;

export class TrainingCalls {
  readonly #deps: TrainingCallsDeps;

  constructor(deps: TrainingCallsDeps) {
    this.#deps = deps;
  }

  /** Before anything of a call is read. @throws PERMISSION_DENIED */
  requireManagement({ peer }: Pick<TrainingCaller, "peer">, call: string): void {
    requireManagement(this.#deps.management, peer, call);
  }

  /** Before any data are read. @throws as TrainingService.existing */
  async admit({ spec: message, idempotencyKey, dryRun }: GivenJob, { record }: TrainingCaller): Promise<Admission> {
    if (message !== undefined && message.model !== "") record.model = message.model;
    const spec = fromTrainingSpecMessage(message);
    if (idempotencyKey.length > maxIdempotencyKeyLength) {
      throw invalidArgument(
        `idempotency_key may have ${maxIdempotencyKeyLength} characters at most; got ${idempotencyKey.length}`,
      );
    }
    // A dry run is of no job: it neither finds one by its key, nor is it refused for one.
    const request = { spec, idempotencyKey: dryRun ? "" : idempotencyKey };
    const job = await this.#deps.service.existing(request);
    return job === undefined ? { kind: "new", request, dryRun } : { kind: "known", job };
  }

  /** Takes in the data, and starts the job that is then stored. What fails or is cancelled before that leaves nothing. */
  submit(request: JobRequest, data: Rows, { cancellation }: TrainingCaller): Promise<Job> {
    return this.#withData(request, data, cancellation, (intake) => intake.commit());
  }

  /** Takes in the data, says what training on them would take, and leaves nothing. */
  async planned(request: JobRequest, data: Rows, caller: TrainingCaller): Promise<JobEventMessage> {
    return toPlannedEventMessage(await this.#plan(request, data, caller), this.#deps.clock.wallTime());
  }

  #plan(request: JobRequest, data: Rows, { cancellation }: TrainingCaller): Promise<JobPlan> {
    return this.#withData(request, data, cancellation, async (intake) => {
      const plan = await intake.plan(cancellation);
      await intake.discard();
      return plan;
    });
  }

  async #withData<T>(
    request: JobRequest,
    data: Rows,
    cancellation: Cancellation,
    use: (intake: DataIntake) => Promise<T>,
  ): Promise<T> {
    const intake = await this.#deps.service.receive(request);
    try {
      for await (const { role, piece } of data) {
        if (cancellation.reason !== undefined) throw cancellation.reason;
        await intake.add(role, piece);
      }
      if (cancellation.reason !== undefined) throw cancellation.reason;
      return await use(intake);
    } catch (thrown) {
      await intake.discard();
      throw thrown;
    }
  }

  /** StartJob, with its data in the message. */
  start(given: GivenStart, caller: TrainingCaller): Promise<JobMessage> {
    return this.startWith(given, givenData(given), caller);
  }

  /** StartJob, with its data beside it. */
  async startWith(given: GivenJob, data: Rows, caller: TrainingCaller): Promise<JobMessage> {
    const admission = await this.admit(given, caller);
    if (admission.kind === "known") return await this.#toMessage(admission.job);
    const { request, dryRun } = admission;
    if (dryRun) return toPlannedJobMessage(await this.#plan(request, data, caller));
    return await this.#toMessage(await this.submit(request, data, caller));
  }

  async get(id: string, { record }: TrainingCaller): Promise<JobMessage> {
    return await this.#toMessage(await this.#find(id, record));
  }

  async list(
    { pageSize, pageToken, model, states }: ListJobsRequest,
    { record }: TrainingCaller,
  ): Promise<ListJobsResponse> {
    if (model !== "") record.model = model;
    const jobs = await this.#deps.service.list({ model, states: fromJobStates(states) });
    const { page, nextPageToken } = jobPage(jobs, pageSize, pageToken);
    const places = await this.#deps.service.places(page.map(({ id }) => id));
    return { jobs: page.map((job, index) => toJobMessage(job, places[index]!)), nextPageToken };
  }

  /** The job's events from one on, to its end. @param from 0 counts as 1 */
  async *watch(
    id: string,
    from: bigint,
    { record, cancellation }: TrainingCaller,
  ): AsyncGenerator<JobEventMessage, void, undefined> {
    const { service } = this.#deps;
    await this.#find(id, record);
    if (from < 0n) throw invalidArgument(`from must be 0 or more; got ${from}`);
    const first = Math.max(1, exactNumber(from, "from"));
    for await (const event of service.watch(id, first, cancellation)) {
      const waits = event.kind === "state" && event.job.state === "PENDING";
      const [place] = waits ? await service.places([id]) : [];
      yield toJobEventMessage(id, event, place?.queuePosition ?? 0);
    }
  }

  async cancel(id: string, caller: TrainingCaller): Promise<JobMessage> {
    this.requireManagement(caller, "CancelJob");
    await this.#find(id, caller.record);
    return await this.#toMessage(await this.#deps.service.cancel(id, caller.cancellation));
  }

  async delete(id: string, caller: TrainingCaller): Promise<void> {
    this.requireManagement(caller, "DeleteJob");
    await this.#find(id, caller.record);
    await this.#deps.service.delete(id);
  }

  async publish(id: string, caller: TrainingCaller): Promise<JobMessage> {
    this.requireManagement(caller, "Publish");
    await this.#find(id, caller.record);
    return await this.#toMessage(await this.#deps.service.publish(id, caller.cancellation));
  }

  /** Evaluate, with its data in the message. It follows --management: see evaluateOn. */
  async evaluate({ request, data }: GivenEvaluation, caller: TrainingCaller): Promise<EvaluateResponse> {
    this.requireManagement(caller, "Evaluate");
    const pieces: DataPiece[] = [];
    for (const piece of dataPieces(data, "data")) {
      pieces.push(piece);
      await setImmediate(); // making many rows into text takes a while, and others want their turn
    }
    return this.evaluateOn(request, pieces, caller);
  }

  /** Changes nothing, but reads files of the server's and takes as much of its processors as training does. */
  async evaluateOn(
    request: GivenEvaluation["request"],
    data: readonly DataPiece[],
    caller: TrainingCaller,
  ): Promise<EvaluateResponse> {
    this.requireManagement(caller, "Evaluate");
    const { record, cancellation } = caller;
    const { name, ...choice } = fromModelRefMessage(request.model);
    if (name === undefined) throw invalidArgument("model.name is missing: the model to evaluate");
    record.model = name;
    const { weight, output, loss, topK, threshold } = request;
    const options = givenFields({
      weight: unlessZero(weight),
      output: unlessZero(output),
      loss: loss && fromLossMessage(loss),
      ...{ topK, threshold },
    });
    if (cancellation.reason !== undefined) throw cancellation.reason;
    const report = await this.#deps.service.evaluate({ model: { name, ...choice }, ...options }, data, cancellation);
    record.version = report.version;
    return toEvaluateResponse(report);
  }

  async #find(id: string, record: CallRecord): Promise<Job> {
    if (id === "") throw invalidArgument("id is missing: the job's");
    const job = await this.#deps.service.get(id);
    record.model = job.spec.model;
    return job;
  }

  async #toMessage(job: Job): Promise<JobMessage> {
    const [place] = await this.#deps.service.places([job.id]);
    return toJobMessage(job, place!);
  }
}

/** The data of a StartJob, piece by piece. */
function* givenData({ data, validationData }: GivenStart): Generator<RolePiece, void, undefined> {
  for (const piece of dataPieces(data, "data")) yield { role: "train", piece };
  if (validationData === undefined) return;
  for (const piece of dataPieces(validationData, "validation_data")) yield { role: "validation", piece };
}
