// The messages of onnxd.v1.TrainingService as JSON. Rows and CSV text are taken out before the rest becomes a message:
// there may be much of them, and they are wanted as text.
import {
  EvaluateResponse,
  Job,
  type JobEvent,
  JobEvent as JobEventCodec,
  ListJobsRequest,
  ListJobsResponse,
  TrainingSpec,
} from "../../gen/onnxd/v1/training.js";
import { errorMessage, invalidArgument } from "../../status.js";
import { type JsonObject, type JsonValue, messageFromJson, messageToJson } from "./message-json.js";
import {
  decodeEvaluateRequest,
  decodeStartJobRequest,
  type GivenData,
  type GivenEvaluation,
  type GivenRows,
  type GivenStart,
} from "./training-data.js";

/** Errors: INVALID_ARGUMENT, of both, when the text is no JSON, or no such message. */
export function startFromJson(text: string): GivenStart {
  const { rest, taken } = takeRows(parseObject(text, "the body"), ["data", "validation_data", "validationData"]);
  const given = decodeStartJobRequest(messageFromJson("onnxd.v1.StartJobRequest", rest));
  return {
    ...given,
    data: withRows(given.data, taken.get("data")),
    validationData: withRows(given.validationData, taken.get("validation_data") ?? taken.get("validationData")),
  };
}

/** A StartJob whose data come beside it. @param spec JSON */
export function startWithoutData(spec: string, idempotencyKey: string, dryRun: boolean): GivenStart {
  const value = { spec: parseObject(spec, "parameter spec"), idempotency_key: idempotencyKey, dry_run: dryRun };
  return decodeStartJobRequest(messageFromJson("onnxd.v1.StartJobRequest", value));
}

export function evaluationFromJson(text: string): GivenEvaluation {
  const { rest, taken } = takeRows(parseObject(text, "the body"), ["data"]);
  const { request, data } = decodeEvaluateRequest(messageFromJson("onnxd.v1.EvaluateRequest", rest));
  return { request, data: withRows(data, taken.get("data")) };
}

/** An Evaluate whose data come beside it. */
export function evaluationWithoutData(fields: JsonObject): GivenEvaluation["request"] {
  return decodeEvaluateRequest(messageFromJson("onnxd.v1.EvaluateRequest", fields)).request;
}

export function listRequestFromJson(fields: JsonObject): ListJobsRequest {
  return ListJobsRequest.decode(messageFromJson("onnxd.v1.ListJobsRequest", fields));
}

export function jobToJson(job: Job): JsonObject {
  const json = messageToJson("onnxd.v1.Job", Job.encode(job).finish(), true);
  if (job.spec !== undefined) json["spec"] = specToJson(job.spec);
  return json;
}

/** What a spec does not say is left out of it, so that it reads as it was written. */
function specToJson(spec: TrainingSpec): JsonObject {
  return messageToJson("onnxd.v1.TrainingSpec", TrainingSpec.encode(spec).finish(), false);
}

export function jobListToJson(list: ListJobsResponse): JsonObject {
  const json = messageToJson(
    "onnxd.v1.ListJobsResponse",
    ListJobsResponse.encode({ ...list, jobs: [] }).finish(),
    true,
  );
  return { ...json, jobs: list.jobs.map(jobToJson) };
}

export function jobEventToJson(event: JobEvent): JsonObject {
  const json = messageToJson("onnxd.v1.JobEvent", JobEventCodec.encode(event).finish(), true);
  if (event.event?.$case === "state") json["state"] = jobToJson(event.event.value);
  return json;
}

export function evaluationToJson(response: EvaluateResponse): JsonObject {
  return messageToJson("onnxd.v1.EvaluateResponse", EvaluateResponse.encode(response).finish(), true);
}

function parseObject(text: string, what: string): JsonObject {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (thrown) {
    throw invalidArgument(`${what} is not JSON: ${errorMessage(thrown)}`);
  }
  if (isObject(value)) return value;
  throw invalidArgument(`${what} must be a JSON object`);
}

interface TakenRows {
  readonly csv: string | undefined;
  readonly rows: readonly JsonValue[] | undefined;
}

function takeRows(body: JsonObject, fields: readonly string[]) {
  const rest: JsonObject = { ...body };
  const taken = new Map<string, TakenRows>();
  for (const field of fields) {
    const data = body[field];
    if (!isObject(data)) continue;
    const { csv, rows, ...others } = data;
    // What is of another type stays, and is refused with the rest.
    rest[field] = {
      ...others,
      ...(csv !== undefined && typeof csv !== "string" && { csv }),
      ...(rows !== undefined && !Array.isArray(rows) && { rows }),
    };
    taken.set(field, { csv: typeof csv === "string" ? csv : undefined, rows: Array.isArray(rows) ? rows : undefined });
  }
  return { rest, taken };
}

function withRows(data: GivenData | undefined, taken: TakenRows | undefined): GivenData | undefined {
  if (data === undefined || taken === undefined) return data;
  const { csv, rows } = taken;
  return {
    ...data,
    ...(csv !== undefined && { csv: Buffer.from(csv) }),
    ...(rows !== undefined && { rows: jsonRows(rows) }),
  };
}

function jsonRows(rows: readonly JsonValue[]): GivenRows {
  return {
    count: rows.length,
    *lines(place) {
      for (const [index, row] of rows.entries()) {
        if (!isObject(row))
          throw invalidArgument(`${place}.rows[${index}] must be an object; got ${describeValue(row)}`);
        for (const [name, value] of Object.entries(row)) {
          const cell = `${place}.rows[${index}].${name}`;
          if (typeof value === "object" && value !== null) {
            throw invalidArgument(
              `${cell} must be a string, a number, true, false or null; got ${describeValue(value)}`,
            );
          }
          if (typeof value === "number" && !Number.isFinite(value)) {
            throw invalidArgument(`${cell} is larger than a number can be`);
          }
        }
        yield JSON.stringify(row);
      }
    },
  };
}

/** Without its contents, which may be large, or deep. */
function describeValue(value: JsonValue): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return JSON.stringify(value);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
