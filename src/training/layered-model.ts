import { Graph } from "../onnx/index.js";
import type { Field } from "./examples.js";
import { buildLayers } from "./layers/build-layers.js";
import type { LayerSpec } from "./layers/layer-spec.js";
import { trainableTensors } from "./parameter-slots.js";
import type { TrainableModel } from "./step-graph.js";

/** The name of the layers' output in the graph. */
export const outputName = "output";

/** A new model: one input, a list of layers, initial weights from the seed. */
export function layeredModel(input: Field, layers: readonly LayerSpec[], seed: number): TrainableModel {
  const graph = new Graph();
  graph.input(input.name, input.dtype, ["batch", ...input.shape]);
  graph.claim(outputName);
  const end = buildLayers(graph, input, layers, seed);
  graph.node("Identity", [end.name], {}, { name: outputName, outputs: [outputName] });
  graph.output(outputName, end.dtype, ["batch", ...end.shape]);
  return {
    graph,
    operatorSets: new Map([["", 21]]),
    inputs: [input],
    output: outputName,
    parameters: trainableTensors(graph),
    trainDropout: true,
    trainBatchNorm: true,
  };
}
