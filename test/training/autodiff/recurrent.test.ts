import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeGraphModel, Graph, type GraphAttribute } from "../../../src/onnx/index.js";
import { StepSession } from "../../../src/runtime/index.js";
import type { Tensor } from "../../../src/tensor/index.js";
import { lowerRecurrent } from "../../../src/training/autodiff/lower-recurrent.js";
import { GraphEmitter, numbers } from "../../../src/training/graph-emitter.js";
import {
  checkGradients,
  type GradientCase,
  normal,
  type Real,
  seededRandom,
} from "../../support/finite-differences.js";

type Attributes = Record<string, GraphAttribute>;

const [steps, inputSize, hidden] = [4, 3, 2];
const gates: Readonly<Record<string, number>> = { RNN: 1, GRU: 3, LSTM: 4 };
const half = (random: { normal(): number }) => 0.5 * random.normal();

interface Variant {
  readonly opType: string;
  readonly attributes?: Attributes;
  /** Which optional inputs there are; all by default, but for peepholes. */
  readonly bias?: boolean;
  readonly initial?: boolean;
  readonly peepholes?: boolean;
}
const variants: readonly Variant[] = [
  { opType: "RNN" },
  { opType: "RNN", attributes: { activations: ["Relu"] }, bias: false },
  { opType: "RNN", attributes: { direction: "reverse" }, initial: false },
  { opType: "GRU" },
  { opType: "GRU", attributes: { linear_before_reset: 1 } },
  { opType: "GRU", attributes: { linear_before_reset: 1 }, bias: false, initial: false },
  { opType: "GRU", attributes: { direction: "bidirectional" } },
  { opType: "LSTM" },
  { opType: "LSTM", initial: false },
  { opType: "LSTM", attributes: { direction: "reverse" } },
  { opType: "LSTM", attributes: { direction: "bidirectional" } },
  { opType: "LSTM", peepholes: true },
];

const nameOf = ({ opType, attributes = {}, bias, initial, peepholes }: Variant) =>
  [
    opType,
    JSON.stringify(attributes),
    bias === false && "no bias",
    initial === false && "no initial states",
    peepholes && "peepholes",
  ]
    .filter(Boolean)
    .join(", ");

function shapesOf({ opType, attributes, bias = true, initial = true, peepholes = false }: Variant) {
  const directions = attributes?.["direction"] === "bidirectional" ? 2 : 1;
  const width = gates[opType]! * hidden;
  const state = [directions, "N", hidden] as const;
  return [
    [steps, "N", inputSize] as const,
    [directions, width, inputSize],
    [directions, width, hidden],
    bias ? [directions, 2 * width] : undefined,
    undefined,
    initial ? state : undefined,
    initial && opType === "LSTM" ? state : undefined,
    peepholes ? [directions, 3 * hidden] : undefined,
  ];
}

/** Every output reaches the loss, each with its own weights. */
function build(e: GraphEmitter, variant: Variant, given: readonly string[]): readonly string[] {
  const names = [...given];
  const inputs = shapesOf(variant).map((shape) => (shape === undefined ? "" : names.shift()!));
  const [accepted, outputs] = variant.opType === "LSTM" ? [8, 3] : [6, 2];
  return e.ops(variant.opType, inputs.slice(0, accepted), outputs, { hidden_size: hidden, ...variant.attributes });
}

function gradientCase(variant: Variant): GradientCase {
  return {
    name: nameOf(variant),
    inputs: shapesOf(variant)
      .filter((shape) => shape !== undefined)
      .map((shape) => ({ shape, sample: half })),
    // The fused operators have no doubles: differences are taken over the lowered form, which the other test holds
    // against the fused one.
    build: (e, x) => {
      const [all, ...last] = build(e, variant, x);
      for (const name of [all!, ...last]) e.graph.output(name);
      lowerRecurrent(e.graph);
      e.graph.outputs = [];
      return e.op("Tanh", [e.concat([all!, ...last.map((state) => e.unsqueeze(state, [0]))], 0)]);
    },
  };
}

checkGradients("recurrent layers, lowered to Scan", variants.map(gradientCase));

describe("recurrent layers, lowered to Scan", () => {
  for (const variant of variants) {
    it(`give what the fused operator gives: ${nameOf(variant)}`, () => {
      const random = seededRandom(5);
      const shapes = shapesOf(variant).filter((shape) => shape !== undefined);
      const feeds = new Map<string, Tensor>(
        shapes.map((shape, index) => {
          const sizes = shape.map((size) => (size === "N" ? 3 : size));
          const count = sizes.reduce((all, size) => all * size, 1);
          const data = numbers(
            "float32",
            Array.from({ length: count }, (_, i) => normal(random, i)),
          );
          return [`x${index}`, { dtype: "float32", shape: sizes, data }];
        }),
      );
      const [fused, lowered] = [false, true].map((lower) => runVariant(variant, feeds, lower)) as [Tensor[], Tensor[]];
      fused.forEach((tensor, output) => {
        assert.deepEqual([...lowered[output]!.shape], [...tensor.shape]);
        const actual = lowered[output]!.data as Float32Array;
        tensor.data.forEach((value, i) => {
          assert.ok(Math.abs(Number(value) - actual[i]!) < 1e-5, `output ${output}[${i}]: ${actual[i]} for ${value}`);
        });
      });
    });
  }

  it("refuse what has no such form, by name", () => {
    const graph = new Graph();
    const emitter = new GraphEmitter(graph);
    const real: Real = "float32";
    const names = [
      [4, 1, 3],
      [1, 2, 3],
      [1, 2, 2],
      [1, 4],
    ].map((shape, i) => graph.input(`x${i}`, real, shape));
    graph.node("RNN", [...names, graph.input("lengths", "int32", [1])], { hidden_size: 2 }, { name: "encoder/rnn" });
    assert.throws(
      () => lowerRecurrent(graph),
      /cannot train through node "encoder\/rnn" \(operator RNN\): it has sequence lengths/,
    );
    assert.ok(emitter.graph === graph);
  });
});

function runVariant(variant: Variant, feeds: ReadonlyMap<string, Tensor>, lower: boolean): Tensor[] {
  const e = new GraphEmitter(new Graph());
  const names = [...feeds].map(([name, { shape }]) => e.graph.input(name, "float32", shape));
  const outputs = build(e, variant, names);
  for (const name of outputs) e.graph.output(name);
  if (lower) lowerRecurrent(e.graph);
  const session = new StepSession(encodeGraphModel(e.graph));
  try {
    return [...session.run(feeds, outputs).values()];
  } finally {
    session.release();
  }
}
