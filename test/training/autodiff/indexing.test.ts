import { type GraphEmitter, tensorOf } from "../../../src/training/graph-emitter.js";
import { checkGradients, distinct } from "../../support/finite-differences.js";

const indices = (e: GraphEmitter, shape: readonly number[], values: readonly number[]): string =>
  e.graph.initializer(e.graph.fresh("indices"), tensorOf("int64", shape, values));

checkGradients("indexing", [
  {
    name: "Gather, an embedding with repeated rows",
    inputs: [{ shape: [5, 3] }],
    build: (e, [x]) => e.exp(e.op("Gather", [x!, indices(e, [2, 3], [0, 4, 4, 1, 0, -1])])),
  },
  {
    name: "Gather with 32-bit indices",
    inputs: [{ shape: [5, 3] }],
    build: (e, [x]) => e.exp(e.op("Gather", [x!, e.cast(indices(e, [3], [0, 4, 4]), "int32")])),
  },
  {
    name: "Gather along axis 1",
    inputs: [{ shape: ["N", 5, 3] }],
    build: (e, [x]) => e.exp(e.op("Gather", [x!, indices(e, [2, 2], [0, 4, 4, 1])], { axis: 1 })),
  },
  {
    name: "Gather of one index",
    inputs: [{ shape: ["N", 5, 3] }],
    build: (e, [x]) => e.exp(e.op("Gather", [x!, e.scalar(3, "int64")], { axis: 1 })),
  },
  {
    name: "GatherElements",
    inputs: [{ shape: [3, 4] }],
    build: (e, [x]) => e.exp(e.op("GatherElements", [x!, indices(e, [3, 2], [0, 0, 3, 1, 2, 2])], { axis: 1 })),
  },
  {
    name: "GatherND",
    inputs: [{ shape: [3, 4] }],
    build: (e, [x]) => e.exp(e.op("GatherND", [x!, indices(e, [3, 1], [0, 2, 2])])),
  },
  {
    name: "ScatterND, replacing",
    inputs: [{ shape: [4, 3] }, { shape: [2, 3] }],
    build: (e, [x, updates]) => e.exp(e.op("ScatterND", [x!, indices(e, [2, 1], [3, 1]), updates!])),
  },
  {
    name: "ScatterND, adding to the same row twice",
    inputs: [{ shape: [4, 3] }, { shape: [3, 3] }],
    build: (e, [x, updates]) =>
      e.exp(e.op("ScatterND", [x!, indices(e, [3, 1], [3, 1, 3]), updates!], { reduction: "add" })),
  },
  {
    name: "ScatterElements, replacing",
    inputs: [{ shape: [3, 4] }, { shape: [3, 2] }],
    build: (e, [x, updates]) =>
      e.exp(e.op("ScatterElements", [x!, indices(e, [3, 2], [0, 1, 3, 1, 2, 0]), updates!], { axis: 1 })),
  },
  {
    name: "ScatterElements, adding",
    inputs: [{ shape: [3, 4] }, { shape: [3, 2] }],
    build: (e, [x, updates]) =>
      e.exp(
        e.op("ScatterElements", [x!, indices(e, [3, 2], [0, 0, 3, 1, 2, 2]), updates!], { axis: 1, reduction: "add" }),
      ),
  },
  {
    name: "TopK",
    inputs: [{ shape: ["N", 6], sample: distinct }],
    build: (e, [x]) => e.exp(e.ops("TopK", [x!, e.ints([3])], 2)[0]!),
  },
  {
    name: "TopK, the smallest along axis 1",
    inputs: [{ shape: ["N", 5, 2], sample: distinct }],
    build: (e, [x]) => e.exp(e.ops("TopK", [x!, e.ints([2])], 2, { axis: 1, largest: 0 })[0]!),
  },
]);
