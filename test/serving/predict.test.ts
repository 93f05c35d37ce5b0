import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { neverCancelled } from "../../src/cancellation.js";
import type { Signature, TensorSpec } from "../../src/onnx/index.js";
import type { RunOptions } from "../../src/runtime/index.js";
import {
  findSignature,
  getModelMetadata,
  type ModelRepository,
  type ModelSpec,
  type PredictOptions,
  type PredictRequest,
  predict,
  type Servable,
  type ServableHandle,
  type TensorSource,
} from "../../src/serving/index.js";
import { codeName, invalidArgument, resourceExhausted, StatusError } from "../../src/status.js";
import type { ElementType, Tensor } from "../../src/tensor/index.js";
import { rejectsWith } from "../support/rejects-with.js";
import { servableOf, signatureOf, specX, specY } from "../support/servables.js";
import { floatTensor } from "../support/test-models.js";

/** One servable, whatever the spec; counts handles. */
class OneServable implements Pick<ModelRepository, "getServableHandle"> {
  readonly servable: Servable;
  open = 0;
  constructor(servable: Servable) {
    this.servable = servable;
  }
  getServableHandle(_spec: ModelSpec): ServableHandle {
    this.open++;
    return { servable: this.servable, [Symbol.dispose]: () => void this.open-- };
  }
}

const modelSpec: ModelSpec = { name: "m", signatureName: "" };

function source(dtype: ElementType, shape: readonly number[], more: Partial<TensorSource> = {}): TensorSource {
  return {
    invalid: undefined,
    dtype,
    shape,
    decode: () => ({ dtype, shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) }),
    ...more,
  };
}
const undecodable = (dtype: ElementType, shape: readonly number[]) =>
  source(dtype, shape, { decode: () => assert.fail("decoded before everything was checked") });

const spec = (name: string, dtype: ElementType, shape: TensorSpec["shape"]): TensorSpec => ({ name, dtype, shape });

/** Two inputs, two outputs, aliases that are not the tensors' names. */
const twoByTwo = signatureOf([], [], {
  inputs: new Map([
    ["left", spec("graph_left", "float32", ["batch", 2])],
    ["right", spec("graph_right", "int64", [undefined])],
  ]),
  outputs: new Map([
    ["sum", spec("graph_sum", "float32", ["batch"])],
    ["difference", spec("graph_difference", "float32", ["batch"])],
  ]),
});
const withDefault: Signature = { ...twoByTwo, defaults: new Map([["left", floatTensor([1, 2], 3, 4)]]) };

interface Given {
  readonly signature?: Signature;
  readonly inputs?: Readonly<Record<string, TensorSource>>;
  readonly outputFilter?: readonly string[];
  readonly request?: Partial<PredictRequest>;
  readonly options?: PredictOptions;
  readonly run?: (
    feeds: ReadonlyMap<string, Tensor>,
    fetches: readonly string[],
    options: RunOptions,
  ) => ReadonlyMap<string, Tensor>;
}

async function call({ signature = twoByTwo, inputs = fitting, outputFilter = [], request, options, run }: Given) {
  const repository = new OneServable(servableOf({ name: "m", version: 7n }, run ? { run } : {}, [signature]));
  try {
    return await predict(
      repository as unknown as ModelRepository,
      { modelSpec, inputs: () => new Map(Object.entries(inputs)), outputFilter, ...request },
      neverCancelled,
      options,
    );
  } finally {
    assert.equal(repository.open, 0, "the handle is given back, whatever happens");
  }
}
const fitting = { left: source("float32", [3, 2]), right: source("int64", [5]) };

async function failure(given: Given): Promise<string> {
  try {
    await call(given);
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return `${codeName(error.code)} ${error.message}`;
  }
  return "OK";
}

describe("predict with tensors of no elements", () => {
  const empty = { left: undecodable("float32", [0, 2]), right: source("int64", [0]) };
  const callWith = (refusesEmptyTensors: string | undefined, inputs: Readonly<Record<string, TensorSource>>) => {
    const servable = servableOf({ name: "m", version: 7n }, {}, [twoByTwo]);
    const description = { ...servable.description, refusesEmptyTensors };
    const repository = new OneServable({ ...servable, description }) as unknown as ModelRepository;
    const request = { modelSpec, inputs: () => new Map(Object.entries(inputs)), outputFilter: [] };
    return predict(repository, request, neverCancelled);
  };

  it("refuses them, before anything is decoded, for a graph that they would end the process in", async () => {
    const message = "model m, input left: the shape [0,2] holds no elements, and LSTM_1 may not take such";
    await rejectsWith("INVALID_ARGUMENT", new RegExp(`^${message.replace(/[[\]]/g, "\\$&")}$`), () =>
      callWith("LSTM_1 may not take such", empty),
    );
    await callWith("LSTM_1 may not take such", fitting);
  });

  it("runs them elsewhere", async () => {
    await callWith(undefined, { left: source("float32", [0, 2]), right: source("int64", [0]) });
  });
});

describe("predict", () => {
  it("feeds by the graph's names, fetches all outputs and names them by alias", async () => {
    let fed: ReadonlyMap<string, Tensor> | undefined;
    let fetched: readonly string[] = [];
    const result = await call({
      inputs: {
        right: source("int64", [1], { decode: () => ({ dtype: "int64", shape: [1], data: BigInt64Array.of(9n) }) }),
        left: source("float32", [1, 2], { decode: () => floatTensor([1, 2], 1, 2) }),
      },
      run: (feeds, fetches) => {
        fed = feeds;
        fetched = fetches;
        return new Map([
          ["graph_difference", floatTensor([1], -1)],
          ["graph_sum", floatTensor([1], 3)],
        ]);
      },
    });
    assert.deepEqual([...fed!.keys()], ["graph_left", "graph_right"]);
    assert.deepEqual([...(fed!.get("graph_left")!.data as Float32Array)], [1, 2]);
    assert.deepEqual(fed!.get("graph_right")!.data, BigInt64Array.of(9n));
    assert.deepEqual(fetched, ["graph_sum", "graph_difference"]);
    assert.deepEqual([...result.outputs.keys()], ["sum", "difference"]);
    assert.deepEqual(result.outputs.get("difference"), floatTensor([1], -1));
    assert.deepEqual(result.servableId, { name: "m", version: 7n });
    assert.equal(result.signature.key, "serving_default");
    assert.deepEqual([result.queueMs, result.computeMs, result.batchSize], [1, 2, 3]);
  });

  it("computes only the outputs that are asked for, in the signature's order", async () => {
    const fetched: string[] = [];
    const run = (_: unknown, fetches: readonly string[]) => {
      fetched.push(fetches.join());
      return new Map(fetches.map((name) => [name, floatTensor([1], 0)]));
    };
    const one = await call({ run, outputFilter: ["difference"] });
    const both = await call({ run, outputFilter: ["difference", "sum"] });
    assert.deepEqual(fetched, ["graph_difference", "graph_sum,graph_difference"]);
    assert.deepEqual([...one.outputs.keys()], ["difference"]);
    assert.deepEqual([...both.outputs.keys()], ["sum", "difference"]);
  });

  it("fetches a tensor once that goes by two aliases", async () => {
    const y = spec("y", "float32", undefined);
    const signature = signatureOf([specX], [], {
      outputs: new Map([
        ["a", y],
        ["b", y],
      ]),
    });
    let fetched: readonly string[] = [];
    const { outputs } = await call({
      signature,
      inputs: { x: source("float32", [1]) },
      run: (_, fetches) => {
        fetched = fetches;
        return new Map([["y", floatTensor([1], 5)]]);
      },
    });
    assert.deepEqual(fetched, ["y"]);
    assert.deepEqual([...outputs.keys()], ["a", "b"]);
  });

  it("lets a session take its feeds, and a default value not: that is copied for each call", async () => {
    const seen: Tensor[] = [];
    const given: Given = {
      signature: withDefault,
      inputs: { right: source("int64", [1]) },
      run: (feeds, fetches, options) => {
        assert.equal(options.feedsMayBeTaken, true);
        const left = feeds.get("graph_left")!;
        seen.push({ ...left, data: (left.data as Float32Array).slice() });
        structuredClone(null, { transfer: [(left.data as Float32Array).buffer as ArrayBuffer] });
        return new Map(fetches.map((name) => [name, floatTensor([1], 0)]));
      },
    };
    await call(given);
    await call(given);
    assert.deepEqual(seen, [floatTensor([1, 2], 3, 4), floatTensor([1, 2], 3, 4)]);
  });

  it("takes a given value before the default", async () => {
    let left: Tensor | undefined;
    await call({
      signature: withDefault,
      inputs: {
        left: source("float32", [1, 2], { decode: () => floatTensor([1, 2], 8, 9) }),
        right: source("int64", [1]),
      },
      run: (feeds, fetches) => {
        left = feeds.get("graph_left");
        return new Map(fetches.map((name) => [name, floatTensor([1], 0)]));
      },
    });
    assert.deepEqual(left, floatTensor([1, 2], 8, 9));
  });

  it("serves a signature without inputs", async () => {
    const signature = signatureOf([], [specY]);
    const run = (_: unknown, fetches: readonly string[]) => new Map(fetches.map((name) => [name, floatTensor([1], 4)]));
    const { outputs } = await call({ signature, inputs: {}, run });
    assert.deepEqual(outputs.get("y"), floatTensor([1], 4));
    assert.equal(
      await failure({ signature, inputs: { x: source("float32", [1]) } }),
      "INVALID_ARGUMENT input size does not match signature: 1!=0 len({x}) != len({}). Sent extra: {x}. Missing but required: {}.",
    );
  });

  it("tells who answers before it checks the inputs", async () => {
    const told: string[] = [];
    const onResolved: PredictRequest["onResolved"] = (id, { key }) => told.push(`${id.name} ${id.version} ${key}`);
    assert.match(await failure({ inputs: {}, request: { onResolved } }), /input size/);
    assert.deepEqual(told, ["m 7 serving_default"]);
  });

  it("passes a session's error on untouched", async () => {
    const run = () => {
      throw resourceExhausted("queue full");
    };
    assert.equal(await failure({ run }), "RESOURCE_EXHAUSTED queue full");
  });

  it("hands inputs their signature", async () => {
    let handed: Signature | undefined;
    const inputs = (signature: Signature) => {
      handed = signature;
      return new Map(Object.entries(fitting));
    };
    await call({ request: { inputs } });
    assert.equal(handed, twoByTwo);
  });
});

describe("predict's checks, by the rows of TensorFlow Serving's table", () => {
  const named = (methodName: string): Signature => ({ ...twoByTwo, methodName });
  const wrong: readonly [string, Given, string][] = [
    ["1 no model spec", { request: { modelSpec: undefined } }, "INVALID_ARGUMENT Missing ModelSpec"],
    [
      "6 signature not in model",
      { request: { modelSpec: { name: "m", signatureName: "other" } } },
      'FAILED_PRECONDITION Serving signature key "other" not found.',
    ],
    [
      "6 signature not in model, in the words of another door",
      {
        request: { modelSpec: { name: "m", signatureName: "other" } },
        options: {
          signatureNotFound: (key) => invalidArgument(`Serving signature name: "${key}" not found in signature def`),
        },
      },
      'INVALID_ARGUMENT Serving signature name: "other" not found in signature def',
    ],
    [
      "7 method name, when it is checked",
      { signature: named("tensorflow/serving/other"), options: { enableSignatureMethodNameCheck: true } },
      "INTERNAL Expected prediction signature method_name to be one of {tensorflow/serving/predict, " +
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: tensorflow/serving/other",
    ],
    [
      "8 too few inputs",
      { inputs: { right: source("int64", [1]) } },
      "INVALID_ARGUMENT input size does not match signature: 1!=2 len({right}) != len({left,right}). " +
        "Sent extra: {}. Missing but required: {left}.",
    ],
    [
      "8 too many inputs, keys sorted",
      { inputs: { z: source("float32", []), ...fitting, a: source("float32", []) } },
      "INVALID_ARGUMENT input size does not match signature: 4!=2 len({a,left,right,z}) != len({left,right}). " +
        "Sent extra: {a,z}. Missing but required: {}.",
    ],
    [
      "8 more inputs than the signature has, defaults or not",
      { signature: withDefault, inputs: { ...fitting, z: source("float32", []) } },
      "INVALID_ARGUMENT input size does not match signature: 3!=2 len({left,right,z}) != len({left,right}). " +
        "Sent extra: {z}. Missing but required: {}.",
    ],
    [
      "9 as many inputs as there should be, one with a wrong name",
      { inputs: { left: fitting.left, wrong: fitting.right } },
      "INVALID_ARGUMENT Signature input alias: right(feed name: graph_right) not found in request and no default value " +
        "provided. Inputs expected to be in the request {left,wrong}, or default input alias set: ",
    ],
    [
      "9 no default for it",
      { signature: withDefault, inputs: { left: fitting.left } },
      "INVALID_ARGUMENT Signature input alias: right(feed name: graph_right) not found in request and no default value " +
        "provided. Inputs expected to be in the request {left}, or default input alias set: left",
    ],
    [
      "10 a tensor that cannot be read",
      { inputs: { ...fitting, left: undecodableBecause("tensor_content holds 3 bytes") } },
      "INVALID_ARGUMENT tensor parsing error: left: tensor_content holds 3 bytes",
    ],
    [
      "11 a name that the signature does not have, where a default filled the gap",
      { signature: withDefault, inputs: { right: fitting.right, wrong: fitting.left } },
      "INVALID_ARGUMENT Inputs contains invalid name. Used request inputs: right, request input: right,wrong",
    ],
    [
      "12 an unknown output",
      { outputFilter: ["sum", "product"] },
      "INVALID_ARGUMENT output tensor alias not found in signature: product Outputs expected to be in the set {difference,sum}.",
    ],
    ["13 an output twice", { outputFilter: ["sum", "sum"] }, "INVALID_ARGUMENT duplicate output tensor alias: sum"],
    [
      "14 another type",
      { inputs: { left: undecodable("string", [3, 2]), right: undecodable("int64", [5]) } },
      "INVALID_ARGUMENT Expects arg[0] to be float but string is provided (model m, input left)",
    ],
    [
      "14 another type, at the second input",
      { inputs: { left: undecodable("float32", [3, 2]), right: undecodable("float16", [5]) } },
      "INVALID_ARGUMENT Expects arg[1] to be int64 but half is provided (model m, input right)",
    ],
    [
      "15 another rank",
      { inputs: { left: undecodable("float32", [2]), right: undecodable("int64", [5]) } },
      "INVALID_ARGUMENT model m, input left: expected shape [batch,2], got [2]",
    ],
    [
      "15 another size",
      { inputs: { left: undecodable("float32", [3, 4]), right: undecodable("int64", [5]) } },
      "INVALID_ARGUMENT model m, input left: expected shape [batch,2], got [3,4]",
    ],
    [
      "15 a scalar for a vector",
      { inputs: { left: undecodable("float32", [3, 2]), right: undecodable("int64", []) } },
      "INVALID_ARGUMENT model m, input right: expected shape [?], got []",
    ],
    ["16 an output is missing from the run", { run: () => new Map() }, "UNKNOWN Predict internal error"],
  ];
  for (const [row, given, expected] of wrong) {
    it(`row ${row}`, async () => assert.equal(await failure(given), expected));
  }

  function undecodableBecause(reason: string): TensorSource {
    return source("float32", [], { invalid: reason, decode: () => assert.fail("decoded all the same") });
  }

  it("row 7: takes any method name unless told to check, and the three known ones then", async () => {
    assert.equal(await failure({ signature: named("whatever") }), "OK");
    for (const method of ["predict", "classify", "regress"]) {
      const signature = named(`tensorflow/serving/${method}`);
      assert.equal(await failure({ signature, options: { enableSignatureMethodNameCheck: true } }), "OK");
    }
  });

  it("row 10: words a fault that only decoding shows the same way", async () => {
    const left = source("float32", [3, 2], {
      decode: () => {
        throw invalidArgument("byte 4 of a bool is 2");
      },
    });
    assert.equal(
      await failure({ inputs: { ...fitting, left } }),
      "INVALID_ARGUMENT tensor parsing error: left: byte 4 of a bool is 2",
    );
  });

  it("come in the table's order when several would fail", async () => {
    const bad = undecodableBecause("unreadable");
    const order: Given[] = [
      { inputs: { left: bad }, outputFilter: ["none"] },
      { inputs: { left: bad, wrong: bad }, outputFilter: ["none"] },
      { inputs: { left: fitting.left, wrong: bad }, outputFilter: ["none"] },
      { signature: withDefault, inputs: { right: bad, wrong: bad }, outputFilter: ["none"] },
      {
        inputs: { left: undecodable("string", []), right: undecodable("int64", []) },
        outputFilter: ["none", "sum", "sum"],
      },
      { inputs: { left: undecodable("string", []), right: undecodable("int64", []) }, outputFilter: ["sum", "sum"] },
      { inputs: { left: undecodable("float32", [9]), right: undecodable("string", []) } },
      { inputs: { left: undecodable("float32", [9]), right: undecodable("int64", []) } },
    ];
    const words = [
      /input size/,
      /tensor parsing error: left/,
      /Signature input alias: right/,
      /tensor parsing error: right/,
      /not found in signature: none/,
      /duplicate/,
      /Expects arg\[1\]/,
      /input left: expected shape/,
    ];
    for (const [i, given] of order.entries()) assert.match(await failure(given), words[i]!);
  });

  it("takes keys such as __proto__ for the unknown names that they are", async () => {
    const inputs = () =>
      new Map([
        ["__proto__", source("float32", [1])],
        ["constructor", source("float32", [1])],
      ]);
    assert.match(await failure({ request: { inputs } }), /Signature input alias: left\(feed name: graph_left\)/);
    assert.match(
      await failure({ outputFilter: ["__proto__"] }),
      /output tensor alias not found in signature: __proto__/,
    );
  });
});

describe("open dimensions of one name", () => {
  const matrices = signatureOf(
    [spec("a", "float32", ["n", "n"]), spec("b", "float32", ["n", "k"]), spec("c", "float32", ["k", undefined])],
    [specY],
  );
  const shapes = (a: number[], b: number[], c: number[]): Given => ({
    signature: matrices,
    inputs: { a: source("float32", a), b: source("float32", b), c: source("float32", c) },
  });
  const table: readonly [readonly [number[], number[], number[]], string][] = [
    [
      [
        [2, 2],
        [2, 3],
        [3, 9],
      ],
      "OK",
    ],
    [
      [
        [0, 0],
        [0, 0],
        [0, 1],
      ],
      "OK",
    ],
    [
      [
        [2, 3],
        [2, 3],
        [3, 9],
      ],
      "INVALID_ARGUMENT model m, input a: dimension 1 (n) expected 2, as in input a; got 3",
    ],
    [
      [
        [2, 2],
        [4, 3],
        [3, 9],
      ],
      "INVALID_ARGUMENT model m, input b: dimension 0 (n) expected 2, as in input a; got 4",
    ],
    [
      [
        [2, 2],
        [2, 3],
        [5, 9],
      ],
      "INVALID_ARGUMENT model m, input c: dimension 0 (k) expected 3, as in input b; got 5",
    ],
  ];
  for (const [[a, b, c], expected] of table) {
    it(`${expected === "OK" ? "agree" : "do not agree"} in a ${a}, b ${b}, c ${c}`, async () => {
      assert.equal(await failure(shapes(a, b, c)), expected);
    });
  }

  it("count where a default value has them", async () => {
    const signature: Signature = { ...matrices, defaults: new Map([["a", floatTensor([2, 2], 1, 2, 3, 4)]]) };
    const given = (rows: number): Given => ({
      signature,
      inputs: { b: source("float32", [rows, 3]), c: source("float32", [3, 1]) },
    });
    assert.equal(await failure(given(2)), "OK");
    assert.match(await failure(given(3)), /input b: dimension 0 \(n\) expected 2, as in input a; got 3/);
  });

  it("are no matter where the rank is unknown", async () => {
    const signature = signatureOf([spec("x", "float32", undefined)], [specY]);
    for (const shape of [[], [1], [1, 2, 3, 4, 5, 6]]) {
      assert.equal(await failure({ signature, inputs: { x: source("float32", shape) } }), "OK");
    }
  });
});

describe("model metadata", () => {
  const repository = () =>
    new OneServable(
      servableOf({ name: "m", version: 7n }, {}, [twoByTwo, signatureOf([specX], [specY], { key: "b" })]),
    );
  const ask = (modelSpecGiven: ModelSpec | undefined, ...metadataFields: string[]) => {
    const one = repository();
    const answer = getModelMetadata(one as unknown as ModelRepository, { modelSpec: modelSpecGiven, metadataFields });
    assert.equal(one.open, 0);
    return answer;
  };

  it("holds all signatures, whichever the spec names", () => {
    const { servableId, signatures } = ask({ name: "m", signatureName: "b" }, "signature_def", "signature_def");
    assert.deepEqual(servableId, { name: "m", version: 7n });
    assert.deepEqual([...signatures.keys()], ["serving_default", "b"]);
  });

  it("is refused without a spec, without fields, and for unknown fields, in that order", async () => {
    await rejectsWith("INVALID_ARGUMENT", /^Missing ModelSpec$/, () => ask(undefined));
    await rejectsWith("INVALID_ARGUMENT", /^GetModelMetadataRequest must specify at least one metadata_field$/, () =>
      ask(modelSpec),
    );
    await rejectsWith("INVALID_ARGUMENT", /^Metadata field weights is not supported$/, () =>
      ask(modelSpec, "signature_def", "weights"),
    );
  });
});

describe("a signature's name", () => {
  it("is serving_default when it is empty", () => {
    assert.equal(findSignature(servableOf({ name: "m", version: 1n }), "").key, "serving_default");
  });
});
