// The same request through TensorFlow Serving's doors and the Open Inference Protocol's, gRPC and REST: the same numbers.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { OpenInferenceClient, type TensorDescription } from "../../src/client/index.js";
import { type ElementType, elementTypeInfo, numberToFloat16, type Tensor } from "../../src/tensor/index.js";
import { FourDoors } from "../support/four-doors.js";
import { ModelFolder } from "../support/model-folder.js";
import { parsePrometheusText } from "../support/prometheus-text.js";
import { SeededRandom } from "../support/seeded-random.js";
import {
  affineModel,
  bigModel,
  carriedTypes,
  dynamicShapesModel,
  failingModel,
  identityModel,
  mlpModel,
  scalarOutputModel,
  severalInputsModel,
  slowModel,
  unknownRankModel,
  writeExternalDataModel,
  zipMapModel,
} from "../support/test-models.js";
import { startTestServer, type TestServer } from "../support/test-server.js";

const random = new SeededRandom(20_261_125);
const bundled = { half_plus_two: 2, half_plus_three: 1, linear_regression: 1, digits: 1, iris: 1 };
const built: Readonly<Record<string, () => Uint8Array>> = {
  affine: () => affineModel(0.1, -3, 5),
  several_inputs: severalInputsModel,
  scalar_output: scalarOutputModel,
  dynamic_shapes: dynamicShapesModel,
  unknown_rank: unknownRankModel,
  slow: () => slowModel(2),
  lookup: () => bigModel(16_384),
  mlp: () => mlpModel([7, 5, 3]),
  classifier_of_numbers: () => zipMapModel({ labels: [3, 5, 8] }),
  classifier_of_strings: () => zipMapModel({ labels: ["ja", "nein", "vielleicht"] }),
};

describe("the same request at every door", () => {
  let folder: ModelFolder;
  let server: TestServer;
  let doors: FourDoors;
  before(async () => {
    folder = new ModelFolder();
    for (const [name, version] of Object.entries(bundled)) folder.copyBundled(name, version);
    for (const [name, make] of Object.entries(built)) folder.publish(name, 1, make());
    for (const dtype of carriedTypes) folder.publish(`identity_${dtype}`, 1, identityModel(dtype, "any rank"));
    const external = join(folder.basePath("external_data"), "1");
    mkdirSync(external);
    writeExternalDataModel(external, [10, 20, 30]);
    folder.publish("failing", 1, failingModel());
    const names = [...Object.keys(bundled), ...Object.keys(built), "external_data", "failing"];
    const identities = carriedTypes.map((dtype) => `identity_${dtype}`);
    const config = folder.writeConfig(Object.fromEntries([...names, ...identities].map((name) => [name, ""])));
    server = await startTestServer(`--model_config_file=${config}`);
    doors = new FourDoors(server);
  });
  after(async () => {
    doors[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  for (const name of [...Object.keys(bundled), ...Object.keys(built), "external_data"]) {
    it(`gets the same numbers of ${name}`, async () => {
      const { signatures } = await doors.tensorflowServing.metadata(name);
      const { inputs } = signatures["serving_default"]!;
      for (const rows of [1, 3]) {
        const given = Object.entries(inputs).map(([input, described]) => [input, plausible(described, rows)]);
        const { outputs, doors: asked } = await doors.ask(name, Object.fromEntries(given));
        assert.ok(Object.keys(outputs).length > 0);
        assert.equal(asked.length, 5);
      }
    });
  }

  it("is counted at each, for Triton's dashboards as for its statistics", async () => {
    const client = new OpenInferenceClient(server.target);
    const read = async () => {
      const samples = parsePrometheusText(await (await fetch(`${server.url}/metrics`)).text());
      const figure = (family: string, model: string, reason?: string) =>
        samples.find(({ name, labels }) => name === family && labels["model"] === model && labels["reason"] === reason)
          ?.value ?? 0;
      const [statistics] = await client.statistics("mlp");
      return {
        requests: figure("nv_inference_request_success", "mlp"),
        rows: figure("nv_inference_count", "mlp"),
        runs: figure("nv_inference_exec_count", "mlp"),
        failures: figure("nv_inference_request_failure", "failing", "BACKEND"),
        statistics: [
          statistics!.inferenceStats!.success!.count,
          statistics!.inferenceCount,
          statistics!.executionCount,
        ],
      };
    };
    const earlier = await read();
    const features = { dtype: "float32", shape: [3, 7], data: new Float32Array(21) } as const;
    const { doors: asked } = await doors.ask("mlp", { features });
    await assert.rejects(client.predict("failing", { x: new Float32Array(4) }), /Reshape/);
    const later = await read();
    assert.equal(later.requests - earlier.requests, asked.length);
    assert.equal(later.rows - earlier.rows, 3 * asked.length);
    assert.equal(later.runs - earlier.runs, asked.length);
    assert.equal(later.failures - earlier.failures, 1);
    assert.deepEqual(later.statistics, [later.requests, later.rows, later.runs].map(BigInt));
    client.close();
  });

  for (const dtype of carriedTypes) {
    it(`gets ${dtype} back as it went, whatever the shape`, async () => {
      for (const shape of [[], [0, 3], ...Array.from({ length: 6 }, randomShape)]) {
        const x = randomTensor(dtype, shape);
        const { outputs, doors: asked } = await doors.ask(`identity_${dtype}`, { x });
        // JSON shows no dimension behind one of 0, and the protocol has no JSON for float16.
        assert.equal(asked.length, 5 - Number(shape.includes(0)) - Number(dtype === "float16"));
        assert.deepEqual({ ...outputs["y"]!, data: [...outputs["y"]!.data] }, { ...x, data: [...x.data] });
      }
    });
  }
});

/** Numbers from -2 to 2, or rows of a small table, in as many rows as there shall be. */
function plausible({ dtype, shape }: TensorDescription, rows: number): Tensor {
  const sizes = (shape ?? [-1]).map((size, axis) => (size >= 0 ? size : axis === 0 ? rows : 2));
  const count = sizes.reduce((product, size) => product * size, 1);
  if (dtype === "int64")
    return { dtype, shape: sizes, data: BigInt64Array.from({ length: count }, (_, i) => BigInt(i)) };
  assert.equal(dtype, "float32");
  return { dtype, shape: sizes, data: Float32Array.from({ length: count }, () => 4 * random.next() - 2) };
}

function randomShape(): number[] {
  return Array.from({ length: 1 + random.below(4) }, () => 1 + random.below(4));
}

function randomTensor(dtype: ElementType, shape: readonly number[]): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  if (dtype === "string") return { dtype, shape, data: Array.from({ length: count }, randomText) };
  const { array } = elementTypeInfo(dtype);
  const data = new array!(count);
  for (let i = 0; i < count; i++) data[i] = randomElement(dtype);
  return { dtype, shape, data } as Tensor;
}

const texts = ["", "a", '"\\\n\t', "zwölf", "\u{1f600}\u2028", "NaN", "x".repeat(300)];
const randomText = (): string => random.pick(texts);
const oddFloats = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e-45, 65_504, 0.1];

/** Any value of the type, its extremes and oddities more often than chance would have them. */
function randomElement(dtype: ElementType): number | bigint {
  const odd = random.chance(0.3);
  switch (dtype) {
    case "bool":
      return random.below(2);
    case "float16":
      return numberToFloat16(odd ? random.pick(oddFloats) : random.next());
    case "float32":
    case "float64":
      return odd ? random.pick(oddFloats) : (random.next() - 0.5) * 10 ** (random.below(60) - 30);
    case "int64":
    case "uint64":
      // Typed arrays keep the low bits: of these, any.
      return odd ? random.pick([0n, -1n, 2n ** 63n, 2n ** 63n - 1n, 2n ** 53n + 1n]) : random.uint64();
    default:
      return odd ? random.pick([0, -1, 0x7f, 0x80, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000]) : random.uint32();
  }
}
