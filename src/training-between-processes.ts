// Training where several processes serve: jobs live in the process in charge, and the doors of the others reach them by
// calls. What a client sends goes on piece by piece, and its events come one by one, so that neither side holds more.
import { type Cancellation, CancellationSource } from "./cancellation.js";
import type { Answers, Offer, ProcessChannel } from "./processes/index.js";
import { cancelled, notFound } from "./status.js";
import type {
  DataIntake,
  DataPiece,
  DataSetRole,
  EvaluationReport,
  EvaluationRequest,
  Job,
  JobEvent,
  JobFilter,
  JobPlace,
  JobPlan,
  JobRequest,
  TrainingService,
} from "./training/index.js";

/** TrainingService as calls. Intakes and watches are numbers, each the caller's own. */
export interface TrainingOffer {
  existingJob(request: JobRequest): Job | undefined;
  job(id: string): Job;
  jobs(filter: JobFilter): readonly Job[];
  jobPlaces(ids: readonly string[]): readonly JobPlace[];
  openIntake(request: JobRequest): number;
  addData(added: { readonly intake: number; readonly role: DataSetRole; readonly piece: DataPiece }): void;
  commitIntake(intake: number): Job;
  planIntake(intake: number): JobPlan;
  discardIntake(intake: number): void;
  openWatch(watched: { readonly id: string; readonly from: number }): number;
  /** undefined: the job has ended, and all its events are told. */
  nextEvent(watch: number): JobEvent | undefined;
  closeWatch(watch: number): void;
  cancelJob(id: string): Job;
  deleteJob(id: string): void;
  publishJob(id: string): Job;
  evaluate(asked: { readonly request: EvaluationRequest; readonly data: readonly DataPiece[] }): EvaluationReport;
}

interface Watch {
  readonly events: AsyncIterator<JobEvent>;
  readonly cancellation: CancellationSource;
}

/** In the process in charge: what one other process has asked for, and how it is answered. */
export class TrainingAnswers {
  readonly #service: TrainingService;
  readonly #intakes = new Map<number, DataIntake>();
  readonly #watches = new Map<number, Watch>();
  #lastNumber = 0;

  constructor(service: TrainingService) {
    this.#service = service;
  }

  answers(): Answers<TrainingOffer> {
    const service = this.#service;
    return {
      existingJob: (request) => service.existing(request),
      job: (id) => service.get(id),
      jobs: (filter) => service.list(filter),
      jobPlaces: (ids) => service.places(ids),
      openIntake: async (request) => this.#keep(this.#intakes, await service.receive(request)),
      addData: ({ intake, role, piece }) => this.#intake(intake).add(role, piece),
      commitIntake: async (intake) => {
        const job = await this.#intake(intake).commit();
        this.#intakes.delete(intake);
        return job;
      },
      planIntake: (intake, { cancellation }) => this.#intake(intake).plan(cancellation),
      discardIntake: async (intake) => {
        const found = this.#intakes.get(intake);
        this.#intakes.delete(intake);
        await found?.discard();
      },
      openWatch: ({ id, from }) => {
        const cancellation = new CancellationSource();
        const events = service.watch(id, from, cancellation)[Symbol.asyncIterator]();
        return this.#keep(this.#watches, { events, cancellation });
      },
      nextEvent: async (watch) => {
        const step = await this.#watch(watch).events.next();
        return step.done === true ? undefined : step.value;
      },
      closeWatch: (watch) => {
        const found = this.#watches.get(watch);
        this.#watches.delete(watch);
        if (found !== undefined) endWatch(found);
      },
      cancelJob: (id, { cancellation }) => service.cancel(id, cancellation),
      deleteJob: (id) => service.delete(id),
      publishJob: (id, { cancellation }) => service.publish(id, cancellation),
      evaluate: ({ request, data }, { cancellation }) => service.evaluate(request, data, cancellation),
    };
  }

  /** The other process has ended: what it was sending is no job, and nobody watches any more. */
  async close(): Promise<void> {
    for (const watch of this.#watches.values()) endWatch(watch);
    this.#watches.clear();
    const intakes = [...this.#intakes.values()];
    this.#intakes.clear();
    await Promise.all(intakes.map((intake) => intake.discard()));
  }

  #keep<T>(where: Map<number, T>, value: T): number {
    this.#lastNumber += 1;
    where.set(this.#lastNumber, value);
    return this.#lastNumber;
  }

  #intake(intake: number): DataIntake {
    const found = this.#intakes.get(intake);
    if (found === undefined) throw notFound("these data are not expected any more");
    return found;
  }

  #watch(watch: number): Watch {
    const found = this.#watches.get(watch);
    if (found === undefined) throw notFound("this watch has ended");
    return found;
  }
}

function endWatch({ events, cancellation }: Watch): void {
  cancellation.cancel(cancelled("nobody watches any more"));
  events.return?.()?.catch(() => {});
}

type TrainingChannel = Pick<ProcessChannel<TrainingOffer & Offer<TrainingOffer>, Record<string, never>>, "call">;

/** In a process that serves: training as its doors see it. */
export class RemoteTraining implements TrainingService {
  readonly #channel: TrainingChannel;

  constructor(channel: TrainingChannel) {
    this.#channel = channel;
  }

  existing(request: JobRequest): Promise<Job | undefined> {
    return this.#channel.call("existingJob", request);
  }

  async receive(request: JobRequest): Promise<DataIntake> {
    const intake = await this.#channel.call("openIntake", request);
    return {
      add: (role, piece) => this.#channel.call("addData", { intake, role, piece }),
      commit: () => this.#channel.call("commitIntake", intake),
      plan: (cancellation) => this.#channel.call("planIntake", intake, cancellation),
      discard: () => this.#channel.call("discardIntake", intake),
    };
  }

  get(id: string): Promise<Job> {
    return this.#channel.call("job", id);
  }

  list(filter: JobFilter): Promise<readonly Job[]> {
    return this.#channel.call("jobs", filter);
  }

  places(ids: readonly string[]): Promise<readonly JobPlace[]> {
    return this.#channel.call("jobPlaces", ids);
  }

  async *watch(id: string, from: number, cancellation: Cancellation): AsyncGenerator<JobEvent, void, undefined> {
    const watch = await this.#channel.call("openWatch", { id, from });
    try {
      for (;;) {
        const event = await this.#channel.call("nextEvent", watch, cancellation);
        if (event === undefined) return;
        yield event;
      }
    } finally {
      // When the channel has ended so has the watch.
      await this.#channel.call("closeWatch", watch).catch(() => {});
    }
  }

  cancel(id: string, cancellation: Cancellation): Promise<Job> {
    return this.#channel.call("cancelJob", id, cancellation);
  }

  delete(id: string): Promise<void> {
    return this.#channel.call("deleteJob", id);
  }

  publish(id: string, cancellation: Cancellation): Promise<Job> {
    return this.#channel.call("publishJob", id, cancellation);
  }

  evaluate(
    request: EvaluationRequest,
    data: readonly DataPiece[],
    cancellation: Cancellation,
  ): Promise<EvaluationReport> {
    return this.#channel.call("evaluate", { request, data }, cancellation);
  }
}
