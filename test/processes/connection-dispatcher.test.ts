import assert from "node:assert/strict";
import { Socket } from "node:net";
import { describe, it } from "node:test";
import { ConnectionDispatcher, type ConnectionTaker } from "../../src/processes/index.js";

/** Notes what it was given; says that it has it only when told to. */
class Taker implements ConnectionTaker<string> {
  readonly got: string[] = [];
  take(_socket: Socket, door: string): void {
    this.got.push(door);
  }
}

function dispatching() {
  const dispatcher = new ConnectionDispatcher<string>();
  const [a, b] = [new Taker(), new Taker()];
  dispatcher.add(a);
  dispatcher.add(b);
  const accept = (...doors: string[]) => {
    for (const door of doors) dispatcher.accept(new Socket(), door);
  };
  /** Takes all that comes. */
  const takeAll = (taker: Taker) => {
    for (let got = -1; got < taker.got.length; ) {
      got = taker.got.length;
      dispatcher.taken(taker);
    }
  };
  return { dispatcher, a, b, accept, takeAll };
}

describe("ConnectionDispatcher", () => {
  it("gives each connection to whoever has the fewest, one at a time", () => {
    const { dispatcher, a, b, accept, takeAll } = dispatching();
    accept("1", "2", "3", "4", "5");
    assert.deepEqual([a.got, b.got], [["1"], ["2"]]);
    takeAll(a);
    takeAll(b);
    assert.deepEqual(
      [a.got, b.got],
      [
        ["1", "3", "5"],
        ["2", "4"],
      ],
    );
    assert.deepEqual([dispatcher.open(a), dispatcher.open(b)], [3, 2]);
  });

  it("passes over a taker that takes nothing, which gets its part again once it does", () => {
    const { dispatcher, a, b, accept, takeAll } = dispatching();
    accept("1", "2", "3", "4");
    takeAll(b);
    for (let look = 0; look < 2; look++) dispatcher.passOverStuck();
    takeAll(b);
    accept("5", "6");
    takeAll(b);
    assert.deepEqual([a.got, b.got], [["1"], ["2", "4", "3", "5", "6"]]);
    assert.deepEqual([dispatcher.open(a), dispatcher.open(b)], [1, 5]);
    takeAll(a);
    accept("7");
    assert.deepEqual(a.got, ["1", "7"]);
  });

  it("passes over nobody when all are stuck, and loses nothing of what one that ends was not sent", () => {
    const { dispatcher, a, b, accept, takeAll } = dispatching();
    accept("1", "2", "3", "4");
    for (let look = 0; look < 3; look++) dispatcher.passOverStuck();
    accept("5");
    dispatcher.remove(a);
    takeAll(b);
    assert.deepEqual([a.got, b.got], [["1"], ["2", "4", "3", "5"]]);
  });
});
