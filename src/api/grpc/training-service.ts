import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { Empty } from "../../gen/google/protobuf/empty.js";
import {
  CancelJobRequest,
  DeleteJobRequest,
  EvaluateResponse,
  GetJobRequest,
  Job,
  JobEvent,
  ListJobsRequest,
  ListJobsResponse,
  PublishRequest,
  WatchJobRequest,
} from "../../gen/onnxd/v1/training.js";
import { invalidArgument } from "../../status.js";
import {
  decodeEvaluateRequest,
  decodeStartJobRequest,
  decodeTrainRequest,
  type GivenEvaluation,
  type GivenStart,
  type TrainPart,
} from "../codecs/training-data.js";
import type { RolePiece, TrainingCalls } from "../training/training-calls.js";
import type { BidiMethod, Call, Method, ServerStreamMethod, UnaryMethod } from "./service-table.js";

const service = "onnxd.v1.TrainingService";

/**
 * Node's HTTP/2 clients, grpc-js among them, end their side of a call when it is cancelled, and reset it a moment later.
 * Data that end count as all data only when no reset has followed for so long.
 */
const resetGraceMs = 50;

/** onnxd.v1.TrainingService: jobs that make new versions of models. */
export function trainingService(calls: TrainingCalls, clock: Clock): Method[] {
  return [
    trainMethod(calls, clock),
    startJobMethod(calls),
    watchJobMethod(calls),
    evaluateMethod(calls),
    unary("GetJob", GetJobRequest, Job, ({ id }, call) => calls.get(id, call)),
    unary("ListJobs", ListJobsRequest, ListJobsResponse, (request, call) => calls.list(request, call)),
    unary("CancelJob", CancelJobRequest, Job, ({ id }, call) => calls.cancel(id, call)),
    unary("Publish", PublishRequest, Job, ({ id }, call) => calls.publish(id, call)),
    unary("DeleteJob", DeleteJobRequest, Empty, async ({ id }, call) => {
      await calls.delete(id, call);
      return {};
    }),
  ];
}

function trainMethod(calls: TrainingCalls, clock: Clock): BidiMethod<TrainPart, JobEvent> {
  return {
    kind: "bidi",
    path: `/${service}/Train`,
    decode: decodeTrainRequest,
    encode: encodeEvent,
    handle: (requests, call) => train(requests, call, calls, clock),
  };
}

async function* train(
  requests: AsyncIterable<TrainPart>,
  call: Call,
  calls: TrainingCalls,
  clock: Clock,
): AsyncGenerator<JobEvent, void, undefined> {
  calls.requireManagement(call, "Train");
  const parts = requests[Symbol.asyncIterator]();
  const first = await parts.next();
  if (first.done === true) throw invalidArgument("Train begins with a header; the client sent nothing");
  if (first.value.kind !== "header") throw invalidArgument("Train begins with a header; got data");
  const admission = await calls.admit(first.value.header, call);
  const data = dataOf(parts, call.cancellation, clock);
  if (admission.kind === "known") {
    void drain(parts);
    yield* calls.watch(admission.job.id, 1n, call);
  } else if (admission.dryRun) {
    yield await calls.planned(admission.request, data, call);
  } else {
    const { id } = await calls.submit(admission.request, data, call);
    yield* calls.watch(id, 1n, call);
  }
}

/** The data behind the header. The next message is asked for only when the one before has been taken in. */
async function* dataOf(
  parts: AsyncIterator<TrainPart>,
  cancellation: Cancellation,
  clock: Clock,
): AsyncGenerator<RolePiece, void, undefined> {
  for (let step = await parts.next(); step.done !== true; step = await parts.next()) {
    if (step.value.kind === "header") throw invalidArgument("only the first message of Train is a header; got another");
    yield step.value;
  }
  await staysEnded(cancellation, clock);
}

/** Rejects when the call is cancelled within the grace. */
function staysEnded(cancellation: Cancellation, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(resetGraceMs, () => {
      undo();
      resolve();
    });
    const undo = cancellation.onCancel((reason) => {
      timer.cancel();
      reject(reason);
    });
  });
}

/** Takes data that nobody needs: a client that sends all of it before it reads an answer would wait forever otherwise. */
async function drain(parts: AsyncIterator<TrainPart>): Promise<void> {
  try {
    while ((await parts.next()).done !== true);
  } catch {
    // The call has ended.
  }
}

function startJobMethod(calls: TrainingCalls): UnaryMethod<GivenStart, Job> {
  return {
    kind: "unary",
    path: `/${service}/StartJob`,
    decode: decodeStartJobRequest,
    encode: encodeJob,
    handle: (request, call) => {
      calls.requireManagement(call, "StartJob");
      return calls.start(request, call);
    },
  };
}

function watchJobMethod(calls: TrainingCalls): ServerStreamMethod<WatchJobRequest, JobEvent> {
  return {
    kind: "server-stream",
    path: `/${service}/WatchJob`,
    decode: (bytes) => WatchJobRequest.decode(bytes),
    encode: encodeEvent,
    handle: ({ id, from }, call) => calls.watch(id, from, call),
  };
}

function evaluateMethod(calls: TrainingCalls): UnaryMethod<GivenEvaluation, EvaluateResponse> {
  return {
    kind: "unary",
    path: `/${service}/Evaluate`,
    decode: decodeEvaluateRequest,
    encode: (response) => EvaluateResponse.encode(response).finish(),
    handle: (request, call) => calls.evaluate(request, call),
  };
}

interface Message<T> {
  decode(bytes: Uint8Array): T;
  encode(message: T): { finish(): Uint8Array };
}

function unary<Request, Response>(
  name: string,
  request: Message<Request>,
  response: Message<Response>,
  handle: UnaryMethod<Request, Response>["handle"],
): UnaryMethod<Request, Response> {
  return {
    kind: "unary",
    path: `/${service}/${name}`,
    decode: (bytes) => request.decode(bytes),
    encode: (message) => response.encode(message).finish(),
    handle,
  };
}

const encodeJob = (job: Job): Uint8Array => Job.encode(job).finish();
const encodeEvent = (event: JobEvent): Uint8Array => JobEvent.encode(event).finish();
