import { floats, type Graph } from "../../onnx/index.js";
import { requireInteger, requireNumber, requireOneOf } from "../../options.js";
import { invalidArgument, type StatusError } from "../../status.js";
import { type ElementType, formatShape } from "../../tensor/index.js";
import { GraphEmitter } from "../graph-emitter.js";
import { defaultInitializer, InitialWeights } from "./initial-weights.js";
import { LayerRoom } from "./layer-room.js";
import {
  type ActivationName,
  type AttentionSpec,
  activationNames,
  type ConvolutionSpec,
  type DenseSpec,
  initializerNames,
  type LayerSpec,
  type LayerType,
  type PoolingSpec,
  type RecurrentSpec,
  type ResidualSpec,
  type Sizes,
} from "./layer-spec.js";

/** A value between layers: its shape is that of one row. */
export interface RowValue {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

/**
 * Writes the layers behind a value of the graph and returns what comes out; weights are initializers of the graph,
 * named after their layer, "dense_2/weight". The graph is one for inference: what differs in training (dropout, batch
 * normalisation) is changed there.
 *
 * Throws INVALID_ARGUMENT naming the layer, what it wants and what it gets; RESOURCE_EXHAUSTED where there is no room,
 * before anything of that size is made.
 */
export function buildLayers(
  graph: Graph,
  input: RowValue,
  layers: readonly LayerSpec[],
  seed: number,
  room = new LayerRoom(Number.POSITIVE_INFINITY, 1),
): RowValue {
  const builder = new LayerBuilder(graph, new InitialWeights(seed), room);
  return builder.stack(input, layers, "layer ");
}

class LayerBuilder {
  readonly #graph: Graph;
  readonly #e: GraphEmitter;
  readonly #weights: InitialWeights;
  readonly #room: LayerRoom;
  readonly #counts = new Map<LayerType, number>();
  /** The layer at work, for names and errors. */
  #name = "";
  #place = "";

  constructor(graph: Graph, weights: InitialWeights, room: LayerRoom) {
    this.#room = room;
    this.#graph = graph;
    this.#e = new GraphEmitter(graph);
    this.#weights = weights;
  }

  stack(input: RowValue, layers: readonly LayerSpec[], place: string): RowValue {
    if (layers.length === 0) throw invalidArgument(`${place.trim()}: there are no layers`);
    let value = input;
    layers.forEach((spec, index) => {
      const count = (this.#counts.get(spec.type) ?? 0) + 1;
      this.#counts.set(spec.type, count);
      this.#name = `${spec.type}_${count}`;
      this.#place = `${place}${index + 1} (${spec.type})`;
      value = this.#layer(value, spec);
      this.#room.value(`${place}${index + 1} (${spec.type})`, value.shape);
    });
    return value;
  }

  #layer(x: RowValue, spec: LayerSpec): RowValue {
    switch (spec.type) {
      case "dense":
        return this.#dense(x, spec);
      case "conv1d":
      case "conv2d":
        return this.#convolution(x, spec);
      case "max_pool":
      case "avg_pool":
        return this.#pooling(x, spec);
      case "global_avg_pool":
      case "global_max_pool":
        return this.#globalPooling(x, spec.type === "global_avg_pool" ? "GlobalAveragePool" : "GlobalMaxPool");
      case "batch_norm":
        return this.#batchNorm(x, spec.momentum ?? 0.9, spec.epsilon ?? 1e-5);
      case "layer_norm":
        return this.#layerNorm(x, spec.epsilon ?? 1e-5);
      case "dropout":
        return this.#dropout(x, spec.rate);
      case "flatten":
        return this.#reshape(x, [product(x.shape)]);
      case "reshape":
        return this.#reshape(x, spec.shape);
      case "embedding":
        return this.#embedding(x, spec.vocabulary, spec.dimensions);
      case "rnn":
      case "gru":
      case "lstm":
        return this.#recurrent(x, spec);
      case "attention":
        return this.#attention(x, spec);
      case "activation":
        return this.#activation(x, spec.function);
      case "residual":
        return this.#residual(x, spec);
      default:
        throw this.#refuse(`there is no such layer; there are ${layerTypes.join(", ")}`);
    }
  }

  #dense(given: RowValue, spec: DenseSpec): RowValue {
    const x = this.#asFloats(given);
    requireInteger(`${this.#place}: units`, spec.units, { min: 1 });
    if (x.shape.length === 0) return this.#dense(this.#reshape(x, [1]), spec);
    const features = x.shape.at(-1)!;
    const weight = this.#kernel("weight", [features, spec.units], features, spec.units, spec);
    const bias = spec.bias === false ? undefined : this.#constant("bias", [spec.units], 0);
    const shape = [...x.shape.slice(0, -1), spec.units];
    let y: string;
    if (x.shape.length === 1) {
      y = this.#node("Gemm", bias === undefined ? [x.name, weight] : [x.name, weight, bias]);
    } else {
      y = this.#node("MatMul", [x.name, weight]);
      if (bias !== undefined) y = this.#e.add(y, bias);
    }
    return this.#activation({ name: y, dtype: "float32", shape }, spec.activation);
  }

  #convolution(given: RowValue, spec: ConvolutionSpec): RowValue {
    const x = this.#asFloats(given);
    const axes = spec.type === "conv1d" ? 1 : 2;
    const [channels, ...image] = this.#requireImage(x, axes);
    requireInteger(`${this.#place}: filters`, spec.filters, { min: 1 });
    const groups = spec.groups ?? 1;
    requireInteger(`${this.#place}: groups`, groups, { min: 1 });
    if (channels! % groups !== 0 || spec.filters % groups !== 0) {
      throw this.#refuse(`${groups} groups do not divide ${channels} channels and ${spec.filters} filters evenly`);
    }
    const window = this.#window(image, spec.kernel, spec.stride ?? 1, spec.dilation ?? 1, spec.padding ?? "valid");
    const perGroup = channels! / groups;
    const area = product(window.kernel);
    const kernelShape = [spec.filters, perGroup, ...window.kernel];
    const weight = this.#kernel("weight", kernelShape, perGroup * area, (spec.filters / groups) * area, spec);
    const inputs = [x.name, weight];
    if (spec.bias !== false) inputs.push(this.#constant("bias", [spec.filters], 0));
    const y = this.#node("Conv", inputs, {
      kernel_shape: window.kernel,
      strides: window.strides,
      dilations: window.dilations,
      pads: window.pads,
      group: groups,
    });
    return this.#activation({ name: y, dtype: "float32", shape: [spec.filters, ...window.sizes] }, spec.activation);
  }

  #pooling(given: RowValue, spec: PoolingSpec): RowValue {
    const x = this.#asFloats(given);
    const [channels, ...image] = this.#requireImage(x, undefined);
    const window = this.#window(image, spec.size, spec.stride ?? spec.size, 1, spec.padding ?? "valid");
    const y = this.#node(spec.type === "max_pool" ? "MaxPool" : "AveragePool", [x.name], {
      kernel_shape: window.kernel,
      strides: window.strides,
      pads: window.pads,
    });
    return { name: y, dtype: "float32", shape: [channels!, ...window.sizes] };
  }

  #globalPooling(given: RowValue, opType: string): RowValue {
    const x = this.#asFloats(given);
    const [channels] = this.#requireImage(x, undefined);
    return {
      name: this.#e.reshape(this.#node(opType, [x.name]), [0, channels!]),
      dtype: "float32",
      shape: [channels!],
    };
  }

  #batchNorm(given: RowValue, momentum: number, epsilon: number): RowValue {
    const x = this.#asFloats(given);
    requireNumber(`${this.#place}: momentum`, momentum, { min: 0, below: 1 });
    requireNumber(`${this.#place}: epsilon`, epsilon, { above: 0 });
    const channels = x.shape[0];
    if (channels === undefined) throw this.#refuse("wants channels; gets single numbers");
    const inputs = [x.name, this.#constant("scale", [channels], 1), this.#constant("bias", [channels], 0)];
    inputs.push(this.#constant("running_mean", [channels], 0), this.#constant("running_variance", [channels], 1));
    const y = this.#node("BatchNormalization", inputs, { epsilon: floats(epsilon), momentum: floats(momentum) });
    return { ...x, name: y };
  }

  #layerNorm(given: RowValue, epsilon: number): RowValue {
    const x = this.#asFloats(given);
    requireNumber(`${this.#place}: epsilon`, epsilon, { above: 0 });
    const features = x.shape.at(-1);
    if (features === undefined) throw this.#refuse("wants features; gets single numbers");
    const inputs = [x.name, this.#constant("scale", [features], 1), this.#constant("bias", [features], 0)];
    return { ...x, name: this.#node("LayerNormalization", inputs, { axis: -1, epsilon: floats(epsilon) }) };
  }

  #dropout(given: RowValue, rate: number): RowValue {
    const x = this.#asFloats(given);
    requireNumber(`${this.#place}: rate`, rate, { min: 0, below: 1 });
    return { ...x, name: this.#node("Dropout", [x.name, this.#e.scalar(rate, "float32")]) };
  }

  #reshape(x: RowValue, wanted: readonly number[]): RowValue {
    const count = product(x.shape);
    const known = product(wanted.filter((size) => size !== -1));
    const shape = wanted.map((size) => (size === -1 ? count / known : size));
    const fits = wanted.filter((size) => size === -1).length <= 1 && product(shape) === count;
    if (!fits || shape.some((size) => !Number.isInteger(size) || size < 1)) {
      throw this.#refuse(
        `${formatShape(x.shape)} has ${count} elements a row, which do not make ${formatShape(wanted)}`,
      );
    }
    return {
      ...x,
      name: this.#e.reshape(
        x.name,
        [0, ...shape].map((size, axis) => (axis === 0 ? -1 : size)),
      ),
      shape,
    };
  }

  #embedding(x: RowValue, vocabulary: number, dimensions: number): RowValue {
    requireInteger(`${this.#place}: vocabulary`, vocabulary, { min: 1 });
    requireInteger(`${this.#place}: dimensions`, dimensions, { min: 1 });
    const indices = x.dtype === "int64" || x.dtype === "int32" ? x.name : this.#e.cast(x.name, "int64");
    this.#room.weights(this.#place, vocabulary * dimensions);
    const drawn = this.#weights.normal(vocabulary * dimensions, 0.05);
    const table = this.#initializer("weight", [vocabulary, dimensions], drawn);
    return { name: this.#node("Gather", [table, indices]), dtype: "float32", shape: [...x.shape, dimensions] };
  }

  #recurrent(given: RowValue, spec: RecurrentSpec): RowValue {
    const x = this.#asFloats(given);
    const [steps, features] = this.#requireSequence(x);
    requireInteger(`${this.#place}: units`, spec.units, { min: 1 });
    const directions = spec.bidirectional ? 2 : 1;
    const width = { rnn: 1, gru: 3, lstm: 4 }[spec.type] * spec.units;
    const bound = 1 / Math.sqrt(spec.units);
    // Gates of every step are kept for the way back.
    this.#room.value(this.#place, [steps, directions, 2 * width]);
    const drawn = (name: string, shape: readonly number[]) => {
      this.#room.weights(this.#place, product(shape));
      return this.#initializer(name, shape, this.#weights.uniform(product(shape), bound));
    };
    const inputs = [
      this.#e.transpose(x.name, [1, 0, 2]),
      drawn("weight", [directions, width, features]),
      drawn("recurrent_weight", [directions, width, spec.units]),
      drawn("bias", [directions, 2 * width]),
    ];
    const outputs = [this.#graph.fresh(this.#name), this.#graph.fresh(this.#name)];
    this.#graph.node(
      spec.type.toUpperCase(),
      inputs,
      {
        hidden_size: spec.units,
        ...(directions === 2 && { direction: "bidirectional" }),
        // The reset gate acts on the product, as it does in Keras and PyTorch.
        ...(spec.type === "gru" && { linear_before_reset: 1 }),
      },
      { name: this.#name, outputs },
    );
    const wide = directions * spec.units;
    if (spec.returnSequences) {
      // [steps, directions, N, units]
      const ordered = this.#e.transpose(outputs[0]!, [2, 0, 1, 3]);
      return { name: this.#e.reshape(ordered, [-1, steps, wide]), dtype: "float32", shape: [steps, wide] };
    }
    const last = this.#e.transpose(outputs[1]!, [1, 0, 2]);
    return { name: this.#e.reshape(last, [-1, wide]), dtype: "float32", shape: [wide] };
  }

  #attention(given: RowValue, spec: AttentionSpec): RowValue {
    const x = this.#asFloats(given);
    const [steps, features] = this.#requireSequence(x);
    requireInteger(`${this.#place}: heads`, spec.heads, { min: 1 });
    if (spec.headSize === undefined && features % spec.heads !== 0) {
      throw this.#refuse(`${spec.heads} heads do not divide ${features} features evenly; give head_size`);
    }
    const size = spec.headSize ?? features / spec.heads;
    requireInteger(`${this.#place}: head_size`, size, { min: 1 });
    this.#room.value(this.#place, [3, spec.heads, steps, steps]);
    const e = this.#e;
    const wide = spec.heads * size;
    const project = (name: string, from: string, width: number, to: number) => {
      const weight = this.#kernel(`${name}_weight`, [width, to], width, to, {});
      return e.add(e.matMul(from, weight), this.#constant(`${name}_bias`, [to], 0));
    };
    // [N, steps, heads·size] → [N, heads, steps, size]; keys as [N, heads, size, steps]
    const split = (value: string, perm: readonly number[]) =>
      e.transpose(e.reshape(value, [-1, steps, spec.heads, size]), perm);
    const queries = split(project("query", x.name, features, wide), [0, 2, 1, 3]);
    const keys = split(project("key", x.name, features, wide), [0, 2, 3, 1]);
    const values = split(project("value", x.name, features, wide), [0, 2, 1, 3]);
    let scores = e.mul(e.matMul(queries, keys), e.scalar(1 / Math.sqrt(size), "float32"));
    if (spec.causal) scores = e.add(scores, this.#causalMask(steps));
    const mixed = e.matMul(e.op("Softmax", [scores], { axis: -1 }), values);
    const joined = e.reshape(e.transpose(mixed, [0, 2, 1, 3]), [-1, steps, wide]);
    return { name: project("output", joined, wide, features), dtype: "float32", shape: x.shape };
  }

  /** Added to scores: nothing up to the own step, and after it so much less that nothing is left. */
  #causalMask(steps: number): string {
    const mask = Array.from({ length: steps * steps }, (_, i) => (i % steps > Math.floor(i / steps) ? -1e9 : 0));
    return this.#e.constant("float32", [steps, steps], mask);
  }

  #residual(x: RowValue, spec: ResidualSpec): RowValue {
    const place = this.#place;
    const through = this.stack(x, spec.layers, `${place}, layer `);
    const around = spec.shortcut === undefined ? x : this.stack(x, spec.shortcut, `${place}, shortcut layer `);
    this.#place = place;
    if (formatShape(through.shape) !== formatShape(around.shape)) {
      const shapes = `${formatShape(around.shape)} to ${formatShape(through.shape)}`;
      throw this.#refuse(`its layers change the shape from ${shapes}; give a shortcut that does the same`);
    }
    const sum = { ...through, name: this.#e.add(through.name, this.#asFloats(around).name) };
    return this.#activation(sum, spec.activation);
  }

  #activation(given: RowValue, name: ActivationName = "linear"): RowValue {
    requireOneOf(`${this.#place}: activation`, name, activationNames);
    const x = this.#asFloats(given);
    const e = this.#e;
    switch (name) {
      case "linear":
        return x;
      case "swish":
        return { ...x, name: e.mul(x.name, e.op("Sigmoid", [x.name])) };
      case "softmax":
      case "log_softmax":
        return { ...x, name: e.op(name === "softmax" ? "Softmax" : "LogSoftmax", [x.name], { axis: -1 }) };
      default:
        return { ...x, name: e.op(activationOperators[name], [x.name]) };
    }
  }

  #window(image: readonly number[], kernel: Sizes, stride: Sizes, dilation: Sizes, padding: "valid" | "same" | Sizes) {
    const perAxis = (name: string, sizes: Sizes, min: number) => {
      const list = typeof sizes === "number" ? image.map(() => sizes) : sizes;
      if (list.length !== image.length) {
        throw this.#refuse(`${name} has ${list.length} sizes; the input ${formatShape(image)} has ${image.length}`);
      }
      for (const size of list) requireInteger(`${this.#place}: ${name}`, size, { min });
      return list;
    };
    const kernels = perAxis("kernel", kernel, 1);
    const strides = perAxis("stride", stride, 1);
    const dilations = perAxis("dilation", dilation, 1);
    const reach = kernels.map((size, axis) => (size - 1) * dilations[axis]! + 1);
    let before: readonly number[];
    let after: readonly number[];
    if (padding === "same") {
      const total = image.map((size, axis) =>
        Math.max(0, (Math.ceil(size / strides[axis]!) - 1) * strides[axis]! + reach[axis]! - size),
      );
      before = total.map((size) => Math.floor(size / 2));
      after = total.map((size) => Math.ceil(size / 2));
    } else {
      before = perAxis("padding", padding === "valid" ? 0 : padding, 0);
      after = before;
    }
    const sizes = image.map(
      (size, axis) => Math.floor((size + before[axis]! + after[axis]! - reach[axis]!) / strides[axis]!) + 1,
    );
    if (sizes.some((size) => size < 1)) {
      throw this.#refuse(`a window of ${formatShape(reach)} does not fit into ${formatShape(image)}`);
    }
    return { kernel: kernels, strides, dilations, pads: [...before, ...after], sizes };
  }

  #requireImage(x: RowValue, axes: number | undefined): readonly number[] {
    const wanted = axes === 1 ? "[channels, length]" : "[channels, height, width]";
    const fits = axes === undefined ? x.shape.length >= 2 : x.shape.length === axes + 1;
    if (!fits) throw this.#refuse(`wants rows of shape ${wanted}; gets ${formatShape(x.shape)}`);
    return x.shape;
  }

  #requireSequence(x: RowValue): readonly [number, number] {
    const [steps, features] = x.shape;
    if (x.shape.length !== 2) {
      throw this.#refuse(`wants rows of shape [steps, features]; gets ${formatShape(x.shape)}`);
    }
    return [steps!, features!];
  }

  #asFloats(x: RowValue): RowValue {
    if (x.dtype === "string") throw this.#refuse("wants numbers; gets strings");
    return x.dtype === "float32" ? x : { ...x, name: this.#e.cast(x.name, "float32"), dtype: "float32" };
  }

  #kernel(
    name: string,
    shape: readonly number[],
    fanIn: number,
    fanOut: number,
    { initializer, activation = "linear" }: { initializer?: string; activation?: ActivationName },
  ): string {
    const chosen = initializer ?? defaultInitializer(activation);
    requireOneOf(`${this.#place}: initializer`, chosen, initializerNames);
    this.#room.weights(this.#place, product(shape));
    return this.#initializer(name, shape, this.#weights.draw(chosen, product(shape), fanIn, fanOut));
  }

  #constant(name: string, shape: readonly number[], value: number): string {
    this.#room.weights(this.#place, product(shape));
    return this.#initializer(name, shape, new Float32Array(product(shape)).fill(value));
  }

  #initializer(name: string, shape: readonly number[], data: Float32Array): string {
    return this.#graph.initializer(`${this.#name}/${name}`, { dtype: "float32", shape, data });
  }

  #node(opType: string, inputs: readonly string[], attributes: Parameters<Graph["node"]>[2] = {}): string {
    return this.#graph.node(opType, inputs, attributes, {
      name: this.#name,
      outputs: [this.#graph.fresh(this.#name)],
    })[0]!;
  }

  #refuse(why: string): StatusError {
    return invalidArgument(`${this.#place}: ${why}`);
  }
}

const layerTypes: readonly LayerType[] = [
  "dense",
  "conv1d",
  "conv2d",
  "max_pool",
  "avg_pool",
  "global_avg_pool",
  "global_max_pool",
  "batch_norm",
  "layer_norm",
  "dropout",
  "flatten",
  "reshape",
  "embedding",
  "rnn",
  "gru",
  "lstm",
  "attention",
  "activation",
  "residual",
];

const activationOperators: Readonly<
  Record<Exclude<ActivationName, "linear" | "swish" | "softmax" | "log_softmax">, string>
> = {
  relu: "Relu",
  leaky_relu: "LeakyRelu",
  elu: "Elu",
  selu: "Selu",
  gelu: "Gelu",
  sigmoid: "Sigmoid",
  tanh: "Tanh",
  softplus: "Softplus",
  softsign: "Softsign",
  hard_sigmoid: "HardSigmoid",
  hard_swish: "HardSwish",
  mish: "Mish",
};

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
