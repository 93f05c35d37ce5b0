import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { type CallReceiver, createDispatcher } from "../../../src/api/grpc/dispatch.js";
import { deadlineInterceptor, type Interceptor, telemetryInterceptor } from "../../../src/api/grpc/interceptors.js";
import type { Call, Method } from "../../../src/api/grpc/service-table.js";
import { Code, permissionDenied, type StatusError, unavailable } from "../../../src/status.js";
import { FakeClock } from "../../support/fake-clock.js";
import { LogRecorder } from "../../support/log-recorder.js";
import { PuppetCall } from "../../support/puppet-call.js";

const bytes = (text: string): Uint8Array => Buffer.from(text);
/** Tells of a message that has others around it. */
const tell = (receiver: CallReceiver, text: string) => receiver.message(bytes(`<${text}>`), 1, 1 + bytes(text).length);
const codec = { decode: (message: Uint8Array) => message, encode: (message: Uint8Array) => message };
const echo: Method = { ...codec, kind: "unary", path: "/t/Echo", handle: (request: Uint8Array) => request };

function dispatching(method: Method, interceptors: readonly Interceptor[] = [], clock = new FakeClock()) {
  const log = new LogRecorder();
  const dispatch = createDispatcher(new Map([[method.path, method]]), { interceptors, logger: log, clock });
  return { dispatch, log, clock };
}

/** Begins a call, sends its one request, and lets promises settle. */
async function callOnce(method: Method, interceptors: readonly Interceptor[] = [], call = new PuppetCall(method.path)) {
  const { dispatch, log } = dispatching(method, interceptors);
  const receiver = dispatch(call);
  tell(receiver, "hi");
  receiver.halfClose();
  await turn();
  return { call, log, receiver };
}

describe("interceptors", () => {
  it("see a call in order, and its end in reverse", async () => {
    const seen: string[] = [];
    const named =
      (name: string): Interceptor =>
      () => {
        seen.push(`${name} begins`);
        return (code) => seen.push(`${name} ends ${code}`);
      };
    const { call } = await callOnce(echo, [named("first"), named("second")]);
    assert.deepEqual(call.messages, ["hi"]);
    assert.deepEqual(seen, ["first begins", "second begins", "second ends 0", "first ends 0"]);
  });

  it("refuse a call before any message is asked for, and those before them hear of its end", async () => {
    const ends: [Code, string][] = [];
    let later = 0;
    const observe: Interceptor = () => (code, message) => ends.push([code, message]);
    const refuse: Interceptor = () => {
      throw permissionDenied("not you");
    };
    const count: Interceptor = () => {
      later += 1;
      return undefined;
    };
    const call = new PuppetCall("/t/Echo");
    dispatching(echo, [observe, refuse, count]).dispatch(call);
    assert.equal(call.reads, 0);
    assert.deepEqual([call.status?.code, call.status?.message], [Code.PERMISSION_DENIED, "not you"]);
    assert.deepEqual(ends, [[Code.PERMISSION_DENIED, "not you"]]);
    assert.equal(later, 0);
  });

  it("may take their time, and refuse after it", async () => {
    const slow =
      (refusal?: StatusError): Interceptor =>
      async () => {
        await turn();
        if (refusal !== undefined) throw refusal;
        return undefined;
      };
    const admitted = new PuppetCall("/t/Echo");
    dispatching(echo, [slow(), slow()]).dispatch(admitted);
    assert.equal(admitted.reads, 0);
    await turn();
    await turn();
    await turn();
    assert.equal(admitted.reads, 1);
    const refused = new PuppetCall("/t/Echo");
    dispatching(echo, [slow(permissionDenied("no"))]).dispatch(refused);
    await turn();
    await turn();
    assert.equal(refused.status?.code, Code.PERMISSION_DENIED);
    assert.equal(refused.reads, 0);
  });

  it("hear of the end even of a call that ended while they were deciding", async () => {
    const ends: Code[] = [];
    const slow: Interceptor = async () => {
      await turn();
      return (code) => ends.push(code);
    };
    let handled = false;
    const method: Method = {
      ...echo,
      handle: () => {
        handled = true;
        return bytes("");
      },
    } as Method;
    const receiver = dispatching(method, [slow]).dispatch(new PuppetCall("/t/Echo"));
    receiver.cancel();
    await turn();
    await turn();
    assert.deepEqual(ends, [Code.CANCELLED]);
    assert.equal(handled, false);
  });

  it("that fail at the end are logged, and keep nobody else from hearing it", async () => {
    let heard = false;
    const good: Interceptor = () => () => {
      heard = true;
    };
    const bad: Interceptor = () => () => {
      throw new Error("broken observer");
    };
    const { call, log } = await callOnce(echo, [good, bad]);
    assert.equal(call.status?.code, Code.OK);
    assert.ok(heard);
    assert.match(log.of("error")[0]?.message ?? "", /broken observer/);
  });

  it("measure a call on the clock, up to its end", async () => {
    const clock = new FakeClock();
    const durations: number[] = [];
    const slow: Method = {
      ...echo,
      handle: () => {
        clock.advance(30);
        return bytes("done");
      },
    } as Method;
    const observe = telemetryInterceptor(clock, (_record, _code, durationMs) => durations.push(durationMs));
    const receiver = dispatching(slow, [observe], clock).dispatch(new PuppetCall("/t/Echo"));
    clock.advance(12);
    tell(receiver, "");
    receiver.halfClose();
    assert.deepEqual(durations, [42]);
  });
});

describe("dispatch", () => {
  it("ends unknown methods, and says which", () => {
    const call = new PuppetCall("/t/Other");
    const ends: Code[] = [];
    dispatching(echo, [() => (code) => ends.push(code)]).dispatch(call);
    assert.deepEqual([call.status?.code, call.status?.message], [Code.UNIMPLEMENTED, "Unknown method /t/Other"]);
    assert.deepEqual(ends, [Code.UNIMPLEMENTED]);
  });

  it("refuses a call whose deadline has passed before it reads it", () => {
    const clock = new FakeClock();
    for (const timeoutMs of [0, -5]) {
      const call = new PuppetCall("/t/Echo", timeoutMs);
      dispatching(echo, [deadlineInterceptor(clock)], clock).dispatch(call);
      assert.equal(call.status?.code, Code.DEADLINE_EXCEEDED);
      assert.equal(call.reads, 0);
    }
  });

  it("keeps deadlines that no timer can, without a timer", () => {
    const clock = new FakeClock();
    const call = new PuppetCall("/t/Echo", 30 * 86_400_000);
    dispatching(echo, [deadlineInterceptor(clock)], clock).dispatch(call);
    assert.equal(call.reads, 1);
    assert.equal(clock.pending, 0);
  });

  it("ignores what a handler says after the call has ended, but logs its defects", async () => {
    for (const [settle, logged] of [
      [(resolve: (value: Uint8Array) => void) => resolve(bytes("late")), 0],
      [(_: unknown, reject: (error: Error) => void) => reject(unavailable("late")), 0],
      [(_: unknown, reject: (error: Error) => void) => reject(new Error("a defect")), 1],
    ] as const) {
      let finish = () => {};
      const method: Method = {
        ...echo,
        handle: () =>
          new Promise<Uint8Array>((resolve, reject) => {
            finish = () => settle(resolve, reject);
          }),
      } as Method;
      const { call, log, receiver } = await callOnce(method);
      receiver.cancel();
      finish();
      await turn();
      assert.equal(call.status, undefined); // nobody is there to hear one
      assert.equal(log.of("error").length, logged);
    }
  });

  it("ends a call once, whatever comes afterwards", async () => {
    const { call, receiver } = await callOnce(echo);
    receiver.cancel();
    receiver.fail(unavailable("late"));
    tell(receiver, "late");
    receiver.halfClose();
    receiver.drained();
    assert.equal(call.status?.code, Code.OK);
    assert.deepEqual(call.messages, ["hi"]);
  });

  it("cancels what is still done for a call that was refused from outside", async () => {
    let cancellation: Call["cancellation"] | undefined;
    const method: Method = {
      ...echo,
      handle: (_request: Uint8Array, call: Call) => {
        cancellation = call.cancellation;
        return new Promise(() => {});
      },
    } as Method;
    const { receiver, call } = await callOnce(method);
    receiver.fail(unavailable("closing"));
    assert.equal(cancellation?.reason?.message, "closing");
    assert.equal(call.status?.code, Code.UNAVAILABLE);
  });

  it("refuses header fields that HTTP/2 cannot carry as the defect they are", async () => {
    for (const [key, value] of [
      ["Upper", "x"],
      ["key", "line\nbreak"],
      ["key", " padded"],
      ["key", "ümlaut"],
      ["key-bin", "text"],
      ["key", bytes("raw")],
    ] as const) {
      const method: Method = {
        ...echo,
        handle: (request: Uint8Array, call: Call) => {
          call.setTrailer(key, value);
          return request;
        },
      } as Method;
      const { call, log } = await callOnce(method);
      assert.equal(call.status?.code, Code.INTERNAL, key);
      assert.equal(log.of("error").length, 1);
    }
  });

  it("waits for room between the messages of a stream, and stops waiting when the call ends", async () => {
    let closed = 0;
    const stream: Method = {
      ...codec,
      kind: "server-stream",
      path: "/t/Stream",
      handle: async function* () {
        try {
          for (let count = 0; ; count++) yield bytes(String(count));
        } finally {
          closed += 1;
        }
      },
    };
    const call = new PuppetCall("/t/Stream");
    call.hasRoom = false;
    const receiver = dispatching(stream).dispatch(call);
    tell(receiver, "");
    receiver.halfClose();
    await turn();
    assert.deepEqual(call.messages, ["0"]);
    receiver.drained();
    await turn();
    assert.deepEqual(call.messages, ["0", "1"]);
    receiver.cancel();
    await turn();
    assert.equal(closed, 1);
    assert.deepEqual(call.messages, ["0", "1"]);
  });

  it("closes a stream whose message cannot be encoded", async () => {
    let closed = 0;
    const stream: Method = {
      ...codec,
      encode: () => {
        throw new Error("unencodable");
      },
      kind: "server-stream",
      path: "/t/Stream",
      handle: async function* () {
        try {
          yield bytes("x");
          yield bytes("y");
        } finally {
          closed += 1;
        }
      },
    };
    const { call, log } = await callOnce(stream);
    assert.equal(call.status?.code, Code.INTERNAL);
    assert.equal(closed, 1);
    assert.equal(log.of("error").length, 1);
  });

  it("asks for a client's next message only when the handler does", async () => {
    let next = () => {};
    const method: Method = {
      ...codec,
      kind: "client-stream",
      path: "/t/In",
      handle: async (requests: AsyncIterable<Uint8Array>) => {
        let all = "";
        for await (const request of requests) {
          all += Buffer.from(request);
          await new Promise<void>((resolve) => {
            next = resolve;
          });
        }
        return bytes(all);
      },
    };
    const call = new PuppetCall("/t/In");
    const receiver = dispatching(method).dispatch(call);
    await turn();
    assert.equal(call.reads, 1);
    tell(receiver, "a");
    await turn();
    assert.equal(call.reads, 1);
    next();
    await turn();
    assert.equal(call.reads, 2);
    receiver.halfClose();
    await turn();
    assert.deepEqual(call.messages, ["a"]);
  });

  it("lets a handler that asks twice at once know its mistake", async () => {
    const method: Method = {
      ...codec,
      kind: "client-stream",
      path: "/t/In",
      handle: async (requests: AsyncIterable<Uint8Array>) => {
        const iterator = requests[Symbol.asyncIterator]();
        await Promise.all([iterator.next(), iterator.next()]);
        return bytes("");
      },
    };
    const call = new PuppetCall("/t/In");
    const { dispatch, log } = dispatching(method);
    dispatch(call);
    await turn();
    assert.equal(call.status?.code, Code.INTERNAL);
    assert.equal(log.of("error").length, 1);
  });
});
