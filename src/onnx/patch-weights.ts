import { invalidArgument } from "../status.js";
import type { NumericTensor } from "../tensor/index.js";
import { decodeModel } from "./decode-model.js";
import { tensorProto, tensorValueInfo } from "./graph-builder.js";
import { patchModel } from "./patch-model.js";
import type { Dimension } from "./signature.js";

export interface WeightsPatch {
  /** By the name of an initializer of the main graph. Their shapes may differ from what was there. */
  readonly weights: ReadonlyMap<string, NumericTensor>;
  /** Entries of the metadata, which replace those of the same keys. */
  readonly metadata?: ReadonlyMap<string, string>;
  /** By name: outputs whose shapes have changed. */
  readonly outputShapes?: ReadonlyMap<string, readonly Dimension[]>;
  /** Values within the graph whose declared shapes no longer hold. */
  readonly reshapedValues?: ReadonlySet<string>;
}

/**
 * A model file with other weights: all else stays byte for byte as it is, its interface, its metadata, what no schema
 * of ours knows. Throws INVALID_ARGUMENT when it has no such weights or outputs.
 */
export function patchWeights(file: Uint8Array, patch: WeightsPatch): Uint8Array {
  const { weights, metadata = new Map(), outputShapes = new Map(), reshapedValues = new Set() } = patch;
  const { graph } = decodeModel(file);
  if (graph === undefined) throw invalidArgument("not an ONNX model: the file holds no graph");
  const known = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  const replacedInitializers = new Map(
    [...weights].map(([name, tensor]) => {
      const old = known.get(name);
      if (old === undefined) throw invalidArgument(`the model has no weights "${name}"`);
      const { docString, metadataProps, _unknownFields } = old;
      return [name, { ...tensorProto(name, tensor), docString, metadataProps, _unknownFields }];
    }),
  );
  const outputs = new Map(
    [...outputShapes].map(([name, shape]) => {
      const index = graph.output.findIndex((output) => output.name === name);
      if (index < 0) throw invalidArgument(`the model has no output "${name}"`);
      return [index, tensorValueInfo(name, "float32", shape)];
    }),
  );
  return patchModel(file, { replacedInitializers, outputs, metadata, droppedValueInfos: reshapedValues });
}
