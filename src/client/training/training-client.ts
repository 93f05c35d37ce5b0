import { randomUUID } from "node:crypto";
import { Empty } from "../../gen/google/protobuf/empty.js";
import {
  CancelJobRequest,
  DeleteJobRequest,
  EvaluateRequest,
  EvaluateResponse,
  GetJobRequest,
  Job,
  Job_State,
  JobEvent,
  ListJobsRequest,
  ListJobsResponse,
  Loss,
  type Plan,
  PublishRequest,
  StartJobRequest,
  type TrainingSpec,
  TrainRequest,
  WatchJobRequest,
} from "../../gen/onnxd/v1/training.js";
import { internal, invalidArgument, type StatusError } from "../../status.js";
import {
  type CallOptions,
  type ClientOptions,
  type ResolvedClientOptions,
  resolveClientOptions,
} from "../client-options.js";
import { type Codec, GrpcChannel, type Method } from "../grpc-channel.js";
import { type VersionOptions, versionNumber } from "../model-client.js";
import { grpcTarget } from "../target.js";
import { type JobCalls, JobEvents } from "./job-events.js";
import { fromProtoJson, type ProtoJson } from "./proto-json.js";
import { contentOf, dataMessage, isRepeatable, type ServerFile, type TrainingData } from "./training-data.js";
import { type JobStateName, jobOf, specOf, type TrainingJob, type TrainingSpecJson } from "./training-messages.js";

/** A file of the server's goes with a file of the server's, and data of one's own with such. */
export type AnyData = TrainingData | ServerFile;

export interface FollowOptions {
  /** Told when the server went away, before a job's events are asked for again. */
  readonly onLost?: (reason: StatusError) => void;
}

export interface WatchOptions extends CallOptions, FollowOptions {
  /** The first event wanted. Default: the first there was. */
  readonly from?: bigint;
}

export interface TrainOptions extends CallOptions, FollowOptions {
  /** Rows to validate on, not to train on. Default: what the spec's validation_split sets aside. */
  readonly validation?: AnyData;
  /** Train with the same key and spec is the same job. At most 128 characters. Default: a new one. */
  readonly idempotencyKey?: string;
}

export interface JobFilter extends CallOptions {
  /** Default: of all. */
  readonly model?: string;
  /** Default: in any state. */
  readonly states?: readonly JobStateName[];
}

export interface EvaluateOptions extends VersionOptions {
  /** A column of numbers that says what each row counts. */
  readonly weight?: string;
  /** For tensors: what is judged. Default: what the model was trained on. */
  readonly output?: string;
  readonly loss?: ProtoJson<Loss>;
  readonly topK?: number;
  readonly threshold?: number;
}

/**
 * Trains models at an onnxd server, over gRPC: jobs, their events, and what comes of them. Calls that change nothing, and
 * those that carry an idempotency key, are tried again when the server is not there; a job's events are followed through
 * a restart of the server. All of it throws StatusError, with the server's code and words.
 */
export class TrainingClient {
  readonly #channel: GrpcChannel;
  readonly #options: ResolvedClientOptions;
  readonly #followAttempts: number;

  /**
   * @param target "host:port", "grpc://host:port", "grpcs://host:port" (TLS) or "unix:/path"
   * @param options as any client's; unless told otherwise, 10 attempts are made to come back to a job that has been heard
   *   of, about 20 seconds in all: a server that starts again is waited for
   */
  constructor(target: string, options: ClientOptions = {}) {
    const { address, tls } = grpcTarget(target);
    this.#options = resolveClientOptions(options, tls);
    this.#followAttempts = options.retry?.maxAttempts ?? 10;
    this.#channel = new GrpcChannel(address, this.#options);
  }

  /**
   * Sends the data, as fast as the server takes them, and gives the job's events to its end. The call begins when the
   * events are read. Without timeoutMs it may take as long as the job does.
   */
  train(spec: TrainingSpecJson, data: AnyData, options: TrainOptions = {}): JobEvents {
    const { validation, idempotencyKey = randomUUID(), ...callOptions } = options;
    return this.#train(specOf(spec), setsOf(data, validation), { idempotencyKey, dryRun: false }, callOptions);
  }

  /** What would be trained and what it takes: parameters, shapes, memory, time of a step. There will be no job. */
  async plan(
    spec: TrainingSpecJson,
    data: AnyData,
    { validation, ...options }: Omit<TrainOptions, "idempotencyKey"> = {},
  ): Promise<Plan> {
    const header = { idempotencyKey: "", dryRun: true };
    let plan: Plan | undefined;
    if ("serverFile" in data) {
      ({ plan } = await this.#startJob(specOf(spec), setsOf(data, validation), header, options));
    } else {
      for await (const event of this.#train(specOf(spec), setsOf(data, validation), header, options)) {
        if (event.kind === "planned") plan = event.plan;
      }
    }
    if (plan === undefined) throw internal("the server answered a dry run without a plan");
    return plan;
  }

  /** Starts a job on data that fit into one message, or lie in a file of the server's; returns once it is in the queue. */
  async startJob(
    spec: TrainingSpecJson,
    data: AnyData,
    { validation, idempotencyKey = randomUUID(), ...options }: TrainOptions = {},
  ): Promise<TrainingJob> {
    const header = { idempotencyKey, dryRun: false };
    return jobOf(await this.#startJob(specOf(spec), setsOf(data, validation), header, options));
  }

  async #startJob(spec: TrainingSpec, sets: DataSets, header: JobHeader, options: CallOptions): Promise<Job> {
    const [data, validation] = sets;
    const request: StartJobRequest = {
      spec,
      data: await dataMessage(data),
      validationData: validation && (await dataMessage(validation)),
      ...header,
    };
    return await this.#channel.call(methods.startJob, request, options);
  }

  #train(
    spec: TrainingSpec,
    sets: DataSets,
    header: JobHeader,
    { onLost, ...callOptions }: CallOptions & FollowOptions,
  ): JobEvents {
    const [data, validation] = sets;
    const watch = (id: string, from: bigint, options: CallOptions) => this.#watch(id, from, options);
    const startAndWatch = async function* (this: TrainingClient, options: CallOptions) {
      const { id } = await this.#startJob(spec, sets, header, options);
      yield* watch(id, 1n, options);
    };
    async function* requests(): AsyncGenerator<TrainRequest, void, undefined> {
      yield { part: { $case: "header", value: { spec, ...header } } };
      for (const set of sets) {
        if (set === undefined || "serverFile" in set) continue;
        for await (const content of contentOf(set)) {
          yield { part: { $case: "data", value: { validation: set === validation, content } } };
        }
      }
    }
    const calls: JobCalls = {
      open: (options) =>
        "serverFile" in data
          ? startAndWatch.call(this, options)
          : this.#channel.stream(methods.train, requests(), options),
      // Half of a stream is no data set: what cannot be read again cannot be sent again.
      mayReopen: sets.every((set) => set === undefined || "serverFile" in set || isRepeatable(set)),
      watch,
      followAttempts: this.#followAttempts,
      onLost,
    };
    return new JobEvents(calls, this.#options, callOptions, header.idempotencyKey);
  }

  async getJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return jobOf(await this.#channel.call(methods.getJob, { id }, options));
  }

  /** Newest first, page by page as they are read. */
  async *listJobs({
    model = "",
    states = [],
    ...options
  }: JobFilter = {}): AsyncGenerator<TrainingJob, void, undefined> {
    let pageToken = "";
    do {
      const request = { pageSize: 100, pageToken, model, states: states.map((state) => Job_State[state]) };
      const page = await this.#channel.call(methods.listJobs, request, options);
      for (const job of page.jobs) yield jobOf(job);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** The events from a given one on (default: from the first), then those to come until the job ends. */
  watchJob(id: string, { from = 1n, onLost, ...options }: WatchOptions = {}): JobEvents {
    return new JobEvents(
      {
        open: (call) => this.#watch(id, from, call),
        mayReopen: true,
        watch: (_, next, call) => this.#watch(id, next, call),
        followAttempts: this.#followAttempts,
        onLost,
      },
      this.#options,
      options,
    );
  }

  #watch(id: string, from: bigint, options: CallOptions): AsyncIterable<JobEvent> {
    return this.#channel.stream(methods.watchJob, [{ id, from }], options);
  }

  /** Stops a job between two steps. FAILED_PRECONDITION when it has ended, or is being published. */
  async cancelJob(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return jobOf(await this.#channel.callOnce(methods.cancelJob, { id }, options));
  }

  /** Removes a job that has ended, with its data and candidate; what it published stays. */
  async deleteJob(id: string, options: CallOptions = {}): Promise<void> {
    await this.#channel.callOnce(methods.deleteJob, { id }, options);
  }

  /** Publishes the candidate of a job that held it back, and resolves once the version is AVAILABLE. */
  async publish(id: string, options: CallOptions = {}): Promise<TrainingJob> {
    return jobOf(await this.#channel.callOnce(methods.publish, { id }, options));
  }

  /** Every metric of a served version on given data, which fit into one message or lie in a file of the server's. */
  async evaluate(
    model: string,
    data: AnyData,
    { version, label, weight = "", output = "", loss, topK, threshold, ...options }: EvaluateOptions = {},
  ): Promise<EvaluateResponse> {
    if (version !== undefined && label !== undefined) {
      throw invalidArgument(`a call means version ${version} or label "${label}", not both`);
    }
    const request = EvaluateRequest.create({
      model: {
        name: model,
        ...(version !== undefined && { choice: { $case: "version" as const, value: versionNumber(version) } }),
        ...(label !== undefined && { choice: { $case: "label" as const, value: label } }),
      },
      data: await dataMessage(data),
      weight,
      output,
      ...(loss !== undefined && { loss: fromProtoJson("loss", "onnxd.v1.Loss", Loss, loss) }),
      topK,
      threshold,
    });
    return await this.#channel.call(methods.evaluate, request, options);
  }

  /** Gives the connection back; jobs go on. */
  close(): void {
    this.#channel.close();
  }
}

interface JobHeader {
  readonly idempotencyKey: string;
  readonly dryRun: boolean;
}

/** To train on, and to validate on. */
type DataSets = readonly [AnyData, AnyData | undefined];

function setsOf(data: AnyData, validation: AnyData | undefined): DataSets {
  if (validation !== undefined && "serverFile" in data !== "serverFile" in validation) {
    throw invalidArgument("data and validation are both files of the server's, or neither is; got one of each");
  }
  // A copy, so that the two are told apart even where they are one.
  return [data, validation && { ...validation }];
}

function method<Request, Response>(
  name: string,
  request: Codec<Request>,
  response: Codec<Response>,
): Method<Request, Response> {
  return { path: `/onnxd.v1.TrainingService/${name}`, request, response };
}

const methods = {
  train: method("Train", TrainRequest, JobEvent),
  startJob: method("StartJob", StartJobRequest, Job),
  getJob: method("GetJob", GetJobRequest, Job),
  listJobs: method("ListJobs", ListJobsRequest, ListJobsResponse),
  watchJob: method("WatchJob", WatchJobRequest, JobEvent),
  cancelJob: method("CancelJob", CancelJobRequest, Job),
  deleteJob: method("DeleteJob", DeleteJobRequest, Empty),
  publish: method("Publish", PublishRequest, Job),
  evaluate: method("Evaluate", EvaluateRequest, EvaluateResponse),
};
