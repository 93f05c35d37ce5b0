// Triton's and KServe's own Python clients, from the packages that their users install, at the door of the process that a
// user starts: a Triton repository as it is. See triton_client.py and kserve_client.py.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { encodeModel, GraphBuilder } from "../../src/onnx/index.js";
import { findTool } from "../support/find-tool.js";
import { ModelFolder } from "../support/model-folder.js";
import { repositoryRoot } from "../support/repository-root.js";
import { ServerProcess } from "../support/server-process.js";
import {
  affineModel,
  carriedTypes,
  failingModel,
  identityModel,
  mlpModel,
  severalInputsModel,
  slowModel,
} from "../support/test-models.js";

/** A Python that has the package. Found by name only: importing it takes seconds. */
function pythonWith(module: string): string | undefined {
  const found = `import importlib.util as u, sys; sys.exit(u.find_spec('${module}') is None)`;
  return [process.env["OPEN_INFERENCE_PYTHON"], findTool("python3")].find(
    (path) => path !== undefined && spawnSync(path, ["-c", found], { timeout: 20_000 }).status === 0,
  );
}

const classifierConfig = `
  name: "classifier"
  platform: "onnxruntime_onnx"
  max_batch_size: 8
  version_policy { all {} }
  input [ { name: "features" data_type: TYPE_FP32 dims: [ 4 ] } ]
  output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
  dynamic_batching { max_queue_delay_microseconds: 100 }
  instance_group [ { kind: KIND_CPU count: 1 } ]
  model_warmup [ { name: "zeros" batch_size: 2 inputs { key: "features" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } } } ]
  parameters { key: "intra_op_thread_count" value { string_value: "1" } }
`;
const reshapedConfig = `
  backend: "onnxruntime"
  max_batch_size: 4
  input { name: "x" data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }
  output { name: "y" data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }
`;

/** Everything that the clients ask for; "later" and "broken" lie there without being loaded at start. */
function writeRepository(folder: ModelFolder): readonly string[] {
  const configure = (model: string, text: string, file = "config.pbtxt") =>
    writeFileSync(join(folder.basePath(model), file), text);
  for (const dtype of carriedTypes) {
    folder.publish(`identity_${dtype}`, 1, identityModel(dtype, ["batch", "width"]));
  }
  for (const version of [1, 2]) folder.publish("classifier", version, mlpModel([4, 5, 3]));
  configure("classifier", classifierConfig);
  configure("classifier", "a\nb\nc\n", "labels.txt");
  folder.publish("reshaped", 1, affineModel(2, 1, 4));
  configure("reshaped", reshapedConfig);
  folder.copyBundled("half_plus_two", 1, { model: "elements" });
  configure("elements", "max_batch_size: 16");
  folder.publish("several", 1, severalInputsModel());
  folder.publish("batched", 1, sumModel());
  configure("batched", "max_batch_size: 4");
  folder.publish("failing", 1, failingModel());
  folder.publish("slow", 1, slowModel(4000));
  folder.publish("later", 1, affineModel(3, 0));
  folder.publish("broken", 1, Buffer.from("not a model"));
  const atStart = ["classifier", "reshaped", "elements", "several", "batched", "failing", "slow"];
  return [...atStart, ...carriedTypes.map((dtype) => `identity_${dtype}`)].map((name) => `--load_model=${name}`);
}

/** sum = a + b, both of shape [batch, 2]. */
function sumModel(): Uint8Array {
  const graph = new GraphBuilder("sum");
  const rows = ["a", "b"].map((name) => graph.input(name, "float32", ["batch", 2]));
  graph.node("Add", rows, {}, { outputs: ["sum"] });
  graph.output("sum", "float32", ["batch", 2]);
  return encodeModel(graph);
}

async function runSuite(python: string, script: string, transport: string): Promise<string> {
  using folder = new ModelFolder();
  await using server = await ServerProcess.start(
    `--model_repository=${folder.path}`,
    "--model_control_mode=explicit",
    "--log_level=error",
    `--grpc_transport=${transport}`,
    ...writeRepository(folder),
  );
  const { target, url } = server;
  const given = [join(repositoryRoot, "test", "interop", script), target, url.slice("http://".length), folder.path];
  const run = promisify(execFile)(python, given, { timeout: 100_000 });
  const { stderr } = await run.catch((error) => assert.fail(`${error.stdout}\n${error.stderr}\n${server.output}`));
  assert.match(stderr, /^OK$/m);
  return stderr;
}

// Each client over the one of the two gRPC transports: starting Python takes most of the time.
const triton = pythonWith("tritonclient");
describe("Triton's Python clients", {
  skip: triton === undefined ? "there is no Python with tritonclient" : false,
}, () => {
  it("get what they expect", async () => {
    assert.match(await runSuite(triton!, "triton_client.py", "http2"), /^Ran 25 tests/m);
  });
});

const kserve = pythonWith("kserve");
describe("KServe's Python clients", { skip: kserve === undefined ? "there is no Python with kserve" : false }, () => {
  it("get what they expect", async () => {
    assert.match(await runSuite(kserve!, "kserve_client.py", "grpc-js"), /^Ran 8 tests/m);
  });
});
