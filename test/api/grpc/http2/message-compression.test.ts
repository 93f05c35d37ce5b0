import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deflateSync, gzipSync } from "node:zlib";
import {
  chooseResponseEncoding,
  compressMessage,
  Inflater,
} from "../../../../src/api/grpc/transport/http2/message-compression.js";
import { Code, StatusError } from "../../../../src/status.js";

function inflate(inflater: Inflater, message: Uint8Array, encoding = "gzip", maxBytes = 1000) {
  return new Promise<Uint8Array | StatusError>((resolve) =>
    inflater.inflate(message, encoding, maxBytes, () => true, resolve),
  );
}

describe("Inflater", () => {
  it("inflates gzip and deflate up to the limit, and not beyond", async () => {
    const inflater = new Inflater();
    const body = Buffer.alloc(1000, "x");
    assert.deepEqual(await inflate(inflater, gzipSync(body)), body);
    assert.deepEqual(await inflate(inflater, deflateSync(body), "deflate"), body);
    const over = await inflate(inflater, gzipSync(Buffer.alloc(1001)));
    assert.equal((over as StatusError).code, Code.RESOURCE_EXHAUSTED);
  });

  it("inflates a few at a time, in the order they came, and goes on after failures", async () => {
    const inflater = new Inflater();
    const finished: number[] = [];
    const wanted: number[] = [];
    const all = Array.from({ length: 20 }, (_, index) => {
      const message = index % 3 === 0 ? Buffer.from("garbage") : gzipSync(Buffer.alloc(10, index));
      return new Promise<void>((resolve) => {
        const isWanted = () => {
          wanted.push(index);
          return true;
        };
        inflater.inflate(message, "gzip", 100, isWanted, (result) => {
          assert.equal(result instanceof StatusError, index % 3 === 0);
          finished.push(index);
          resolve();
        });
      });
    });
    assert.deepEqual(wanted, [0, 1, 2, 3]);
    await Promise.all(all);
    assert.deepEqual(wanted, [...Array(20).keys()]);
    assert.equal(finished.length, 20);
  });

  it("passes over messages whose calls have ended while they waited", async () => {
    const inflater = new Inflater();
    const done: string[] = [];
    const message = gzipSync("x");
    for (let index = 0; index < 10; index++) {
      inflater.inflate(
        message,
        "gzip",
        100,
        () => index < 4,
        () => done.push(String(index)),
      );
    }
    await inflate(inflater, message);
    assert.deepEqual(done.sort(), ["0", "1", "2", "3"]);
  });
});

describe("response compression", () => {
  it("takes gzip or deflate as the client accepts them", () => {
    assert.equal(chooseResponseEncoding("identity, deflate, gzip"), "gzip");
    assert.equal(chooseResponseEncoding("identity,deflate"), "deflate");
    assert.equal(chooseResponseEncoding("identity"), undefined);
    assert.equal(chooseResponseEncoding(""), undefined);
  });

  it("says so when compressing gains nothing", async () => {
    const compress = (message: Uint8Array) =>
      new Promise<Uint8Array | undefined>((resolve) => compressMessage(message, "gzip", resolve));
    assert.equal(await compress(Buffer.from("abc")), undefined);
    assert.ok((await compress(Buffer.alloc(1000)))!.length < 100);
  });
});
