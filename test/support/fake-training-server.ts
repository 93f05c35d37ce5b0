import { Server, ServerCredentials, type ServiceError, type UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  type DataChunk,
  type EvaluateRequest,
  EvaluateResponse,
  Job,
  Job_State,
  type JobEvent,
  type ListJobsRequest,
  ListJobsResponse,
  type StartJobRequest,
  type TrainHeader,
  type TrainingServiceServer,
  TrainingServiceService,
} from "../gen/onnxd/v1/training.js";

/** One call of Train, as it came. */
export interface Heard {
  readonly header: TrainHeader;
  readonly data: readonly DataChunk[];
  /** Whether the client had sent all it had. */
  readonly whole: boolean;
}

interface Failure {
  /**
   * The call breaks once the client has told the test of so many of its events: what lies unread in a stream is lost
   * with it. With fewer than 0, it breaks before all data have come.
   */
  readonly after: number;
  readonly code: number;
  readonly details?: string;
}

/** A gRPC server whose one job, "job-1", tells the story that the test gives it, and whose calls break when told to. */
export class FakeTrainingServer implements AsyncDisposable {
  /** "Train", "WatchJob 5" … in order. */
  readonly calls: string[] = [];
  readonly heard: Heard[] = [];
  /** Taken from the front, one a streaming call. */
  readonly failures: (Failure | undefined)[] = [];
  story: JobEvent[] = [];
  jobs: Job[] = [];
  started: StartJobRequest | undefined;
  evaluated: EvaluateRequest | undefined;
  evaluation = EvaluateResponse.fromPartial({});
  /** What unary calls are refused with, from the front. */
  readonly refusals: { code: number; details: string }[] = [];
  /** Watched jobs wait at the end of the story instead of ending the call. */
  neverEnds = false;
  readonly #server = new Server({ "grpc.max_receive_message_length": -1 });
  #port = 0;
  #waiting: { readonly until: bigint; readonly act: () => void } | undefined;

  static async start(): Promise<FakeTrainingServer> {
    const fake = new FakeTrainingServer();
    fake.#server.addService(TrainingServiceService, fake.#service() as UntypedServiceImplementation);
    fake.#port = await new Promise<number>((resolve, reject) =>
      fake.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    return fake;
  }

  get target(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  #service(): Partial<TrainingServiceServer> {
    return {
      train: (call) => {
        this.calls.push("Train");
        const failure = this.failures.shift();
        const heard: { header: TrainHeader; data: DataChunk[]; whole: boolean } = {
          header: undefined as never,
          data: [],
          whole: false,
        };
        this.heard.push(heard);
        if (failure !== undefined && failure.after < 0) call.once("data", () => fail(call, failure));
        call.on("data", ({ part }) => {
          if (part?.$case === "header") heard.header = part.value;
          else heard.data.push(part!.value as DataChunk);
        });
        call.on("end", () => {
          heard.whole = true;
          this.#tell(call, this.story, failure);
        });
      },
      watchJob: (call) => {
        this.calls.push(`WatchJob ${call.request.from}`);
        const rest = this.story.filter(({ sequence }) => sequence >= call.request.from);
        this.#tell(call, rest, this.failures.shift());
      },
      startJob: this.#unary("StartJob", (request: StartJobRequest) => {
        this.started = request;
        return this.#job("job-1");
      }),
      getJob: this.#unary("GetJob", ({ id }: { id: string }) => this.#job(id)),
      // Pages of two.
      listJobs: this.#unary("ListJobs", ({ pageToken, model, states }: ListJobsRequest) => {
        const wanted = this.jobs.filter(
          (job) => (model === "" || job.spec?.model === model) && (states.length === 0 || states.includes(job.state)),
        );
        const first = Number(pageToken);
        return ListJobsResponse.fromPartial({
          jobs: wanted.slice(first, first + 2),
          nextPageToken: first + 2 < wanted.length ? String(first + 2) : "",
        });
      }),
      cancelJob: this.#unary("CancelJob", ({ id }: { id: string }) => ({
        ...this.#job(id),
        state: Job_State.CANCELLED,
      })),
      deleteJob: this.#unary("DeleteJob", () => ({})),
      publish: this.#unary("Publish", ({ id }: { id: string }) => ({ ...this.#job(id), publishedVersion: 4n })),
      evaluate: this.#unary("Evaluate", (request: EvaluateRequest) => {
        this.evaluated = request;
        return this.evaluation;
      }),
    };
  }

  #job(id: string): Job {
    return this.jobs.find((job) => job.id === id) ?? Job.fromPartial({ id });
  }

  #unary<Request, Response>(name: string, answer: (request: Request) => Response) {
    return (
      { request }: { request: Request },
      callback: (error: Partial<ServiceError> | null, response?: Response) => void,
    ) => {
      this.calls.push(name);
      const refusal = this.refusals.shift();
      if (refusal !== undefined) callback(refusal);
      else callback(null, answer(request));
    };
  }

  /** The client has this event. */
  seen(sequence: bigint): void {
    if (this.#waiting?.until === sequence) this.#waiting.act();
  }

  #tell(call: EventStream, story: readonly JobEvent[], failure: Failure | undefined) {
    const told = story.slice(0, failure?.after);
    for (const event of told) call.write(event);
    if (failure === undefined) {
      if (!this.neverEnds) call.end();
    } else if (told.length === 0) fail(call, failure);
    else this.#waiting = { until: told.at(-1)!.sequence, act: () => fail(call, failure) };
  }
}

function fail(call: Pick<EventStream, "emit">, { code, details = "gone" }: Failure): void {
  call.emit("error", { code, details });
}

interface EventStream {
  write(event: JobEvent): unknown;
  end(): unknown;
  emit(event: "error", error: unknown): boolean;
}

/** An event of job-1, its time a second after the one before. */
export function jobEvent(sequence: number, event: JobEvent["event"]): JobEvent {
  return { job: "job-1", sequence: BigInt(sequence), time: new Date(1_700_000_000_000 + 1000 * sequence), event };
}

type Given = Parameters<typeof Job.fromPartial>[0];

export function jobIn(state: keyof typeof Job_State, more: Given = {}): Job {
  return Job.fromPartial({ id: "job-1", spec: { model: "iris" }, ...more, state: Job_State[state] });
}

/** Job-1 entering a state. */
export function stateEvent(sequence: number, state: keyof typeof Job_State, more: Given = {}): JobEvent {
  return jobEvent(sequence, { $case: "state", value: jobIn(state, more) });
}
