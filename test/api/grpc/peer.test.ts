import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { tcpPeer, unixPeer } from "../../../src/api/grpc/peer.js";

describe("peers", () => {
  it("are named by address and port, and known to be local or not", () => {
    assert.deepEqual(tcpPeer("127.0.0.1", 5), { address: "127.0.0.1:5", local: true });
    assert.deepEqual(tcpPeer("127.8.9.1", 5), { address: "127.8.9.1:5", local: true });
    assert.deepEqual(tcpPeer("::1", 5), { address: "[::1]:5", local: true });
    assert.deepEqual(tcpPeer("::ffff:127.0.0.1", 5), { address: "127.0.0.1:5", local: true });
    assert.deepEqual(tcpPeer("::ffff:10.0.0.1", 5), { address: "10.0.0.1:5", local: false });
    assert.deepEqual(tcpPeer("2001:db8::1", 5), { address: "[2001:db8::1]:5", local: false });
    assert.deepEqual(tcpPeer("192.168.0.9", 5), { address: "192.168.0.9:5", local: false });
    assert.deepEqual(tcpPeer(undefined, undefined), { address: "unknown", local: false });
    assert.deepEqual(unixPeer("/run/x.sock"), { address: "unix:/run/x.sock", local: true });
  });
});
