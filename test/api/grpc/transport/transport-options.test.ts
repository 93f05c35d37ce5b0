import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { validateGrpcTransportOptions } from "../../../../src/api/grpc/transport/transport-options.js";

describe("gRPC transport options", () => {
  it("default to 64 MiB requests and connections of any age", () => {
    const options = validateGrpcTransportOptions({});
    assert.equal(options.maxReceiveMessageBytes, 67_108_864);
    assert.equal(options.maxConnectionAgeMs, 0);
    assert.ok(Object.isFrozen(options));
  });

  it("are refused by name", () => {
    assert.throws(
      () => validateGrpcTransportOptions({ maxReceiveMessageBytes: 0 }),
      /^StatusError: maxReceiveMessageBytes/,
    );
    assert.throws(() => validateGrpcTransportOptions({ maxConcurrentStreams: 1.5 }), /maxConcurrentStreams/);
    assert.throws(() => validateGrpcTransportOptions({ maxConnectionAgeMs: -1 }), /maxConnectionAgeMs/);
  });
});
