// The requests on TensorFlow Serving's page of its REST API (g3doc/api_rest.md), as they stand there, against models of the
// kind that the page speaks of. Two of them are no JSON, by a slip of its authors: they are refused, and answered mended.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { encodeModel, GraphBuilder } from "../../src/onnx/index.js";
import { ModelFolder } from "../support/model-folder.js";
import { identityModel, int64Tensor } from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const rows = `{
 "instances": [
   {
     "tag": "foo",
     "signal": [1, 2, 3, 4, 5],
     "sensor": [[1, 2], [3, 4]]
   },
   {
     "tag": "bar",
     "signal": [3, 4, 1, 2, 5]],
     "sensor": [[4, 5], [6, 8]]
   }
 ]
}`;
const columns = `{
 "inputs": {
   "tag": ["foo", "bar"],
   "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
   "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]
 }
}`;
const captions = `{
  "signature_name": "classify_objects",
  "examples": [
    {
      "image": { "b64": "aW1hZ2UgYnl0ZXM=" },
      "caption": "seaside"
    },
    {
      "image": { "b64": "YXdlc29tZSBpbWFnZSBieXRlcw==" },
      "caption": "mountains"
    }
  ]
}`;
const readings = `{
  "example": [
    {
      "sensor_readings": [ 1.0, -3.14, Nan, Infinity ]
    }
  ]
}`;

/** Answers what it was asked, the tag as bytes too. */
function instrumentsModel(): Uint8Array {
  const graph = new GraphBuilder("instruments");
  for (const [name, dtype, shape] of [
    ["tag", "string", ["batch"]],
    ["signal", "float32", ["batch", 5]],
    ["sensor", "int64", ["batch", 2, 2]],
  ] as const) {
    const output = name === "tag" ? "tag_bytes" : `${name}_out`;
    graph.node("Identity", [graph.input(name, dtype, shape)], {}, { outputs: [output] });
    graph.output(output, dtype, shape);
  }
  return encodeModel(graph);
}

/** Finds in a picture what its caption says, and what its bytes say. */
function objectsModel(): Uint8Array {
  const graph = new GraphBuilder("objects");
  const parts = ["caption", "image"].map((name) => graph.input(name, "string", ["batch", 1]));
  graph.node("Concat", parts, { axis: 1 }, { outputs: ["found"] });
  graph.output("found", "string", ["batch", 2]);
  return encodeModel(graph);
}

/** The first and the last reading, in numbers that show what came: NaN and Infinity are themselves. */
function sensorModel(index: number): Uint8Array {
  const graph = new GraphBuilder("sensor");
  const x = graph.input("sensor_readings", "float32", ["batch", 4]);
  graph.node("Gather", [x, graph.initializer("index", int64Tensor([1], index))], { axis: 1 }, { outputs: ["reading"] });
  graph.output("reading", "float32", ["batch", 1]);
  return encodeModel(graph);
}

describe("the examples of TensorFlow Serving's REST page", () => {
  let folder: ModelFolder;
  let server: TestServer;
  before(async () => {
    folder = new ModelFolder();
    folder.copyBundled("half_plus_three", 1, { version: 123 });
    folder.publish("words", 1, identityModel("string", "any rank"));
    folder.publish("tensors", 1, identityModel("float32", "any rank"));
    folder.publish("instruments", 1, instrumentsModel());
    folder.publish("objects", 1, objectsModel());
    folder.publish("not_a_number", 1, sensorModel(2));
    folder.publish("infinite", 1, sensorModel(3));
    const signature = (key: string, method: string, inputs: readonly string[], outputs: string) =>
      `signature_def { key: "${key}" value { method_name: "${method}" ${outputs} ` +
      `${inputs.map((name) => `inputs { key: "${name}" value { name: "${name}" } }`).join(" ")} } }`;
    const output = (alias: string, name: string) => `outputs { key: "${alias}" value { name: "${name}" } }`;
    const defs = (model: string, version: number, text: string) =>
      writeFileSync(join(folder.basePath(model), String(version), "signature_defs.pbtxt"), text);
    defs(
      "half_plus_three",
      123,
      signature("serving_default", "tensorflow/serving/predict", ["x"], output("y", "y")) +
        signature("tensorflow/serving/regress", "tensorflow/serving/regress", ["x"], output("outputs", "y")),
    );
    defs(
      "objects",
      1,
      signature("classify_objects", "tensorflow/serving/classify", ["image", "caption"], output("classes", "found")),
    );
    const names = ["half_plus_three", "words", "tensors", "instruments", "objects", "not_a_number", "infinite"];
    server = await startTestServer(
      `--model_config_file=${folder.writeConfig(Object.fromEntries(names.map((name) => [name, ""])))}`,
      "--file_quiet_period_ms=0",
    );
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  /** As curl -d sends it: as a form. */
  const post = async (path: string, body: string) => {
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const response = await fetch(`${server.url}/v1/models/${path}`, { method: "POST", body, headers });
    return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
  };
  const answer = async (path: string, body: string) => {
    const { status, text } = await post(path, body);
    assert.equal(status, 200, text);
    return JSON.parse(text);
  };

  it("status, to the letter", async () => {
    const response = await fetch(`${server.url}/v1/models/half_plus_three`);
    assert.equal(
      await response.text(),
      `{
 "model_version_status": [
  {
   "version": "123",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
`,
    );
  });

  it("predict and regress of half_plus_three", async () => {
    assert.deepEqual(await answer("half_plus_three:predict", '{"instances": [1.0,2.0,5.0]}'), {
      predictions: [3.5, 4.0, 5.5],
    });
    const regress = '{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}';
    assert.deepEqual(await answer("half_plus_three:regress", regress), { results: [3.5, 4.0] });
  });

  it("a model that is not there", async () => {
    const { status, type, text } = await post("half:predict", '{"instances": [1.0,5.0]}');
    assert.deepEqual([status, type], [404, "application/json"]);
    assert.deepEqual(JSON.parse(text), { error: "Servable not found for request: Latest(half)" });
  });

  it("lists of scalars and of tensors", async () => {
    const words = `{
  // List of 3 scalar tensors.
  "instances": [ "foo", "bar", "baz" ]
}`.replace(/\/\/.*/, ""); // what the page says of a line is no JSON, there as here
    assert.deepEqual(await answer("words:predict", words), { predictions: ["foo", "bar", "baz"] });
    assert.deepEqual(await answer("tensors:predict", '{\n  "instances": [ [[1, 2]], [[3, 4]] ]\n}'), {
      predictions: [[[1, 2]], [[3, 4]]],
    });
  });

  it("several named inputs, by rows and by columns", async () => {
    const [foo, bar] = ["Zm9v", "YmFy"];
    const refused = await post("instruments:predict", rows);
    assert.equal(refused.status, 400);
    assert.match(refused.text, /JSON Parse error: Missing a comma or '}' after an object member\. at offset: /);
    assert.deepEqual(await answer("instruments:predict", rows.replace("5]],", "5],")), {
      predictions: [
        {
          tag_bytes: { b64: foo },
          signal_out: [1, 2, 3, 4, 5],
          sensor_out: [
            [1, 2],
            [3, 4],
          ],
        },
        {
          tag_bytes: { b64: bar },
          signal_out: [3, 4, 1, 2, 5],
          sensor_out: [
            [4, 5],
            [6, 8],
          ],
        },
      ],
    });
    assert.deepEqual(await answer("instruments:predict", columns), {
      outputs: {
        tag_bytes: [{ b64: foo }, { b64: bar }],
        signal_out: [
          [1, 2, 3, 4, 5],
          [3, 4, 1, 2, 5],
        ],
        sensor_out: [
          [
            [1, 2],
            [3, 4],
          ],
          [
            [4, 5],
            [6, 8],
          ],
        ],
      },
    });
  });

  it("classify of pictures in base64 with their captions", async () => {
    assert.deepEqual(await answer("objects:classify", captions), {
      results: [
        [
          ["seaside", 0],
          ["image bytes", 0],
        ],
        [
          ["mountains", 0],
          ["awesome image bytes", 0],
        ],
      ],
    });
  });

  it("numbers that JSON does not have", async () => {
    const refused = await post("infinite:regress", readings);
    assert.equal(refused.status, 400);
    assert.match(refused.text, /JSON Parse error: Invalid value\. at offset: \d+/);
    const mended = readings.replace('"example"', '"examples"').replace("Nan", "NaN");
    assert.match((await post("infinite:regress", mended)).text, /"results": \[Infinity\]/);
    assert.match((await post("not_a_number:regress", mended)).text, /"results": \[NaN\]/);
  });
});
