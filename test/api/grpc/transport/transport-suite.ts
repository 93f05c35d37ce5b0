// What every transport promises, told once. Each transport's test file runs it.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, constants } from "node:http2";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { compressionAlgorithms, status } from "@grpc/grpc-js";
import { createDispatcher } from "../../../../src/api/grpc/dispatch.js";
import { standardInterceptors } from "../../../../src/api/grpc/interceptors.js";
import type { Call, GrpcTransport, Method, ServiceTable } from "../../../../src/api/grpc/service-table.js";
import type { GrpcTransportDeps } from "../../../../src/api/grpc/transport/grpc-js.js";
import {
  type GrpcTransportOptions,
  validateGrpcTransportOptions,
} from "../../../../src/api/grpc/transport/transport-options.js";
import { type Clock, systemClock } from "../../../../src/clock.js";
import { Code, codeName, notFound, StatusError } from "../../../../src/status.js";
import type { CallRecord } from "../../../../src/telemetry/index.js";
import { FakeClock } from "../../../support/fake-clock.js";
import { LogRecorder } from "../../../support/log-recorder.js";
import { collect, RawGrpcClient } from "../../../support/raw-grpc-client.js";
import { RawHttp2Call } from "../../../support/raw-http2-call.js";

export type CreateTransport = (
  table: ServiceTable,
  options: GrpcTransportOptions,
  deps: GrpcTransportDeps,
) => GrpcTransport;

const bytes = (text: string): Buffer => Buffer.from(text);
const codec = { decode: (message: Uint8Array) => message, encode: (message: Uint8Array) => message };

/** What a test's handlers are written as: bytes in, bytes out. */
export const methods = {
  unary: (path: string, handle: (request: Uint8Array, call: Call) => Uint8Array | Promise<Uint8Array>): Method => ({
    ...codec,
    kind: "unary",
    path,
    handle,
  }),
  serverStream: (path: string, handle: (request: Uint8Array, call: Call) => AsyncIterable<Uint8Array>): Method => ({
    ...codec,
    kind: "server-stream",
    path,
    handle,
  }),
  clientStream: (
    path: string,
    handle: (requests: AsyncIterable<Uint8Array>, call: Call) => Promise<Uint8Array>,
  ): Method => ({ ...codec, kind: "client-stream", path, handle }),
  bidi: (
    path: string,
    handle: (requests: AsyncIterable<Uint8Array>, call: Call) => AsyncIterable<Uint8Array>,
  ): Method => ({ ...codec, kind: "bidi", path, handle }),
};

interface EndedCall {
  readonly record: CallRecord;
  readonly code: Code;
  readonly message: string;
}

interface Running extends AsyncDisposable {
  readonly transport: GrpcTransport;
  readonly target: string;
  readonly client: RawGrpcClient;
  readonly log: LogRecorder;
  readonly ended: EndedCall[];
}

async function run(
  create: CreateTransport,
  table: readonly Method[],
  given: Partial<GrpcTransportOptions> = {},
  clock: Clock = systemClock,
): Promise<Running> {
  const log = new LogRecorder();
  const ended: EndedCall[] = [];
  const serviceTable = new Map(table.map((method) => [method.path, method]));
  const interceptors = standardInterceptors(clock, (record, code, _durationMs, message) =>
    ended.push({ record, code, message }),
  );
  const dispatcher = createDispatcher(serviceTable, { interceptors, logger: log, clock });
  const transport = create(serviceTable, validateGrpcTransportOptions(given), { dispatcher, logger: log, clock });
  const port = await transport.listenTcp("127.0.0.1", 0);
  const target = `127.0.0.1:${port}`;
  const client = new RawGrpcClient(target);
  return {
    transport,
    target,
    client,
    log,
    ended,
    async [Symbol.asyncDispose]() {
      client.close();
      await transport.close(0);
    },
  };
}

/** Waits until something that another process or stream causes has come about. */
async function eventually(condition: () => boolean): Promise<void> {
  for (let turns = 0; turns < 200_000; turns++) {
    if (condition()) return;
    await turn();
  }
  assert.fail(`never came true: ${condition}`);
}

const echo = methods.unary("/test.Echo/Unary", (request) => request);

export function transportSuite(name: string, create: CreateTransport): void {
  describe(`${name}: unary calls`, () => {
    it("hands over bytes, metadata and peer, and sends back response, headers and trailers", async () => {
      let seen: Call | undefined;
      const method = methods.unary("/test.Echo/Unary", async (request, call) => {
        seen = call;
        call.setHeader("x-head", "one");
        call.setHeader("x-head-bin", bytes("\u0000\u00ff"));
        call.setTrailer("x-tail", "two");
        return request;
      });
      await using server = await run(create, [method]);
      const fields = {
        "x-text": "value, with comma",
        "x-raw-bin": Buffer.from([0, 255, 128]),
        "x-request-id": "req-7",
      };
      const result = await server.client.unary("/test.Echo/Unary", "payload", fields);
      assert.equal(result.error, undefined);
      assert.equal(String(result.response), "payload");
      assert.deepEqual(result.headers?.get("x-head"), ["one"]);
      assert.deepEqual(result.headers?.get("x-head-bin"), [Buffer.from("\u0000\u00ff")]);
      assert.deepEqual(result.trailers.get("x-tail"), ["two"]);
      assert.deepEqual(result.trailers.get("x-request-id"), ["req-7"]);
      assert.equal(seen?.path, "/test.Echo/Unary");
      assert.equal(seen?.metadata.get("x-text"), "value, with comma");
      assert.deepEqual(Buffer.from(seen?.metadata.get("x-raw-bin") as Uint8Array), Buffer.from([0, 255, 128]));
      assert.equal(seen?.metadata.get("x-absent"), undefined);
      assert.match(seen?.peer.address ?? "", /^127\.0\.0\.1:\d+$/);
      assert.equal(seen?.peer.local, true);
      assert.equal(server.ended.length, 1);
      assert.equal(server.ended[0]?.code, Code.OK);
      assert.equal(server.ended[0]?.record.requestId, "req-7");
    });

    it("gives calls without a usable request id one of its own, each another", async () => {
      await using server = await run(create, [echo]);
      const first = await server.client.unary("/test.Echo/Unary", "");
      const second = await server.client.unary("/test.Echo/Unary", "", { "x-request-id": "x".repeat(200) });
      const ids = [first, second].map((result) => String(result.trailers.get("x-request-id")[0]));
      assert.match(ids[0]!, /^[\w-]{12}$/);
      assert.match(ids[1]!, /^[\w-]{12}$/);
      assert.notEqual(ids[0], ids[1]);
    });

    it("sends a StatusError as it is, thrown at once or later", async () => {
      await using server = await run(create, [
        methods.unary("/test.Fail/Now", (_request, call) => {
          call.setHeader("x-head", "kept");
          throw notFound('100% of "modèle"\nnot there');
        }),
        methods.unary("/test.Fail/Later", async () => {
          await turn();
          throw new StatusError(Code.DATA_LOSS, "gone");
        }),
      ]);
      const now = await server.client.unary("/test.Fail/Now", "");
      assert.equal(now.error?.code, status.NOT_FOUND);
      assert.equal(now.error?.details, '100% of "modèle"\nnot there');
      assert.deepEqual(now.trailers.get("x-head"), ["kept"]);
      assert.equal(now.trailers.get("x-request-id").length, 1);
      const later = await server.client.unary("/test.Fail/Later", "");
      assert.equal(later.error?.code, status.DATA_LOSS);
      assert.equal(later.error?.details, "gone");
      assert.deepEqual(
        server.ended.map(({ code, message }) => [code, message]),
        [
          [Code.NOT_FOUND, '100% of "modèle"\nnot there'],
          [Code.DATA_LOSS, "gone"],
        ],
      );
      assert.deepEqual(server.log.of("error"), []);
    });

    it("answers INTERNAL to anything else that is thrown, logs its stack, and tells the client nothing of it", async () => {
      const defect = () => {
        throw new TypeError("secret detail");
      };
      await using server = await run(create, [
        methods.unary("/test.Fail/Now", defect),
        methods.unary("/test.Fail/Later", async () => defect()),
        { ...methods.unary("/test.Fail/Encode", (request) => request), encode: defect },
      ]);
      for (const path of ["/test.Fail/Now", "/test.Fail/Later", "/test.Fail/Encode"]) {
        const { error, trailers } = await server.client.unary(path, "");
        assert.equal(error?.code, status.INTERNAL, path);
        assert.doesNotMatch(error?.details ?? "", /secret/);
        const line = server.log.of("error").at(-1);
        assert.match(line?.message ?? "", /secret detail/);
        assert.match(String(line?.fields["stack"]), /TypeError: secret detail\n {4}at /);
        assert.equal(line?.fields["requestId"], trailers.get("x-request-id")[0]);
      }
      assert.equal(server.log.of("error").length, 3);
    });

    it("cuts messages after 1024 bytes, at a whole character", async () => {
      await using server = await run(create, [
        methods.unary("/test.Fail/Long", () => {
          throw notFound(`x${"é".repeat(600)}`);
        }),
        methods.unary("/test.Fail/Exact", () => {
          throw notFound("y".repeat(1024));
        }),
      ]);
      const long = await server.client.unary("/test.Fail/Long", "");
      assert.equal(long.error?.details, `x${"é".repeat(511)}...TRUNCATED`);
      const exact = await server.client.unary("/test.Fail/Exact", "");
      assert.equal(exact.error?.details, "y".repeat(1024));
    });

    it("answers malformed messages with INTERNAL and the reason, and what a codec refuses with the codec's own status", async () => {
      await using server = await run(create, [
        {
          ...echo,
          path: "/test.Echo/Malformed",
          decode: () => {
            throw new RangeError("premature end");
          },
        },
        {
          ...echo,
          path: "/test.Echo/Refused",
          decode: () => {
            throw new StatusError(Code.INVALID_ARGUMENT, "no such thing");
          },
        },
      ]);
      const malformed = await server.client.unary("/test.Echo/Malformed", "x");
      assert.equal(malformed.error?.code, status.INTERNAL);
      assert.equal(malformed.error?.details, "Request of /test.Echo/Malformed is not a valid message: premature end");
      const refused = await server.client.unary("/test.Echo/Refused", "x");
      assert.equal(refused.error?.code, status.INVALID_ARGUMENT);
      assert.deepEqual(server.log.of("error"), []);
    });

    it("answers UNIMPLEMENTED to unknown methods and services", async () => {
      await using server = await run(create, [echo]);
      for (const path of ["/test.Echo/Other", "/other.Service/Unary", "/test.Echo/unary"]) {
        assert.equal((await server.client.unary(path, "")).error?.code, status.UNIMPLEMENTED, path);
      }
    });

    it("carries 10 MB each way and empty messages", async () => {
      await using server = await run(create, [echo]);
      const big = Buffer.alloc(10_000_000, "0123456789");
      const result = await server.client.unary("/test.Echo/Unary", big);
      assert.ok(result.response?.equals(big));
      const empty = await server.client.unary("/test.Echo/Unary", "");
      assert.equal(empty.response?.length, 0);
    });

    it("refuses a message over the limit by the flag's name, and takes one at the limit", async () => {
      await using server = await run(create, [echo], { maxReceiveMessageBytes: 1000 });
      assert.equal((await server.client.unary("/test.Echo/Unary", Buffer.alloc(1000))).error, undefined);
      const { error } = await server.client.unary("/test.Echo/Unary", Buffer.alloc(1001));
      assert.equal(error?.code, status.RESOURCE_EXHAUSTED);
      assert.match(
        error?.details ?? "",
        /Received message larger than max \(1001 vs\.? 1000\).*--max_receive_message_bytes/,
      );
      const far = await server.client.unary("/test.Echo/Unary", Buffer.alloc(3_000_000));
      assert.equal(far.error?.code, status.RESOURCE_EXHAUSTED);
      assert.deepEqual(
        server.ended.map(({ code }) => code),
        [Code.OK, Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED],
      );
      // The connection lives on.
      assert.equal((await server.client.unary("/test.Echo/Unary", "still here")).error, undefined);
    });

    it("inflates gzip and deflate, and bounds what comes out", async () => {
      await using server = await run(create, [echo], { maxReceiveMessageBytes: 100_000 });
      for (const algorithm of [compressionAlgorithms.gzip, compressionAlgorithms.deflate]) {
        using client = new RawGrpcClient(server.target, { "grpc.default_compression_algorithm": algorithm });
        const fits = await client.unary("/test.Echo/Unary", Buffer.alloc(100_000, "z"));
        assert.equal(fits.error, undefined);
        assert.equal(fits.response?.length, 100_000);
        const bomb = await client.unary("/test.Echo/Unary", Buffer.alloc(50_000_000));
        assert.equal(bomb.error?.code, status.RESOURCE_EXHAUSTED);
        assert.match(bomb.error?.details ?? "", /--max_receive_message_bytes/);
      }
    });
  });

  describe(`${name}: cancellation and deadlines`, () => {
    /** A handler that waits until its call is cancelled. */
    function waiting() {
      const seen: { call?: Call; reason?: StatusError } = {};
      const handle = (_request: Uint8Array, call: Call) =>
        new Promise<Uint8Array>((_resolve, reject) => {
          seen.call = call;
          call.cancellation.onCancel((reason) => {
            seen.reason = reason;
            reject(reason);
          });
        });
      return { seen, method: methods.unary("/test.Wait/Unary", handle) };
    }

    it("tells the handler when the client cancels", async () => {
      const { seen, method } = waiting();
      await using server = await run(create, [method]);
      const call = server.client.unary("/test.Wait/Unary", "");
      await eventually(() => seen.call !== undefined);
      call.cancel();
      assert.equal((await call).error?.code, status.CANCELLED);
      await eventually(() => seen.reason !== undefined);
      assert.equal(seen.reason?.code, Code.CANCELLED);
      assert.deepEqual(
        server.ended.map(({ code }) => code),
        [Code.CANCELLED],
      );
      assert.deepEqual(server.log.of("error"), []);
    });

    it("tells the handler when the connection is lost", async () => {
      const { seen, method } = waiting();
      await using server = await run(create, [method]);
      const client = new RawGrpcClient(server.target);
      const call = client.unary("/test.Wait/Unary", "");
      await eventually(() => seen.call !== undefined);
      client.getChannel().close();
      call.cancel();
      await call;
      await eventually(() => seen.reason !== undefined);
      assert.equal(seen.reason?.code, Code.CANCELLED);
    });

    it("ends a call whose deadline passes, on its own clock", async () => {
      const clock = new FakeClock();
      const { seen, method } = waiting();
      await using server = await run(create, [method], {}, clock);
      await server.client.unary("/test.Wait/None", ""); // connected; the transport may keep time for the connection
      const idle = clock.pending;
      server.ended.length = 0;
      const call = server.client.unary("/test.Wait/Unary", "", {}, { deadline: Date.now() + 3_600_000 });
      await eventually(() => seen.call !== undefined);
      const left = seen.call!.cancellation.deadlineMs! - clock.now();
      assert.ok(left > 3_590_000 && left <= 3_600_000, String(left));
      clock.advance(3_500_000);
      assert.deepEqual(server.ended, []);
      clock.advance(100_010); // deadlines are up to 10 ms late
      assert.equal(seen.reason?.code, Code.DEADLINE_EXCEEDED);
      const { error } = await call;
      assert.equal(error?.code, status.DEADLINE_EXCEEDED);
      assert.equal(error?.details, "Deadline exceeded");
      assert.equal(clock.pending, idle);
    });

    it("keeps deadlines that 32 bits of milliseconds cannot hold", async () => {
      await using server = await run(create, [echo]);
      for (const days of [20, 30, 60, 3650]) {
        const { error } = await server.client.unary(
          "/test.Echo/Unary",
          "",
          { "x-days": String(days) },
          { deadline: new Date(Date.now() + days * 86_400_000) },
        );
        assert.equal(error, undefined, `${days} days: ${error?.message}`);
      }
    });

    it("leaves no timer behind a call that ended in time", async () => {
      const clock = new FakeClock();
      await using server = await run(create, [echo], {}, clock);
      await server.client.unary("/test.Echo/Unary", "");
      const idle = clock.pending;
      const deadline = Date.now() + 60_000;
      assert.equal((await server.client.unary("/test.Echo/Unary", "", {}, { deadline })).error, undefined);
      assert.equal(clock.pending, idle);
    });
  });

  describe(`${name}: streams`, () => {
    it("streams responses in order and ends with OK", async () => {
      await using server = await run(create, [
        methods.serverStream("/test.Count/Up", async function* (request) {
          for (let count = 0; count < Number(Buffer.from(request).toString()); count++) {
            yield bytes(String(count));
          }
        }),
      ]);
      const { responses, error } = await collect(server.client.serverStream("/test.Count/Up", "1000"));
      assert.equal(error, undefined);
      assert.deepEqual(
        responses,
        Array.from({ length: 1000 }, (_, index) => String(index)),
      );
      const none = await collect(server.client.serverStream("/test.Count/Up", "0"));
      assert.deepEqual(none, { responses: [], error: undefined });
    });

    it("makes a handler wait for a client that does not read, and closes it when the client leaves", async () => {
      let produced = 0;
      let closed = false;
      await using server = await run(create, [
        methods.serverStream("/test.Flood/Out", async function* () {
          try {
            for (;;) {
              produced += 1;
              yield Buffer.alloc(100_000);
            }
          } finally {
            closed = true;
          }
        }),
      ]);
      using reader = openUnread(server.target, "/test.Flood/Out");
      await eventually(() => produced > 0);
      for (let still = 0, before = -1; still < 50; before = produced) {
        await turn();
        still = produced === before ? still + 1 : 0;
      }
      assert.ok(produced < 100, `${produced} messages of 100 kB without a reader`);
      reader.cancel();
      await eventually(() => closed && server.ended.length === 1);
      assert.equal(server.ended[0]?.code, Code.CANCELLED);
    });

    it("sends what was streamed before an error, then the error", async () => {
      await using server = await run(create, [
        methods.serverStream("/test.Break/Midway", async function* () {
          yield bytes("first");
          throw notFound("no second");
        }),
        methods.serverStream("/test.Break/Defect", async function* () {
          yield bytes("first");
          throw new Error("defect");
        }),
        methods.serverStream("/test.Break/AtOnce", () => {
          throw notFound("nothing at all");
        }),
      ]);
      const midway = await collect(server.client.serverStream("/test.Break/Midway", ""));
      assert.deepEqual(midway.responses, ["first"]);
      assert.equal(midway.error?.code, status.NOT_FOUND);
      assert.equal(midway.error?.details, "no second");
      const defect = await collect(server.client.serverStream("/test.Break/Defect", ""));
      assert.equal(defect.error?.code, status.INTERNAL);
      const atOnce = await collect(server.client.serverStream("/test.Break/AtOnce", ""));
      assert.equal(atOnce.error?.code, status.NOT_FOUND);
    });

    it("takes a client's stream, one message ahead of the handler at most", async () => {
      let read = 0;
      let decoded = 0;
      let go: () => void = () => {};
      const paused = new Promise<void>((resolve) => {
        go = resolve;
      });
      const sum: Method = {
        kind: "client-stream",
        path: "/test.Sum/In",
        decode: (message) => {
          decoded += 1;
          return message.length;
        },
        encode: (total: number) => bytes(String(total)),
        handle: async (requests: AsyncIterable<number>) => {
          let total = 0;
          for await (const length of requests) {
            read += 1;
            total += length;
            if (read === 3) await paused;
          }
          return total;
        },
      };
      await using server = await run(create, [sum]);
      const { stream, done } = server.client.clientStream("/test.Sum/In");
      for (let index = 0; index < 100; index++) stream.write(Buffer.alloc(1000));
      stream.end();
      await eventually(() => read === 3);
      for (let turns = 0; turns < 100; turns++) await turn();
      assert.equal(read, 3);
      assert.ok(decoded <= 4, `${decoded} decoded`);
      go();
      assert.equal(String((await done).response), "100000");
    });

    it("answers a client's stream early when the handler needs no more", async () => {
      await using server = await run(create, [
        methods.clientStream("/test.First/In", async (requests) => {
          for await (const request of requests) return request;
          throw notFound("no request at all");
        }),
      ]);
      const { stream, done } = server.client.clientStream("/test.First/In");
      stream.on("error", () => {});
      stream.write(bytes("one"));
      assert.equal(String((await done).response), "one");
      const empty = server.client.clientStream("/test.First/In");
      empty.stream.end();
      assert.equal((await empty.done).error?.code, status.NOT_FOUND);
    });

    it("talks both ways at once", async () => {
      await using server = await run(create, [
        methods.bidi("/test.Chat/Both", async function* (requests) {
          yield bytes("hello");
          for await (const request of requests) yield bytes(`${Buffer.from(request)}!`);
          yield bytes("bye");
        }),
      ]);
      const stream = server.client.bidi("/test.Chat/Both");
      const received: string[] = [];
      stream.on("data", (message: Buffer) => {
        received.push(String(message));
        if (received.length === 1) stream.write(bytes("a"));
        if (received.length === 2) stream.write(bytes("b"));
        if (received.length === 3) stream.end();
      });
      await new Promise((resolve) => stream.on("end", resolve));
      assert.deepEqual(received, ["hello", "a!", "b!", "bye"]);
      assert.deepEqual(
        server.ended.map(({ code }) => code),
        [Code.OK],
      );
    });

    it("does not take a reset for the end of a client's stream", async () => {
      // A half-sent upload that was cancelled must never look like a whole one.
      const outcomes: string[] = [];
      let received = 0;
      await using server = await run(create, [
        methods.clientStream("/test.Upload/In", async (requests) => {
          try {
            for await (const _request of requests) received += 1;
            outcomes.push("complete");
          } catch (error) {
            outcomes.push(codeName((error as StatusError).code));
            throw error;
          }
          return bytes("");
        }),
      ]);
      for (const leave of [
        (call: RawHttp2Call) => call.reset(),
        (call: RawHttp2Call) => call.socket.destroy(),
        (call: RawHttp2Call) => call.socket.end(),
      ]) {
        using call = new RawHttp2Call(Number(server.target.split(":")[1]), "/test.Upload/In");
        call.message(bytes("first part"));
        const ends = outcomes.length + 1;
        await eventually(() => received === ends);
        call.data(Buffer.concat([Buffer.from([0, 0, 0, 0, 99]), bytes("half a message")]));
        leave(call);
        await eventually(() => outcomes.length === ends && server.ended.length === ends);
      }
      assert.deepEqual(outcomes, ["CANCELLED", "CANCELLED", "CANCELLED"]);
      assert.deepEqual(
        server.ended.map(({ code }) => code),
        [Code.CANCELLED, Code.CANCELLED, Code.CANCELLED],
      );
      assert.deepEqual(server.log.of("error"), []);
    });

    it("refuses two requests where one is due, and none", async () => {
      await using server = await run(create, [echo]);
      for (const count of [0, 2]) {
        const { stream, done } = server.client.clientStream("/test.Echo/Unary");
        stream.on("error", () => {});
        for (let index = 0; index < count; index++) stream.write(bytes("x"));
        stream.end();
        const { error } = await done;
        assert.equal(error?.code, status.UNIMPLEMENTED, `${count} requests`);
      }
    });

    it("refuses a message in the middle of a stream that cannot be decoded", async () => {
      await using server = await run(create, [
        {
          kind: "client-stream",
          path: "/test.Sum/In",
          decode: (message) => {
            if (message.length === 3) throw new Error("three bytes");
            return message.length;
          },
          encode: () => bytes(""),
          handle: async (requests: AsyncIterable<number>) => {
            for await (const _length of requests);
          },
        },
      ]);
      const { stream, done } = server.client.clientStream("/test.Sum/In");
      stream.on("error", () => {});
      stream.write(Buffer.alloc(2));
      stream.write(Buffer.alloc(3));
      const { error } = await done;
      assert.equal(error?.code, status.INTERNAL);
      assert.match(error?.details ?? "", /three bytes/);
    });
  });

  describe(`${name}: closing`, () => {
    it("lets calls in flight finish and takes no new connection", async () => {
      let finish: (response: Uint8Array) => void = () => {};
      let started = false;
      const slow = methods.unary("/test.Slow/Unary", () => {
        started = true;
        return new Promise((resolve) => {
          finish = resolve;
        });
      });
      const clock = new FakeClock();
      await using server = await run(create, [slow], {}, clock);
      const call = server.client.unary("/test.Slow/Unary", "");
      await eventually(() => started);
      const closed = server.transport.close(10_000);
      using late = new RawGrpcClient(server.target);
      assert.equal((await late.unary("/test.Slow/Unary", "")).error?.code, status.UNAVAILABLE);
      finish(bytes("done"));
      assert.equal(String((await call).response), "done");
      await closed;
      assert.equal(clock.pending, 0);
    });

    it("ends open streams with UNAVAILABLE once the grace is over", async () => {
      let closedHandler = false;
      const watch = methods.serverStream("/test.Watch/Forever", async function* (_request, call) {
        yield bytes("first");
        try {
          await new Promise((_resolve, reject) => call.cancellation.onCancel(reject));
        } finally {
          closedHandler = true;
        }
      });
      const clock = new FakeClock();
      await using server = await run(create, [watch], {}, clock);
      const stream = server.client.serverStream("/test.Watch/Forever", "");
      const result = collect(stream);
      await eventually(() => server.ended.length === 0);
      await new Promise((resolve) => stream.once("data", resolve));
      const closed = server.transport.close(10_000);
      await turn();
      clock.advance(9_999);
      assert.equal(closedHandler, false);
      clock.advance(1);
      const { error } = await result;
      assert.equal(error?.code, status.UNAVAILABLE);
      await closed;
      await eventually(() => closedHandler);
      assert.equal(clock.pending, 0);
    });

    it("cuts connections that do not end by themselves", async () => {
      const clock = new FakeClock();
      let started = false;
      const flood = methods.serverStream("/test.Flood/Out", async function* () {
        started = true;
        for (;;) yield Buffer.alloc(100_000);
      });
      await using server = await run(create, [flood], {}, clock);
      // Its window stays closed, so no status can reach it.
      using _reader = openUnread(server.target, "/test.Flood/Out");
      await eventually(() => started);
      let closed = false;
      const closing = server.transport.close(1_000).then(() => {
        closed = true;
      });
      clock.advance(1_000);
      for (let turns = 0; turns < 100; turns++) await turn();
      assert.equal(closed, false);
      clock.advance(1_000);
      await closing;
    });

    it("closes at once when nobody is connected", async () => {
      const server = await run(create, [echo], {}, new FakeClock());
      server.client.close();
      await server.transport.close(1_000_000);
      await server.transport.close(1_000_000);
    });
  });

  describe(`${name}: addresses`, () => {
    function withFolder(body: (folder: string) => Promise<void>): () => Promise<void> {
      return async () => {
        const folder = mkdtempSync(join(tmpdir(), "onnxd-socket-"));
        try {
          await body(folder);
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
      };
    }

    it(
      "serves a Unix socket, open to owner and group, and removes it at the end",
      withFolder(async (folder) => {
        let peer: Call["peer"] | undefined;
        const path = join(folder, "grpc.sock");
        {
          await using server = await run(create, [
            methods.unary("/test.Echo/Unary", (request, call) => {
              peer = call.peer;
              return request;
            }),
          ]);
          await server.transport.listenUnix(path);
          assert.equal(statSync(path).mode & 0o777, 0o660);
          using client = new RawGrpcClient(`unix:${path}`);
          assert.equal(String((await client.unary("/test.Echo/Unary", "by file")).response), "by file");
          assert.deepEqual(peer, { address: `unix:${path}`, local: true });
        }
        assert.equal(existsSync(path), false);
      }),
    );

    it(
      "replaces a socket that nobody listens on, and nothing else",
      withFolder(async (folder) => {
        await using server = await run(create, [echo]);
        const stale = join(folder, "stale.sock");
        // A killed process leaves its socket file: bind one, and close it under another name.
        await leaveStaleSocket(stale);
        assert.ok(statSync(stale).isSocket());
        await server.transport.listenUnix(stale);
        using client = new RawGrpcClient(`unix:${stale}`);
        assert.equal((await client.unary("/test.Echo/Unary", "")).error, undefined);

        await using second = await run(create, [echo]);
        await assert.rejects(second.transport.listenUnix(stale), /another server listens there/);
        const file = join(folder, "notes.txt");
        writeFileSync(file, "keep me");
        chmodSync(file, 0o600);
        await assert.rejects(second.transport.listenUnix(file), /not a socket/);
        assert.ok(existsSync(file));
      }),
    );

    it("says which address it could not listen on", async () => {
      await using server = await run(create, [echo]);
      const [host, port] = server.target.split(":");
      await using second = await run(create, [echo]);
      await assert.rejects(
        second.transport.listenTcp(host!, Number(port)),
        (error) => error instanceof StatusError && error.message.includes(`Cannot listen on ${server.target}`),
      );
    });
  });
}

async function leaveStaleSocket(path: string): Promise<void> {
  const { renameSync } = await import("node:fs");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.live`, resolve));
  renameSync(`${path}.live`, path);
  await new Promise((resolve) => server.close(resolve));
}

/** A call whose response is never read: grpc-js's own client would buffer it without end. */
function openUnread(target: string, path: string): Disposable & { cancel(): void } {
  const session = connect(`http://${target}`);
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => {});
  stream.end(Buffer.alloc(5));
  return {
    cancel: () => stream.close(constants.NGHTTP2_CANCEL),
    [Symbol.dispose]: () => session.destroy(),
  };
}
