// What docs/training.md and the README's section on training tell people to paste, pasted in order.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { runClientCommand } from "../../src/client/cli.js";
import type { Codec } from "../../src/client/grpc-channel.js";
import { fromProtoJson } from "../../src/client/training/proto-json.js";
import { columnKinds } from "../../src/training/data/column-spec.js";
import { activationNames } from "../../src/training/layers/layer-spec.js";
import { shortFormNames } from "../../src/training/layers/short-forms.js";
import { findTool } from "../support/find-tool.js";
import { RawGrpcClient } from "../support/raw-grpc-client.js";
import { repositoryRoot } from "../support/repository-root.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const asBytes: Codec<Uint8Array> = { encode: (bytes) => ({ finish: () => bytes }), decode: (bytes) => bytes };

const page = readFileSync(join(repositoryRoot, "docs", "training.md"), "utf8");
const blocks = (language: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((match) => match[1]!);
const lines = blocks("sh")
  .join("")
  .split("\n")
  .filter((line) => /^(npx onnxd|curl|grpcurl) /.test(line));

describe("docs/training.md", () => {
  let server: TestServer;
  let folder: string;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "onnxd-training-docs-"));
    server = await startTestServer(`--training_dir=${folder}`, "--training_concurrency=3");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  it("shows the specs of the examples as they are", () => {
    const files = [...new Set(page.match(/docs\/examples\/\S+\.json(?= --data)/g))];
    assert.ok(files.length >= 6);
    const shown = blocks("json").map((text) => JSON.parse(text));
    for (const file of files) {
      const spec = JSON.parse(readFileSync(join(repositoryRoot, file), "utf8"));
      assert.ok(
        shown.some((each) => JSON.stringify(each) === JSON.stringify(spec)),
        file,
      );
    }
  });

  it("has the README's lines among its own", () => {
    const readme = readFileSync(join(repositoryRoot, "README.md"), "utf8").split("\n");
    const pasted = readme.filter((line) => line.startsWith("npx onnxd "));
    assert.ok(pasted.length >= 2);
    for (const line of pasted) assert.ok(lines.includes(line), line);
  });

  it("names every layer, activation, classic and kind of column", () => {
    const proto = readFileSync(join(repositoryRoot, "proto", "onnxd", "v1", "training.proto"), "utf8");
    const layers = [...proto.match(/oneof layer \{([^}]*)\}/)![1]!.matchAll(/(\w+) = /g)].map((match) => match[1]!);
    assert.ok(layers.length >= 19);
    for (const name of [...layers, ...activationNames, ...shortFormNames, ...columnKinds]) {
      assert.ok(page.includes(`\`${name}\``), name);
    }
  });

  for (const line of lines) {
    const tool = line.split(" ")[0]!;
    const missing = findTool(tool) === undefined;
    const skip = tool === "curl" && missing ? "curl is not on the path" : false;
    it(`does: ${line.slice(0, 100)}`, { skip }, async () => {
      const out =
        tool === "npx" ? await onnxd(line) : tool === "grpcurl" && missing ? await ask(line) : await paste(line);
      for (const [command, expected] of answers) if (line.startsWith(command)) assert.match(out, expected);
    });
  }

  /** What the page promises of some lines. */
  const answers: readonly (readonly [string, RegExp])[] = [
    ["npx onnxd train docs/examples/temperature", /Published as version 1 of "fahrenheit"[\s\S]*predict fahrenheit/],
    ["npx onnxd predict fahrenheit", /21[12]\.\d|212/],
    ["npx onnxd train docs/examples/fruit/spec.json", /Gate: accuracy .*: met\n\nPublished as version 1 of "fruit"/],
    ["npx onnxd predict fruit", /"banana"/],
    [
      "npx onnxd train docs/examples/fruit/update.json",
      /"weight_g": its mean is [\s\S]*Published as version 2 of "fruit"/,
    ],
    ["npx onnxd predict support_team", /"delivery"/],
    ["npx onnxd train docs/examples/odd-or-even", /Published as version 1 of "odd_or_even"/],
    ["npx onnxd evaluate odd_or_even", /true +even +odd\n/],
  ];

  async function onnxd(line: string): Promise<string> {
    const argv = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!).slice(2);
    const here = argv.map((word) => (/^(docs|test)\//.test(word) ? join(repositoryRoot, word) : word));
    let [out, error] = ["", ""];
    const io = {
      out: (text: string) => {
        out += text;
      },
      error: (text: string) => {
        error += text;
      },
      readInput: () => "",
    };
    const exitCode = await runClientCommand(here, { ONNXD_TARGET: server.target }, io);
    assert.equal(exitCode, 0, error);
    return out;
  }

  /** In grpcurl's place, where there is none: the same message to the same method. */
  async function ask(line: string): Promise<string> {
    const [, text, name] = /-d '(.*)' \S+ onnxd\.v1\.TrainingService\/(\w+)$/.exec(line)!;
    const bytes = fromProtoJson("the line", `onnxd.v1.${name}Request`, asBytes, JSON.parse(text!));
    using client = new RawGrpcClient(server.target);
    const { error } = await client.unary(`/onnxd.v1.TrainingService/${name}`, bytes);
    assert.equal(error, undefined);
    return "";
  }

  async function paste(line: string): Promise<string> {
    const here = line
      .replaceAll("localhost:8500", server.target)
      .replaceAll("http://localhost:8501", server.url)
      .replace(/^curl /, "curl -sS --fail-with-body ");
    return (await promisify(execFile)("sh", ["-c", here], { cwd: repositoryRoot })).stdout;
  }
});
