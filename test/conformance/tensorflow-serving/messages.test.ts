// The table in messages.ts, asked of real servers over both doors.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { ServiceError } from "@grpc/grpc-js";
import { type Code, type CodeName, codeName } from "../../../src/status.js";
import { ClassificationRequest } from "../../gen/tensorflow_serving/apis/classification.js";
import { GetModelMetadataRequest } from "../../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusRequest } from "../../gen/tensorflow_serving/apis/get_model_status.js";
import { MultiInferenceRequest } from "../../gen/tensorflow_serving/apis/inference.js";
import { ReloadConfigRequest } from "../../gen/tensorflow_serving/apis/model_management.js";
import { ModelServiceClient } from "../../gen/tensorflow_serving/apis/model_service.js";
import { PredictRequest } from "../../gen/tensorflow_serving/apis/predict.js";
import { PredictionServiceClient } from "../../gen/tensorflow_serving/apis/prediction_service.js";
import { RegressionRequest } from "../../gen/tensorflow_serving/apis/regression.js";
import { call } from "../../support/call.js";
import { connect, noMetadata } from "../../support/clients.js";
import { ModelFolder } from "../../support/model-folder.js";
import { startTestServer, type TestServer } from "../../support/test-server.js";
import { until } from "../../support/until.js";
import { type GrpcCall, messages, type RestCall, type Row } from "./messages.js";
import { publishBatchedModels, publishBrokenModels, publishModels } from "./models.js";

/** As TensorFlow Serving maps them. */
const httpStatus: Readonly<Record<CodeName, number>> = {
  OK: 200,
  CANCELLED: 499,
  UNKNOWN: 500,
  INVALID_ARGUMENT: 400,
  DEADLINE_EXCEEDED: 504,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  PERMISSION_DENIED: 403,
  RESOURCE_EXHAUSTED: 429,
  FAILED_PRECONDITION: 400,
  ABORTED: 409,
  OUT_OF_RANGE: 400,
  UNIMPLEMENTED: 501,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
  UNAUTHENTICATED: 401,
};

const requests = {
  predict: PredictRequest,
  classify: ClassificationRequest,
  regress: RegressionRequest,
  multiInference: MultiInferenceRequest,
  getModelMetadata: GetModelMetadataRequest,
};

class AskedServer implements AsyncDisposable {
  readonly started: TestServer;
  readonly folder: ModelFolder;
  readonly #prediction;
  readonly #model;

  constructor(started: TestServer, folder: ModelFolder) {
    this.started = started;
    this.folder = folder;
    this.#prediction = connect(PredictionServiceClient, started.target);
    this.#model = connect(ModelServiceClient, started.target);
  }

  grpc({ rpc, request: partial }: GrpcCall): Promise<unknown> {
    if (rpc === "reload") {
      const message = ReloadConfigRequest.fromPartial(partial);
      if (message.config?.config?.$case === "modelConfigList") {
        for (const model of message.config.config.value.config) model.basePath = this.inFolder(model.basePath);
      }
      return call(this.#model, this.#model.handleReloadConfigRequest, message, noMetadata);
    }
    if (rpc === "getModelStatus") {
      return call(this.#model, this.#model.getModelStatus, GetModelStatusRequest.fromPartial(partial), noMetadata);
    }
    const message = requests[rpc].fromPartial(partial) as never;
    return call(this.#prediction, this.#prediction[rpc] as never, message, noMetadata);
  }

  /** A call that nobody waits for. @returns what gives it up */
  grpcBeside({ request: partial }: GrpcCall): () => void {
    const waiting = this.#prediction.predict(PredictRequest.fromPartial(partial), () => {});
    return () => waiting.cancel();
  }

  rest({ method, path, body, headers = {} }: RestCall): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const asked = request(`${this.started.url}${path}`, { method, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode!, body: text }));
      });
      asked.on("error", reject);
      asked.end(body);
    });
  }

  inFolder(text: string): string {
    return text.replaceAll("FOLDER", this.folder.path);
  }

  get waiting(): number {
    return this.started.server.repository.sessionLoads().reduce((sum, { queued }) => sum + queued, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#prediction[Symbol.dispose]();
    this.#model[Symbol.dispose]();
    await this.started[Symbol.asyncDispose]();
    this.folder[Symbol.dispose]();
  }
}

const once = [
  "--session_pool_size=1",
  "--max_num_load_retries=0",
  "--load_retry_interval_micros=-1",
  "--file_quiet_period_ms=0",
];

/** A text with "…" for anything. */
function matches(text: string): RegExp {
  const escaped = text.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${escaped.join("[^]*")}$`);
}

describe("TensorFlow Serving's messages", () => {
  const servers = {} as Record<"plain" | "checked" | "batched", AskedServer>;
  before(async () => {
    const started = async (publish: (folder: ModelFolder) => string, ...flags: string[]) => {
      const folder = new ModelFolder();
      const config = publish(folder);
      folder.publish("broken", 1, Buffer.from([1, 2, 3]));
      mkdirSync(join(folder.path, "void"));
      const server = await startTestServer(
        `--model_config_file=${config}`,
        "--allow_version_labels_for_unavailable_models",
        ...once,
        ...flags,
      );
      return new AskedServer(server, folder);
    };
    [servers.plain, servers.checked, servers.batched] = await Promise.all([
      started((folder) => publishModels(folder)),
      // The other transport has its turn here.
      started(
        (folder) => publishModels(folder, ["line", "shapes"]),
        "--enable_signature_method_name_check",
        "--grpc_transport=grpc-js",
      ),
      started(
        (folder) => folder.writeConfig({ ...publishBatchedModels(folder), ...publishBrokenModels(folder) }),
        "--enable_batching",
        "--enable_per_model_batching_parameters",
      ),
    ]);
  });
  after(async () => {
    for (const server of Object.values(servers)) await server[Symbol.asyncDispose]();
  });

  for (const row of messages) {
    const name = `${row.at}: ${row.what}`;
    if ("unreachable" in row) it(name, { skip: row.unreachable });
    else if ("version" in row) it(name, () => versionFails(row));
    else if ("start" in row) it(name, () => startFails(row));
    else {
      if (row.grpc !== undefined) it(`${name}, gRPC`, () => grpcFails(row, row.grpc!));
      if (row.rest !== undefined) it(`${name}, REST`, () => restFails(row, row.rest!));
    }
  }

  type Asked = Extract<Row, { readonly beside?: GrpcCall }>;

  async function besideAnother<T>({ beside }: Asked, server: AskedServer, ask: () => Promise<T>): Promise<T> {
    if (beside === undefined) return await ask();
    const giveUp = server.grpcBeside(beside);
    try {
      await until(() => server.waiting > 0);
      return await ask();
    } finally {
      giveUp();
      await until(() => server.waiting === 0);
    }
  }

  async function grpcFails(row: Asked, asked: GrpcCall): Promise<void> {
    const server = servers[row.server ?? "plain"];
    const error: ServiceError = await besideAnother(row, server, () =>
      server.grpc(asked).then(
        () => assert.fail("the call succeeded"),
        (thrown) => thrown,
      ),
    );
    assert.match(error.details, matches(server.inFolder(row.text)));
    assert.equal(codeName(error.code as Code), row.code);
  }

  async function restFails(row: Asked, asked: RestCall): Promise<void> {
    const server = servers[row.server ?? "plain"];
    const { status, body } = await besideAnother(row, server, () => server.rest(asked));
    const { error, ...others } = JSON.parse(body) as { error: string };
    assert.match(error, matches(server.inFolder(row.text)));
    assert.deepEqual([status, others], [httpStatus[row.code], {}]);
  }

  async function versionFails({ version, code, text }: Extract<Row, { readonly version: string }>): Promise<void> {
    const server = servers.batched;
    const expected = matches(server.inFolder(text));
    const { modelVersionStatus } = (await server.grpc({
      rpc: "getModelStatus",
      request: { modelSpec: { name: version } },
    })) as { modelVersionStatus: { state: number; status: { errorCode: number; errorMessage: string } }[] };
    const [{ state, status } = assert.fail("no version")] = modelVersionStatus;
    assert.match(status.errorMessage, expected);
    assert.deepEqual([state, codeName(status.errorCode as Code)], [50, code]);
    const { body } = await server.rest({ method: "GET", path: `/v1/models/${version}` });
    const [told] = JSON.parse(body).model_version_status;
    assert.match(told.status.error_message, expected);
    assert.deepEqual([told.state, told.status.error_code], ["END", code]);
  }

  async function startFails({ start, file, text }: Extract<Row, { readonly start: readonly string[] }>): Promise<void> {
    const { folder } = servers.plain;
    if (file !== undefined) writeFileSync(join(folder.path, "file"), file);
    const flags = start.map((flag) => servers.plain.inFolder(flag));
    await assert.rejects(
      async () => {
        await using _ = await startTestServer(...flags, ...once.filter((flag) => !start.includes(flag)));
      },
      { message: matches(servers.plain.inFolder(text)) },
    );
  }
});
