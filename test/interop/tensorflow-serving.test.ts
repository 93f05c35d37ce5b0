// TensorFlow Serving's own Python client, from the packages that its users install. See tensorflow_serving_client.py.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { findTool } from "../support/find-tool.js";
import { ModelFolder } from "../support/model-folder.js";
import { repositoryRoot } from "../support/repository-root.js";
import { affineModel, carriedTypes, identityModel } from "../support/test-models.js";
import { startTestServer } from "../support/test-server.js";

/** Found by name only: importing TensorFlow takes seconds. */
const findPackages =
  "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in ('tensorflow','tensorflow_serving','grpc')))";
const python = [process.env["TENSORFLOW_SERVING_PYTHON"], findTool("python3")].find(
  (path) => path !== undefined && spawnSync(path, ["-c", findPackages], { timeout: 20_000 }).status === 0,
);

/** What examples of different length are padded with, in text form. */
const padding = { floats: 'defaults { key: "x" value { dtype: DT_FLOAT float_val: -1 } }', texts: "" };
const regression = (key: string, more = "") => `
  signature_def {
    key: "${key}"
    value {
      inputs { key: "x" value { name: "x" } }
      outputs { key: "outputs" value { name: "y" } }
      method_name: "tensorflow/serving/regress"
      ${more}
    }
  }`;

describe("TensorFlow Serving's Python client", {
  skip: python === undefined ? "there is no Python with tensorflow-serving-api and tensorflow" : false,
}, () => {
  // Each transport once, each form of answers once: starting TensorFlow takes most of the time.
  for (const [transport, content] of [
    ["http2", false],
    ["grpc-js", true],
  ] as const)
    it(`gets what it expects over ${transport}, ${content ? "tensor_content" : "typed fields"} in answers`, async () => {
      using folder = new ModelFolder();
      for (const version of [1, 2]) folder.copyBundled("half_plus_two", version);
      folder.copyBundled("iris", 1);
      folder.publish("line", 1, affineModel(2, 1));
      writeFileSync(
        join(folder.basePath("line"), "1", "signature_defs.pbtxt"),
        regression("regress") + regression("regress_again"),
      );
      for (const [name, dtype] of [
        ["floats", "float32"],
        ["texts", "string"],
      ] as const) {
        folder.publish(name, 1, identityModel(dtype, ["batch", "steps"]));
        writeFileSync(join(folder.basePath(name), "1", "signature_defs.pbtxt"), regression("padded", padding[name]));
      }
      for (const dtype of carriedTypes) folder.publish(`identity_${dtype}`, 1, identityModel(dtype));
      const identities = carriedTypes.map((dtype) => [`identity_${dtype}`, ""]);
      const config = folder.writeConfig({
        half_plus_two: 'model_version_policy { all {} } version_labels { key: "stable" value: 1 }',
        iris: "",
        line: "",
        floats: "",
        texts: "",
        ...Object.fromEntries(identities),
      });
      await using server = await startTestServer(
        `--model_config_file=${config}`,
        "--allow_version_labels_for_unavailable_models",
        `--grpc_transport=${transport}`,
        `--enable_serialization_as_tensor_content=${content}`,
      );
      const script = join(repositoryRoot, "test", "interop", "tensorflow_serving_client.py");
      const run = promisify(execFile)(python!, [script, server.target, folder.path], { timeout: 100_000 });
      const { stderr } = await run.catch((error) => assert.fail(`${error.stdout}\n${error.stderr}`));
      assert.match(stderr, /^OK$/m);
      assert.match(stderr, /^Ran 16 tests/m);
    });
});
