import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A REST server of the Open Inference Protocol that gives each binary input back as an output of the same name. */
export class EchoRestServer implements AsyncDisposable {
  /** "POST /v2/models/m/infer" of every call, in order. */
  readonly calls: string[] = [];
  headers: IncomingHttpHeaders = {};
  /** The JSON part of the last inference. */
  // biome-ignore lint/suspicious/noExplicitAny: what a client sent, for tests to look at.
  request: any;
  /** Taken from the front, one a call, in the place of the echo. */
  readonly answers: Answer[] = [];
  readonly #server = createServer((request, response) => {
    this.calls.push(`${request.method} ${request.url}`);
    this.headers = request.headers;
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const answer = this.answers.shift();
      if (answer !== undefined) {
        response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.body);
        return;
      }
      const body = Buffer.concat(chunks);
      const headLength = Number(request.headers["inference-header-content-length"]);
      this.request = JSON.parse(body.toString("utf8", 0, headLength));
      const head = Buffer.from(
        JSON.stringify({ model_name: "echo", model_version: "7", outputs: this.request.inputs }),
      );
      response.writeHead(200, {
        "content-type": "application/octet-stream",
        "inference-header-content-length": String(head.length),
      });
      response.end(Buffer.concat([head, body.subarray(headLength)]));
    });
  });

  static async start(): Promise<EchoRestServer> {
    const echo = new EchoRestServer();
    await new Promise<void>((resolve) => echo.#server.listen(0, "127.0.0.1", resolve));
    return echo;
  }

  get target(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
