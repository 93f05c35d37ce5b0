import { Agent, type IncomingHttpHeaders, type RequestOptions, request } from "node:http";
import type { ManagementPolicy } from "../../src/api/auth/management.js";
import { ServingSwitch } from "../../src/api/grpc/serving-switch.js";
import type { ModelControl } from "../../src/api/open-inference/model-control.js";
import { RepositoryCalls } from "../../src/api/open-inference/repository-calls.js";
import { createRestServer, type RestServer, type RestServerOptions } from "../../src/api/rest/http-server.js";
import { TrainingCalls } from "../../src/api/training/training-calls.js";
import { type Clock, systemClock } from "../../src/clock.js";
import type { Code } from "../../src/status.js";
import { type CallRecord, InferenceStatistics } from "../../src/telemetry/index.js";
import { FakeRepository } from "./fake-repository.js";
import { FakeTraining } from "./fake-training.js";
import { LogRecorder } from "./log-recorder.js";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly bytes: Buffer;
}

export interface Observed {
  readonly record: CallRecord;
  readonly code: Code;
  readonly durationMs: number;
  readonly error: string;
}

/** A REST server on a port the system chose, in front of models that are functions, with a client beside it. */
export class RestDoor implements AsyncDisposable {
  readonly repository = new FakeRepository();
  readonly servingSwitch = new ServingSwitch();
  readonly log = new LogRecorder();
  readonly statistics = new InferenceStatistics();
  readonly training = new FakeTraining();
  /** Calls that are over, in that order. */
  readonly observed: Observed[] = [];
  readonly server: RestServer;
  readonly agent = new Agent({ keepAlive: true });
  port = 0;

  constructor(
    options: Partial<RestServerOptions> = {},
    clock: Clock = systemClock,
    control?: ModelControl,
    management: ManagementPolicy = "local",
  ) {
    this.server = createRestServer(
      {
        repository: this.repository,
        servingSwitch: this.servingSwitch,
        observer: (record, code, durationMs, error) =>
          this.observed.push({ record: { ...record }, code, durationMs, error }),
        metricsPage: () => "# TYPE a gauge\na{} 1\n",
        logger: this.log,
        clock,
        training: new TrainingCalls({ service: this.training, management, clock }),
        openInference: {
          repositoryCalls: new RepositoryCalls({ repository: this.repository, control, management }),
          readStatistics: () => this.statistics,
          version: "1.2.3",
        },
      },
      options,
    );
  }

  static async open(
    options: Partial<RestServerOptions> = {},
    clock: Clock = systemClock,
    control?: ModelControl,
    management?: ManagementPolicy,
  ): Promise<RestDoor> {
    const door = new RestDoor(options, clock, control, management);
    door.port = await door.server.listen("127.0.0.1", 0);
    return door;
  }

  /** POST of a body to a model's predict URL, or to another path. */
  post(target: string, body: string | Buffer, headers: Record<string, string> = {}): Promise<Answer> {
    const path = target.startsWith("/") ? target : `/v1/models/${target}:predict`;
    return this.call({ method: "POST", path, headers }, body);
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.call({ method: "GET", path, headers });
  }

  call(options: RequestOptions, body?: string | Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const call = request({ host: "127.0.0.1", port: this.port, agent: this.agent, ...options }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const bytes = Buffer.concat(chunks);
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, bytes, body: bytes.toString() });
        });
      });
      call.on("error", reject);
      call.end(body);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.agent.destroy();
    await this.server.close(0);
  }
}
