import type { Cancellation } from "../../src/cancellation.js";
import { alreadyExists, failedPrecondition, notFound, outOfRange } from "../../src/status.js";
import {
  type DataIntake,
  type DataPiece,
  type DataSetRole,
  type EvaluationReport,
  type EvaluationRequest,
  hasEnded,
  type Job,
  type JobEvent,
  type JobEventKind,
  type JobFilter,
  type JobPlace,
  type JobPlan,
  type JobRequest,
  type TrainingService,
} from "../../src/training/index.js";

export const aPlan: JobPlan = {
  parameters: [{ name: "dense/weight", shape: [4, 3] }],
  unused: [],
  parameterCount: 12,
  parameterBytes: 192,
  activationBytes: 100.5,
  exampleBytes: 2400,
  batchSize: 32,
  stepsPerEpoch: 4,
  totalSteps: 40,
  trainRows: 120,
  validationRows: 30,
  secondsPerStep: 0.25,
};

/** Training in memory: a job does what the test says, and nothing by itself. */
export class FakeTraining implements TrainingService {
  readonly intakes: FakeIntake[] = [];
  /** What evaluate was asked. */
  readonly evaluations: { readonly request: EvaluationRequest; readonly data: readonly DataPiece[] }[] = [];
  /** Before a piece is taken in: makes the sender wait, or refuses it. */
  onAdd: (piece: DataPiece) => void | Promise<void> = () => {};
  /** Before cancel, publish and evaluate are answered. */
  onWork: (cancellation: Cancellation) => void | Promise<void> = () => {};
  /** Watchers that have not gone. */
  watchers = 0;
  /** Newest first. */
  #jobs: FakeJob[] = [];
  #made = 0;

  existing({ spec, idempotencyKey }: JobRequest): Job | undefined {
    if (idempotencyKey === "") return undefined;
    const found = this.#jobs.find(({ job }) => job.idempotencyKey === idempotencyKey)?.job;
    if (found === undefined || JSON.stringify(found.spec) === JSON.stringify(spec)) return found;
    throw alreadyExists(`idempotency_key "${idempotencyKey}" is job ${found.id}'s, whose spec is another`);
  }

  async receive(request: JobRequest): Promise<DataIntake> {
    const intake = new FakeIntake(request, this);
    this.intakes.push(intake);
    return intake;
  }

  make({ spec, idempotencyKey }: JobRequest, more: Partial<Job> = {}): Job {
    this.#made += 1;
    const job: Job = {
      id: `job-${String(this.#made).padStart(3, "0")}`,
      state: "PENDING",
      spec,
      idempotencyKey,
      created: 1_700_000_000_000 + this.#made,
      drift: [],
      notices: [],
      data: { rows: 150, bytes: 4600, sha256: "ab12" },
      candidate: false,
      resumptions: 0,
      ...more,
    };
    this.#jobs.unshift({ job, events: [], wake: new Set() });
    this.emit(job.id, { kind: "state", job });
    return job;
  }

  emit(id: string, kind: JobEventKind): void {
    const found = this.#find(id);
    if (kind.kind === "state") found.job = kind.job;
    const sequence = found.events.length + 1;
    found.events.push({ ...kind, sequence, time: 1_700_000_001_000 + sequence });
    for (const wake of [...found.wake]) wake();
  }

  become(id: string, more: Partial<Job>): Job {
    this.emit(id, { kind: "state", job: { ...this.get(id), ...more } });
    return this.get(id);
  }

  get(id: string): Job {
    return this.#find(id).job;
  }

  list({ model, states }: JobFilter): readonly Job[] {
    return this.#jobs
      .map(({ job }) => job)
      .filter(
        (job) => (model === "" || job.spec.model === model) && (states.length === 0 || states.includes(job.state)),
      );
  }

  queuePosition(id: string): number {
    const waiting = this.#jobs.filter(({ job }) => job.state === "PENDING").reverse();
    return Math.max(
      0,
      waiting.findIndex(({ job }) => job.id === id),
    );
  }

  places(ids: readonly string[]): readonly JobPlace[] {
    return ids.map((id) => ({ queuePosition: this.queuePosition(id), lastEvent: this.#find(id).events.length }));
  }

  async *watch(id: string, from: number, cancellation: Cancellation): AsyncGenerator<JobEvent, void, undefined> {
    const found = this.#find(id);
    if (hasEnded(found.job.state) && from > found.events.length) {
      throw outOfRange(`job ${id} has ended with event ${found.events.length}; there is no event ${from}`);
    }
    this.watchers += 1;
    try {
      for (let next = from - 1; ; ) {
        while (next < found.events.length) yield found.events[next++]!;
        if (hasEnded(found.job.state)) return;
        await new Promise<void>((resolve, reject) => {
          const undo = cancellation.onCancel(reject);
          const wake = () => {
            undo();
            found.wake.delete(wake);
            resolve();
          };
          found.wake.add(wake);
        });
      }
    } finally {
      this.watchers -= 1;
    }
  }

  async cancel(id: string, cancellation: Cancellation): Promise<Job> {
    if (hasEnded(this.get(id).state)) throw failedPrecondition(`job ${id} has ended`);
    await this.onWork(cancellation);
    return this.become(id, { state: "CANCELLED" });
  }

  async delete(id: string): Promise<void> {
    if (!hasEnded(this.get(id).state)) throw failedPrecondition(`job ${id} has not ended`);
    this.#jobs = this.#jobs.filter(({ job }) => job.id !== id);
  }

  async publish(id: string, cancellation: Cancellation): Promise<Job> {
    if (!this.get(id).candidate) throw failedPrecondition(`job ${id} has no candidate`);
    await this.onWork(cancellation);
    return this.become(id, { candidate: false, publishedVersion: "7" });
  }

  async evaluate(
    request: EvaluationRequest,
    data: readonly DataPiece[],
    cancellation: Cancellation,
  ): Promise<EvaluationReport> {
    this.evaluations.push({ request, data });
    await this.onWork(cancellation);
    return {
      model: request.model.name,
      version: 3n,
      evaluation: {
        metrics: { accuracy: 0.75, loss: 0 },
        rows: 4,
        confusion: [
          [2, 0],
          [1, 1],
        ],
        classLabels: ["no", "yes"],
      },
      drift: [{ column: "x", measures: { psi: 0.5 }, warnings: ["x has moved"] }],
    };
  }

  #find(id: string): FakeJob {
    const found = this.#jobs.find(({ job }) => job.id === id);
    if (found === undefined) throw notFound(`there is no job ${id}`);
    return found;
  }
}

interface FakeJob {
  job: Job;
  readonly events: JobEvent[];
  readonly wake: Set<() => void>;
}

export class FakeIntake implements DataIntake {
  readonly request: JobRequest;
  readonly pieces: { readonly role: DataSetRole; readonly piece: DataPiece }[] = [];
  state: "open" | "committed" | "planned" | "discarded" = "open";
  readonly #training: FakeTraining;

  constructor(request: JobRequest, training: FakeTraining) {
    this.request = request;
    this.#training = training;
  }

  async add(role: DataSetRole, piece: DataPiece): Promise<void> {
    await this.#training.onAdd(piece);
    this.pieces.push({ role, piece });
  }

  async commit(): Promise<Job> {
    this.state = "committed";
    return this.#training.make(this.request);
  }

  async plan(): Promise<JobPlan> {
    this.state = "planned";
    return aPlan;
  }

  async discard(): Promise<void> {
    this.state = "discarded";
  }

  /** The bytes of a role, put together. */
  text(role: DataSetRole): string {
    const bytes = this.pieces.flatMap((each) =>
      each.role === role && "bytes" in each.piece ? [each.piece.bytes] : [],
    );
    return Buffer.concat(bytes).toString();
  }
}
