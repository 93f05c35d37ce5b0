import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { runClientCommand } from "../../src/client/cli.js";
import { EchoModelServer } from "../support/echo-model-server.js";

describe("onnxd on the command line", () => {
  let server: EchoModelServer;
  let folder: string;
  before(async () => {
    server = await EchoModelServer.start();
    folder = mkdtempSync(join(tmpdir(), "onnxd-cli-"));
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await server[Symbol.asyncDispose]();
  });

  async function run(argv: readonly string[], input = "") {
    const written = { out: "", error: "" };
    const exitCode = await runClientCommand(
      argv,
      { ONNXD_TARGET: server.target },
      {
        out: (text) => {
          written.out += text;
        },
        error: (text) => {
          written.error += text;
        },
        readInput: () => input,
      },
    );
    return { exitCode, ...written };
  }

  it("predicts, for people", async () => {
    const { exitCode, out } = await run(["predict", "echo", "--input", "x=[[1,2],[3,9007199254740993]]"]);
    assert.equal(exitCode, 0);
    assert.equal(out, "x  int64 [2,2]\n[[1, 2],\n [3, 9007199254740993]]\n");
  });

  it("prints float32 in the digits that it has, which are read back as the same", async () => {
    const values = [0.1, 1 / 3, 16_777_217, 3.4028234663852886e38, 1e-45, -2.5, 0.30000001192092896].map(Math.fround);
    const { out } = await run(["predict", "echo", "--input", `f=[${values}]`, "--json"]);
    const { data } = JSON.parse(out).outputs.f;
    assert.deepEqual(data.map(Math.fround), values);
    assert.deepEqual(data, [0.1, 0.33333334, 16_777_216, 3.4028235e38, 1e-45, -2.5, 0.3]);
  });

  it("predicts, for programs: integers in all their digits, NaN as text", async () => {
    const { out } = await run(["predict", "echo", "--input=x=[[-9223372036854775808,2]]", "--json"]);
    assert.equal(
      out,
      '{"model":"echo","version":7,"outputs":{"x":{"dtype":"int64","shape":[1,2],"data":[[-9223372036854775808,2]]}}}\n',
    );
    const floats = await run(["predict", "echo", "--input", "f=[NaN,-Infinity,0.5]", "--json"]);
    assert.deepEqual(JSON.parse(floats.out).outputs.f.data, ["NaN", "-Infinity", 0.5]);
  });

  it("reads inputs from files and from standard input, strings as they are", async () => {
    const file = join(folder, "x.json");
    writeFileSync(file, "[[5, 6]]");
    assert.match((await run(["predict", "echo", "--input", `x=@${file}`])).out, /\[\[5, 6\]\]/);
    const all = await run(
      ["predict", "echo", "--input", "@-"],
      '{"x": [[1, 2]], "any": "NaN 12345678901234567890 \\"q\\""}',
    );
    assert.match(all.out, /^any {2}string \[\]\n"NaN 12345678901234567890 \\"q\\""$/m);
  });

  it("asks over the Open Inference Protocol when told to", async () => {
    server.calls.length = 0;
    const { exitCode } = await run(["predict", "echo", "--protocol=open_inference", "--input", "x=[[1,2]]"]);
    assert.equal(exitCode, 0);
    assert.ok(server.calls.every((path) => path.startsWith("/inference.GRPCInferenceService/")));
  });

  it("lists models, states and signatures", async () => {
    assert.equal(
      (await run(["models"])).out,
      "MODEL  VERSION  STATE      LABELS\necho   7        AVAILABLE  stable\nother\n",
    );
    assert.equal(
      (await run(["status", "echo"])).out,
      "VERSION  STATE      ERROR\n8        END        bad file\n7        AVAILABLE\n",
    );
    assert.equal(
      (await run(["metadata", "echo"])).out,
      "echo, version 7\n  signature serving_default\n    input  x    int64   [-1,2]\n    input  any  string  any shape\n",
    );
    assert.deepEqual(JSON.parse((await run(["models", "--json"])).out)[0].versions[0].labels, ["stable"]);
  });

  it("fails with 1 and the status when the call fails", async () => {
    server.refusals.push({ code: 5, details: "Servable not found for request: Latest(none)" });
    const people = await run(["status", "none"]);
    assert.deepEqual(people, {
      exitCode: 1,
      out: "",
      error: "NOT_FOUND: Servable not found for request: Latest(none)\n",
    });
    server.refusals.push({ code: 5, details: "gone" });
    const programs = await run(["status", "none", "--json"]);
    assert.deepEqual(programs, { exitCode: 1, out: '{"error":"gone","code":"NOT_FOUND"}\n', error: "" });
  });

  it("refuses a wrong command line with 2 and says how it goes", async () => {
    const wrong: readonly (readonly string[])[] = [
      ["predict"],
      ["models", "echo"],
      ["status", "a", "b"],
      ["predict", "echo", "--input", "x"],
      ["predict", "echo", "--input", "x=[1"],
      ["predict", "echo", "--input", 'x={"a":1}'],
      ["predict", "echo", "--input", "@/no/such/file"],
      ["predict", "echo", "--unknown"],
      ["status", "echo", "--version", "one"],
      ["status", "echo", "--protocol", "soap"],
    ];
    for (const argv of wrong) {
      const { exitCode, out, error } = await run(argv);
      assert.equal(exitCode, 2, argv.join(" "));
      assert.equal(out, "");
      assert.match(error, /usage: onnxd predict/);
      assert.match(error, /onnxd \w+ --help lists the flags\.\n$/);
    }
    const help = await run(["predict", "--help"]);
    assert.equal(help.exitCode, 0);
    assert.match(help.out, /^usage/);
  });
});
