// Layers of onnxd.v1.TrainingSpec to and from the plain data that models are built from. Names that are chosen from a
// list are passed on as they came: what builds the layers knows the list, and says so.
import type { Convolution, Dense, Layer, Pooling, Recurrent, Residual } from "../../gen/onnxd/v1/training.js";
import { invalidArgument } from "../../status.js";
import type { ConvolutionSpec, LayerSpec, PoolingSpec, Sizes } from "../../training/index.js";
import { givenFields, unlessZero } from "./given-fields.js";

/** @param place what refusals call the list: "spec.layers" */
export function fromLayerMessages(layers: readonly Layer[], place: string): LayerSpec[] {
  return layers.map((layer, index) => fromLayerMessage(layer, `${place}[${index}]`));
}

export function toLayerMessages(layers: readonly LayerSpec[]): Layer[] {
  return layers.map((layer) => ({ layer: toLayer(layer) }));
}

function fromLayerMessage({ layer }: Layer, place: string): LayerSpec {
  if (layer === undefined) throw invalidArgument(`${place} names no layer, or one that is not known here`);
  // What is chosen from a list is still any text here.
  return fromLayer(layer, place) as LayerSpec;
}

type Unchecked = Readonly<Record<string, unknown>> & { readonly type: LayerSpec["type"] };

function fromLayer(layer: NonNullable<Layer["layer"]>, place: string): Unchecked {
  switch (layer.$case) {
    case "dense":
      return { type: "dense", units: layer.value.units, ...weighted(layer.value) };
    case "conv1d":
    case "conv2d":
      return convolution(layer.$case, layer.value, `${place}.${layer.$case}`);
    case "maxPool":
      return pooling("max_pool", layer.value, `${place}.max_pool`);
    case "avgPool":
      return pooling("avg_pool", layer.value, `${place}.avg_pool`);
    case "globalAvgPool":
      return { type: "global_avg_pool" };
    case "globalMaxPool":
      return { type: "global_max_pool" };
    case "flatten":
      return { type: "flatten" };
    case "reshape":
      return { type: "reshape", shape: layer.value.shape };
    case "batchNorm": {
      const { momentum, epsilon } = layer.value;
      return { type: "batch_norm", ...givenFields({ momentum, epsilon }) };
    }
    case "layerNorm":
      return { type: "layer_norm", ...givenFields({ epsilon: layer.value.epsilon }) };
    case "dropout":
      return { type: "dropout", rate: layer.value.rate };
    case "embedding": {
      const { vocabulary, dimensions } = layer.value;
      return { type: "embedding", vocabulary, dimensions };
    }
    case "rnn":
    case "gru":
    case "lstm": {
      const { units, returnSequences, bidirectional } = layer.value;
      return { type: layer.$case, units, returnSequences, bidirectional };
    }
    case "attention": {
      const { heads, headSize, causal } = layer.value;
      return { type: "attention", heads, causal, ...givenFields({ headSize: unlessZero(headSize) }) };
    }
    case "residual":
      return residual(layer.value, `${place}.residual`);
    case "activation":
      return { type: "activation", function: layer.value.function };
  }
}

function weighted({ activation, bias, initializer }: Pick<Dense, "activation" | "bias" | "initializer">) {
  return givenFields({ activation: unlessZero(activation), bias, initializer: unlessZero(initializer) });
}

function convolution(type: "conv1d" | "conv2d", message: Convolution, place: string): Unchecked {
  const { filters, kernel, stride, dilation, groups } = message;
  return {
    type,
    filters,
    kernel: fromSizes(kernel),
    ...givenFields({
      stride: optionalSizes(stride),
      dilation: optionalSizes(dilation),
      groups: unlessZero(groups),
      padding: fromPadding(message, place),
    }),
    ...weighted(message),
  };
}

function pooling(type: "max_pool" | "avg_pool", message: Pooling, place: string): Unchecked {
  const { size, stride } = message;
  return {
    type,
    size: fromSizes(size),
    ...givenFields({ stride: optionalSizes(stride), padding: fromPadding(message, place) }),
  };
}

function residual({ layers, shortcut, activation }: Residual, place: string): Unchecked {
  return {
    type: "residual",
    layers: fromLayerMessages(layers, `${place}.layers`),
    ...givenFields({
      shortcut: shortcut.length === 0 ? undefined : fromLayerMessages(shortcut, `${place}.shortcut`),
      activation: unlessZero(activation),
    }),
  };
}

/** One size stands for all axes. */
const fromSizes = (sizes: readonly number[]): Sizes => (sizes.length === 1 ? sizes[0]! : sizes);
const optionalSizes = (sizes: readonly number[]): Sizes | undefined =>
  sizes.length === 0 ? undefined : fromSizes(sizes);

function fromPadding({ padding, pads }: Pick<Pooling, "padding" | "pads">, place: string): string | Sizes | undefined {
  if (pads.length === 0) return unlessZero(padding);
  if (padding === "") return fromSizes(pads);
  throw invalidArgument(`${place} takes padding or pads; got padding "${padding}" and pads [${pads}]`);
}

function toLayer(spec: LayerSpec): NonNullable<Layer["layer"]> {
  switch (spec.type) {
    case "dense":
      return { $case: "dense", value: { units: spec.units, ...toWeighted(spec) } };
    case "conv1d":
    case "conv2d":
      return { $case: spec.type, value: toConvolution(spec) };
    case "max_pool":
      return { $case: "maxPool", value: toPooling(spec) };
    case "avg_pool":
      return { $case: "avgPool", value: toPooling(spec) };
    case "global_avg_pool":
      return { $case: "globalAvgPool", value: {} };
    case "global_max_pool":
      return { $case: "globalMaxPool", value: {} };
    case "flatten":
      return { $case: "flatten", value: {} };
    case "reshape":
      return { $case: "reshape", value: { shape: [...spec.shape] } };
    case "batch_norm":
      return { $case: "batchNorm", value: { momentum: spec.momentum, epsilon: spec.epsilon } };
    case "layer_norm":
      return { $case: "layerNorm", value: { epsilon: spec.epsilon } };
    case "dropout":
      return { $case: "dropout", value: { rate: spec.rate } };
    case "embedding":
      return { $case: "embedding", value: { vocabulary: spec.vocabulary, dimensions: spec.dimensions } };
    case "rnn":
    case "gru":
    case "lstm": {
      const { units, returnSequences = false, bidirectional = false } = spec;
      const value: Recurrent = { units, returnSequences, bidirectional };
      return { $case: spec.type, value };
    }
    case "attention": {
      const { heads, headSize = 0, causal = false } = spec;
      return { $case: "attention", value: { heads, headSize, causal } };
    }
    case "residual": {
      const { layers, shortcut = [], activation } = spec;
      const lists = { layers: toLayerMessages(layers), shortcut: toLayerMessages(shortcut) };
      return { $case: "residual", value: { ...lists, activation: activation ?? "" } };
    }
    case "activation":
      return { $case: "activation", value: { function: spec.function } };
  }
}

function toWeighted({ activation, bias, initializer }: Pick<ConvolutionSpec, "activation" | "bias" | "initializer">) {
  return { activation: activation ?? "", bias, initializer: initializer ?? "" };
}

function toConvolution(spec: ConvolutionSpec): Convolution {
  const { filters, kernel, stride, dilation, groups = 0 } = spec;
  return {
    filters,
    kernel: toSizes(kernel),
    stride: toSizes(stride),
    dilation: toSizes(dilation),
    groups,
    ...toPadding(spec.padding),
    ...toWeighted(spec),
  };
}

function toPooling({ size, stride, padding }: PoolingSpec): Pooling {
  return { size: toSizes(size), stride: toSizes(stride), ...toPadding(padding) };
}

const toSizes = (sizes: Sizes | undefined): number[] =>
  sizes === undefined ? [] : typeof sizes === "number" ? [sizes] : [...sizes];

const toPadding = (padding: ConvolutionSpec["padding"]): Pick<Pooling, "padding" | "pads"> =>
  typeof padding === "string" ? { padding, pads: [] } : { padding: "", pads: toSizes(padding) };
