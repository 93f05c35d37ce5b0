import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { drawCurves } from "../../../src/client/cli/loss-curve.js";
import { predictionLine, readSampleRow } from "../../../src/client/cli/prediction-line.js";
import { formatBar } from "../../../src/client/cli/progress-line.js";
import { runClientCommand } from "../../../src/client/cli.js";
import { Code } from "../../../src/status.js";
import { EvaluateResponse, Evaluation, type JobEvent, Plan } from "../../gen/onnxd/v1/training.js";
import { FakeTrainingServer, jobEvent, jobIn, stateEvent } from "../../support/fake-training-server.js";
import { repositoryRoot } from "../../support/repository-root.js";

const validation = Evaluation.fromPartial({
  metrics: new Map([
    ["loss", 0.2],
    ["accuracy", 0.9667],
    ["f1_macro", 0.96],
  ]),
  rows: 30n,
  confusion: [{ weights: [12, 0] }, { weights: [1, 17] }],
  classLabels: ["setosa", "other"],
});
const plan = Plan.fromPartial({
  parameterCount: 15n,
  parameterBytes: 240n,
  activationBytes: 1808n,
  trainRows: 120n,
  validationRows: 30n,
  stepsPerEpoch: 4n,
  totalSteps: 8n,
  batchSize: 32,
  secondsPerStep: 0.002,
  parameters: [{ name: "dense/weight", shape: [4n, 3n] }],
});
const epoch = (sequence: number, number: number, loss: number) =>
  jobEvent(sequence, {
    $case: "epoch",
    value: { epoch: number, step: BigInt(4 * number), loss, learningRate: 0.01, validation },
  });
const step = (sequence: number, number: number) =>
  jobEvent(sequence, {
    $case: "step",
    value: { step: BigInt(number), epoch: 1, loss: 1, gradientNorm: 1, learningRate: 0.01 },
  });
const outcome = {
  plan,
  evaluation: validation,
  started: new Date(1_700_000_000_000),
  ended: new Date(1_700_000_004_200),
};
const story: readonly JobEvent[] = [
  stateEvent(1, "PENDING", { queuePosition: 2 }),
  stateEvent(2, "RUNNING"),
  jobEvent(3, { $case: "planned", value: plan }),
  jobEvent(4, { $case: "notice", value: 'column "id" is left out' }),
  step(5, 1),
  step(6, 3),
  epoch(7, 1, 1.1),
  epoch(8, 2, 0.4),
  stateEvent(9, "EVALUATING"),
  stateEvent(10, "SUCCEEDED", {
    ...outcome,
    spec: { model: "iris", gate: { conditions: [{ metric: "accuracy", min: 0.9 }] } },
    publishedVersion: 3n,
  }),
];

describe("training on the command line", () => {
  let server: FakeTrainingServer;
  let folder: string;
  let spec: string;
  let data: string;
  before(async () => {
    server = await FakeTrainingServer.start();
    folder = mkdtempSync(join(tmpdir(), "onnxd-cli-training-"));
    spec = join(folder, "spec.json");
    data = join(folder, "data.csv");
    writeFileSync(spec, '{"model": "iris", "layers": [{"dense": {"units": 3}}], "table": {"target": "species"}}');
    writeFileSync(data, "a,species\n1,setosa\n2,other\n");
  });
  beforeEach(() => {
    server.calls.length = 0;
    server.refusals.length = 0;
    server.failures.length = 0;
    server.heard.length = 0;
    server.jobs = [];
    server.story = [...story];
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await server[Symbol.asyncDispose]();
  });

  async function run(
    argv: readonly string[],
    { input = "", columns = 0, onOut = (_: string, __: () => void) => {} } = {},
  ) {
    const written = { out: "", error: "" };
    let interrupt = () => {};
    const exitCode = await runClientCommand(
      argv,
      { ONNXD_TARGET: server.target },
      {
        out: (text) => {
          written.out += text;
          onOut(text, () => interrupt());
        },
        error: (text) => {
          written.error += text;
        },
        readInput: () => input,
        ...(columns > 0 && { columns }),
        onInterrupt: (callback) => {
          interrupt = callback;
          return () => {};
        },
      },
    );
    return { exitCode, ...written };
  }

  it("tells a job's story in plain lines, with the curve, the gate, the version and what to do next", async () => {
    const { exitCode, out, error } = await run(["train", spec, "--data", data]);
    assert.equal(error, "");
    assert.equal(exitCode, 0);
    assert.equal(
      out,
      `Job job-1 trains "iris"
15 parameters, about 2.0 KiB of memory
120 rows to train on, 30 to validate
8 steps of 32 rows, 4 an epoch
note: column "id" is left out
epoch 1/2  loss 1.1000  val_loss 0.2000  accuracy 0.9667  f1_macro 0.9600
epoch 2/2  loss 0.4000  val_loss 0.2000  accuracy 0.9667  f1_macro 0.9600

       * loss   o val_loss
  1.1 |*
      |
      |
      |
      |
      |
      |
      |      *
      |
  0.2 |o     o
      +-------
epoch  1     2

On 30 rows to validate
  loss      0.2000
  accuracy  0.9667
  f1_macro  0.9600

          predicted
  true    setosa  other
  setosa      12      0
  other        1     17

Gate: accuracy 0.9667, at least 0.9: met

Published as version 3 of "iris"
Succeeded in 4.2 s

onnxd metadata iris
`,
    );
    assert.equal(server.heard[0]!.header.spec!.model, "iris");
  });

  it("shows a bar on a terminal, and takes it away before lines that stay", async () => {
    const { out } = await run(["train", spec, "--data", data], { columns: 100 });
    const clear = "\r\u001b[K";
    assert.ok(out.includes(`${clear}waiting: 2 jobs before it`));
    assert.ok(out.includes(`${clear}epoch 1/2  [=========>              ]  37%  loss 1.0000  2 steps/s  2.5 s left`));
    assert.ok(out.includes(`${clear}epoch 1/2  loss 1.1000`));
    const short = await run(["train", spec, "--data", data], { columns: 40 });
    for (const shown of short.out.split(clear).filter((text) => text.startsWith("epoch") && !text.includes("\n"))) {
      assert.equal(shown.length, 39);
    }
  });

  it("says on a terminal that the server is gone, and goes on when it is back", async () => {
    server.failures.push({ after: 2, code: Code.UNAVAILABLE });
    const onOut = (text: string) => {
      if (text.includes("preparing the data")) server.seen(2n);
    };
    const { exitCode, out } = await run(["train", spec, "--data", data], { columns: 100, onOut });
    assert.equal(exitCode, 0);
    assert.ok(out.includes("the server does not answer (UNAVAILABLE); trying again"));
    assert.deepEqual(server.calls.slice(0, 2), ["Train", "WatchJob 3"]);
  });

  it("prints an event a line for programs", async () => {
    const { exitCode, out } = await run(["train", spec, "--data", data, "--json"]);
    assert.equal(exitCode, 0);
    const events = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(events.length, story.length);
    assert.equal(events[0].state.state, "PENDING");
    assert.equal(events[0].state.candidate, false);
    assert.deepEqual(events[0].state.spec, { model: "iris" });
    assert.equal(events[2].planned.parameter_count, "15");
    assert.equal(events.at(-1).state.evaluation.metrics.accuracy, 0.9667);
  });

  it("fails with 1 and the reason when the job fails, and still shows how far it came", async () => {
    server.story = [
      ...story.slice(0, -1),
      stateEvent(10, "FAILED", {
        ...outcome,
        spec: { model: "iris", gate: { conditions: [{ metric: "accuracy", min: 0.99 }] } },
        errorCode: Code.FAILED_PRECONDITION,
        errorMessage: "the gate: accuracy is 0.9667",
      }),
    ];
    const { exitCode, out, error } = await run(["train", spec, "--data", data]);
    assert.equal(exitCode, 1);
    assert.equal(error, "FAILED_PRECONDITION: the gate: accuracy is 0.9667\n");
    assert.match(out, /Gate: accuracy 0.9667, at least 0.99: not met\n$/);
    assert.equal((await run(["train", spec, "--data", data, "--json"])).exitCode, 1);
  });

  it("on Ctrl-C says that the job goes on, and how to follow and how to cancel it", async () => {
    server.neverEnds = true;
    server.story = story.slice(0, 7);
    const onOut = (text: string, interrupt: () => void) => {
      if (text.includes("epoch 1/2")) interrupt();
    };
    const { exitCode, error } = await run(["train", spec, "--data", data], { onOut });
    server.neverEnds = false;
    assert.equal(exitCode, 130);
    assert.match(error, /Job job-1 goes on at the server/);
    assert.match(error, /onnxd jobs job-1 --watch/);
    assert.match(error, /onnxd jobs job-1 --cancel/);
    assert.ok(!server.calls.includes("CancelJob"));
  });

  it("plans without a job, and leaves a job to itself when told to", async () => {
    server.story = [jobEvent(0, { $case: "planned", value: plan })];
    server.story[0]!.job = "";
    const planned = await run(["train", spec, "--data", data, "--dry_run"]);
    assert.equal(planned.exitCode, 0);
    assert.match(planned.out, /^15 parameters.*\n120 rows.*\n8 steps.*\nmemory: weights 240 bytes/);
    assert.match(planned.out, /time: 2 ms a step, about 16 ms in all/);
    assert.match(planned.out, /dense\/weight {2}\[4,3\]/);
    const json = await run(["train", spec, "--data", data, "--dry-run", "--json"]);
    assert.equal(JSON.parse(json.out).parameter_count, "15");

    server.story = [...story];
    server.neverEnds = true;
    const detached = await run(["train", spec, "--data", data, "--detach", "--idempotency_key=mine"]);
    server.neverEnds = false;
    assert.deepEqual(detached, { exitCode: 0, out: "job-1\n", error: "" });
    assert.equal(server.heard.at(-1)!.header.idempotencyKey, "mine");
  });

  it("trains on standard input, and on files of the server's", async () => {
    await run(["train", spec, "--data", "-", "--validation", data], { input: "a,species\n5,x\n" });
    const sets = server.heard[0]!.data.map((chunk) => [chunk.validation, String(chunk.content!.value)]);
    assert.deepEqual(sets, [
      [false, "a,species\n5,x\n"],
      [true, "a,species\n1,setosa\n2,other\n"],
    ]);
    await run(["train", spec, "--server_data", "in/a.csv", "--server_validation", "in/b.csv"]);
    assert.equal(server.started!.data!.file, "in/a.csv");
    assert.equal(server.started!.validationData!.file, "in/b.csv");
  });

  it("ends without a word when its reader has gone", async () => {
    // More than a pipe holds.
    server.story = Array.from({ length: 3000 }, (_, index) => epoch(index + 1, index + 1, 1));
    const main = join(repositoryRoot, "dist", "src", "main.js");
    const child = spawn(process.execPath, [main, "jobs", "job-1", "--watch", `--target=${server.target}`]);
    let error = "";
    child.stderr.on("data", (text) => {
      error += text;
    });
    child.stdout.once("data", () => child.stdout.destroy());
    const [exitCode] = await once(child, "exit");
    assert.deepEqual([exitCode, error], [141, ""]);
  });

  it("lists jobs, shows one, and acts on one", async () => {
    assert.equal((await run(["jobs"])).out, "No jobs\n");
    server.jobs = [
      jobIn("SUCCEEDED", { ...outcome, publishedVersion: 3n }),
      jobIn("FAILED", { id: "job-2", errorCode: Code.INVALID_ARGUMENT, errorMessage: "row 3: no" }),
      jobIn("PENDING", { id: "job-3" }),
    ];
    const listed = await run(["jobs"]);
    assert.match(
      listed.out,
      /^ID +MODEL +STATE +VERSION +ERROR\njob-1 +iris +SUCCEEDED +3\njob-2 .* row 3: no\njob-3 /,
    );
    assert.equal((await run(["jobs", "--state", "failed", "--json"])).out.trimEnd().split("\n").length, 1);
    assert.equal((await run(["jobs", "--limit=1", "--json"])).out.trimEnd().split("\n").length, 1);
    const one = await run(["jobs", "job-1"]);
    assert.match(one.out, /^job +job-1\nmodel +iris\nstate +SUCCEEDED\n/);
    assert.match(one.out, /accuracy +0.9667/);
    const failed = await run(["jobs", "job-2"]);
    assert.match(failed.out, /error +INVALID_ARGUMENT: row 3: no/);
    assert.match((await run(["jobs", "job-1", "--watch"])).out, /epoch 2\/2/);
    assert.equal((await run(["jobs", "job-1", "--cancel"])).out, "Job job-1 is cancelled\n");
    assert.equal((await run(["jobs", "job-1", "--publish"])).out, 'Published as version 4 of "iris"\n');
    assert.equal((await run(["jobs", "job-1", "--delete"])).out, "Job job-1 is deleted\n");
    server.refusals.push({ code: Code.NOT_FOUND, details: "no job x" });
    assert.deepEqual(await run(["jobs", "x"]), { exitCode: 1, out: "", error: "NOT_FOUND: no job x\n" });
  });

  it("evaluates a version: every metric, and the confusion matrix with its labels", async () => {
    server.evaluation = EvaluateResponse.fromPartial({ model: "iris", version: 3n, evaluation: validation });
    const { exitCode, out } = await run(["evaluate", "iris", "--data", data, "--version=3", "--top_k=2"]);
    assert.equal(exitCode, 0);
    assert.match(out, /^iris, version 3, on 30 rows\n {2}loss {6}0\.2000\n/);
    assert.match(out, / {2}setosa {6}12 {6}0\n/);
    assert.equal(server.evaluated!.topK, 2);
    const json = await run(["evaluate", "iris", "--data", data, "--json"]);
    assert.equal(JSON.parse(json.out).evaluation.metrics.accuracy, 0.9667);
  });

  it("refuses a wrong command line with 2, before anything is sent", async () => {
    const misspelt = join(folder, "misspelt.json");
    writeFileSync(misspelt, '{"model": "iris", "epoch": 3}');
    const other = join(folder, "data.xlsx");
    writeFileSync(other, "");
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [["train"], /takes one file/],
      [["train", spec], /takes --data/],
      [["train", join(folder, "none.json"), "--data", data], /ENOENT/],
      [["train", spec, "--data", join(folder, "none.csv")], /ENOENT/],
      [["train", spec, "--data", folder], /is not a file/],
      [["train", spec, "--data", other], /\.csv/],
      [["train", misspelt, "--data", data], /"epoch"/],
      [["train", spec, "--data", data, "--server_data", "a.csv"], /takes --data, or/],
      [["train", spec, "--data", data, "--dry_run", "--detach"], /--detach/],
      [["train", spec, "--data", data, "--input", "x=1"], /--input/],
      [["jobs", "--cancel"], /--cancel takes a job's id/],
      [["jobs", "a", "--cancel", "--delete"], /do not go together/],
      [["jobs", "a", "--limit", "3"], /choose among jobs/],
      [["jobs", "--state", "done"], /no state "done"/],
      [["evaluate", "--data", data], /takes the name of one model/],
      [["evaluate", "iris"], /takes --data/],
      [["evaluate", "iris", "--data", data, "--threshold", "x"], /--threshold takes a number/],
    ];
    for (const [argv, message] of wrong) {
      const { exitCode, out, error } = await run(argv);
      assert.equal(exitCode, 2, argv.join(" "));
      assert.equal(out, "");
      assert.match(error, message);
      assert.match(error, new RegExp(`usage: onnxd ${argv[0]}`));
    }
    assert.deepEqual(server.calls, []);
    assert.match((await run(["train", "--help"])).out, /^usage: onnxd train/);
  });
});

describe("a curve in plain characters", () => {
  it("spans values that differ much by logarithm", () => {
    const values = Array.from({ length: 40 }, (_, epoch) => 10 ** (3 - epoch / 10));
    const drawn = drawCurves([{ mark: "*", name: "loss", values }], { width: 40, height: 5 }).split("\n");
    assert.match(drawn[0]!, /logarithmic/);
    // A straight line: as many marks in each of the middle rows.
    assert.deepEqual(
      drawn.slice(2, 5).map((line) => line.replaceAll(/[^*]/g, "").length),
      [10, 10, 10],
    );
  });

  it("takes as many columns as there are, and leaves out what is not a number", () => {
    const values = Array.from({ length: 1000 }, (_, epoch) => (epoch === 999 ? Number.NaN : 1000 - epoch));
    const drawn = drawCurves([{ mark: "*", name: "loss", values }], { width: 50 });
    assert.ok(drawn.split("\n").every((line) => line.length <= 60));
    assert.doesNotMatch(drawn, /NaN/);
    assert.equal(drawCurves([{ mark: "*", name: "loss", values: [1] }]), "");
    assert.match(drawCurves([{ mark: "*", name: "loss", values: [1, 1] }]), /\|\* {5}\*/);
  });

  it("fills a bar from end to end", () => {
    assert.equal(formatBar(0, 4), "[>   ]   0%");
    assert.equal(formatBar(0.5, 4), "[==> ]  50%");
    assert.equal(formatBar(1, 4), "[====] 100%");
  });
});

describe("the line to paste after training", () => {
  const shape = [-1, 1];
  it("holds the first row, each cell as the model's type takes it", async () => {
    const row = (await readSampleRow({ csv: 'a,"b, c",name,n,flag\r\n1.50,,"it\'s ""so""",3,true\r\n9,9,9,9,9' }))!;
    const line = predictionLine(
      "onnxd",
      "m",
      {
        inputs: {
          a: { dtype: "float32", shape },
          "b, c": { dtype: "float32", shape },
          name: { dtype: "string", shape: [-1] },
          n: { dtype: "int64", shape },
          flag: { dtype: "bool", shape },
        },
        outputs: {},
      },
      row,
    );
    assert.equal(
      line,
      `onnxd predict m --input '{"a": [[1.5]], "b, c": [[NaN]], "name": ["it'\\''s \\"so\\""], "n": [[3]], "flag": [[true]]}'`,
    );
  });

  it("reads JSON lines too, and is left out where the row does not have what the model takes", async () => {
    const row = (await readSampleRow({ rows: [{ a: 2 }] }))!;
    const signature = (name: string) => ({ inputs: { [name]: { dtype: "float32" as const, shape } }, outputs: {} });
    assert.equal(predictionLine("onnxd", "m", signature("a"), row), `onnxd predict m --input '{"a": [[2]]}'`);
    assert.equal(predictionLine("onnxd", "m", signature("b"), row), undefined);
    assert.equal(await readSampleRow({ csv: "a\n" }), undefined);
    const tensors = await readSampleRow({
      tensors: {
        inputs: {
          a: [
            [1, 2],
            [3, 4],
          ],
        },
        targets: [0, 1],
      },
    });
    const two = { inputs: { a: { dtype: "float32" as const, shape: [-1, 2] } }, outputs: {} };
    assert.equal(predictionLine("onnxd", "m", two, tensors!), `onnxd predict m --input '{"a": [[1,2]]}'`);
  });
});
