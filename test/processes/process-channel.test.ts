import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { describe, it } from "node:test";
import { ProcessChannel, ProcessEnded } from "../../src/processes/index.js";
import { silentLogger } from "../../src/telemetry/index.js";

interface Offered {
  ask(nothing: undefined): string;
  connect(nothing: undefined): void;
}

describe("ProcessChannel", () => {
  it("ends with a process that is killed while a connection is on its way to it, and so does the connection", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], {
      stdio: ["ignore", "pipe", "inherit", "ipc"],
      serialization: "advanced",
    });
    child.stdout!.resume();
    let closed = 0;
    const channel = new ProcessChannel<Offered, Record<never, never>>(
      child,
      {},
      { peerName: "the child", logger: silentLogger, onClosed: () => closed++ },
    );
    const server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    client.on("error", () => {});
    const [accepted] = (await once(server, "connection")) as [Socket];
    child.kill("SIGSTOP");
    channel.notify("connect", undefined, accepted);
    const asked = assert.rejects(channel.call("ask", undefined), ProcessEnded);
    const ended = once(client.resume(), "close");
    child.kill("SIGKILL");
    await Promise.all([asked, ended]);
    assert.equal(closed, 1);
    await assert.rejects(channel.call("ask", undefined), ProcessEnded);
    server.close();
  });
});
