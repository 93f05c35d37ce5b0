import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { createDispatcher } from "../../../../src/api/grpc/dispatch.js";
import { createGrpcJsTransport } from "../../../../src/api/grpc/transport/grpc-js.js";
import { validateGrpcTransportOptions } from "../../../../src/api/grpc/transport/transport-options.js";
import { systemClock } from "../../../../src/clock.js";
import { silentLogger } from "../../../../src/telemetry/index.js";
import { RawGrpcClient } from "../../../support/raw-grpc-client.js";
import { methods, transportSuite } from "./transport-suite.js";

transportSuite("grpc-js", createGrpcJsTransport);

describe("grpc-js: channel arguments", () => {
  it("win over our own options", async () => {
    const echo = methods.unary("/test.Echo/Unary", (request) => request);
    const table = new Map([[echo.path, echo]]);
    const deps = { logger: silentLogger, clock: systemClock };
    const dispatcher = createDispatcher(table, { interceptors: [], ...deps });
    const channelArguments = new Map([["grpc.max_receive_message_length", 10]]);
    const options = validateGrpcTransportOptions({ maxReceiveMessageBytes: 1000, channelArguments });
    const transport = createGrpcJsTransport(table, options, { dispatcher, ...deps });
    const port = await transport.listenTcp("127.0.0.1", 0);
    using client = new RawGrpcClient(`127.0.0.1:${port}`);
    assert.equal((await client.unary(echo.path, "x".repeat(10))).error, undefined);
    assert.equal((await client.unary(echo.path, "x".repeat(11))).error?.code, status.RESOURCE_EXHAUSTED);
    await transport.close(0);
  });
});
