import { type GradientEmitter, product, type RuleNode, range, type SingleRule, singleRules } from "../gradient-rule.js";

/** A sliding window, by spatial axis: how the elements of a small image map onto those of a large one. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padsBefore: readonly number[];
  readonly padsAfter: readonly number[];
  /** Sizes of the image the window slides over, and of the image with one element a position. */
  readonly large: readonly number[];
  readonly small: readonly number[];
}

/** How far the window reaches: (k - 1)·d + 1. */
const reach = (kernel: number, dilation: number) => (kernel - 1) * dilation + 1;

/** The window of a Conv or pooling node, with auto_pad worked out from the sizes the probe has seen. */
export function windowOf(g: GradientEmitter, n: RuleNode, kernel: readonly number[]): Window {
  return makeWindow(n, kernel, spatialSizes(g, n.x(0)), spatialSizes(g, n.y()));
}

function makeWindow(n: RuleNode, kernel: readonly number[], large: readonly number[], small: readonly number[]) {
  const axes = range(kernel.length);
  const strides = n.ints("strides") ?? axes.map(() => 1);
  const dilations = n.ints("dilations") ?? axes.map(() => 1);
  const pads = n.ints("pads") ?? range(2 * axes.length).map(() => 0);
  const autoPad = n.text("auto_pad", "NOTSET");
  let padsBefore = autoPad === "NOTSET" ? pads.slice(0, axes.length) : axes.map(() => 0);
  let padsAfter = autoPad === "NOTSET" ? pads.slice(axes.length) : axes.map(() => 0);
  if (autoPad.startsWith("SAME")) {
    const total = axes.map((axis) => {
      const wanted = (small[axis]! - 1) * strides[axis]! + reach(kernel[axis]!, dilations[axis]!);
      return Math.max(0, wanted - large[axis]!);
    });
    // Of an odd number, the larger half goes behind for SAME_UPPER, in front for SAME_LOWER.
    padsBefore = total.map((size) => (autoPad === "SAME_UPPER" ? Math.floor(size / 2) : Math.ceil(size / 2)));
    padsAfter = total.map((size, axis) => size - padsBefore[axis]!);
  }
  return { kernel, strides, dilations, padsBefore, padsAfter, large, small };
}

export function spatialSizes(g: GradientEmitter, value: string): readonly number[] {
  return range(g.rank(value) - 2, 2).map((axis) => g.size(value, axis));
}

const spatialAxes = (window: Window): number[] => range(window.kernel.length, 2);
const windowAttributes = (window: Window, group: number) => ({
  strides: window.strides,
  dilations: window.dilations,
  pads: [...window.padsBefore, ...window.padsAfter],
  group,
});

/** What flows from the small image back to the large one: the transposed convolution with the same window. */
export function convolveBack(g: GradientEmitter, small: string, weights: string, window: Window, group: number) {
  // The size the large image would have if the window fitted exactly falls short of the real one by what the strides
  // skipped at the end.
  const missing = window.large.map((size, axis) => {
    const covered = (window.small[axis]! - 1) * window.strides[axis]!;
    const reached = covered + reach(window.kernel[axis]!, window.dilations[axis]!);
    return size - (reached - window.padsBefore[axis]! - window.padsAfter[axis]!);
  });
  // onnxruntime wants output_padding below the stride; elements beyond it were never looked at and get zero.
  const outputPadding = missing.map((size, axis) => Math.min(size, Math.max(window.strides[axis]! - 1, 0)));
  const rest = missing.map((size, axis) => size - outputPadding[axis]!);
  const large = g.op("ConvTranspose", [small, weights], {
    ...windowAttributes(window, group),
    output_padding: outputPadding,
  });
  return g.pad(large, [0, 0, ...rest.map(() => 0), 0, 0, ...rest]);
}

/** What flows from the large image to the small one. */
function convolve(g: GradientEmitter, large: string, weights: string, window: Window, group: number): string {
  const small = g.op("Conv", [large, weights], windowAttributes(window, group));
  const sizes = window.large.map((size, axis) => {
    const free = size + window.padsBefore[axis]! + window.padsAfter[axis]!;
    return Math.floor((free - reach(window.kernel[axis]!, window.dilations[axis]!)) / window.strides[axis]!) + 1;
  });
  return cutTo(g, small, sizes, window.small, spatialAxes(window));
}

function cutTo(
  g: GradientEmitter,
  value: string,
  sizes: readonly number[],
  wanted: readonly number[],
  axes: readonly number[],
) {
  if (sizes.every((size, axis) => size <= wanted[axis]!)) return value;
  return g.slice(
    value,
    wanted.map(() => 0),
    wanted,
    axes,
  );
}

/**
 * The gradient of the weights [M, C/group, ...kernel]: how each element of the small image (M channels) goes together
 * with each element of the large one (C channels) that its window sees.
 */
function weightGradient(
  g: GradientEmitter,
  large: string,
  small: string,
  weights: string,
  window: Window,
  group: number,
): string {
  // Measured: slices win for one group and small kernels; the convolution works for all.
  if (group === 1 && product(window.kernel) <= 9) return weightGradientBySlices(g, large, small, weights, window);
  return weightGradientByConvolution(g, large, small, weights, window, group);
}

// One strided slice of the padded large image per kernel element, side by side [N, K·C, positions]; then one batched
// product with the small image [N, M, positions], and the sum over N.
function weightGradientBySlices(g: GradientEmitter, large: string, small: string, weights: string, window: Window) {
  const { kernel, strides, dilations, padsBefore, padsAfter } = window;
  const [outChannels, channels] = [g.size(weights, 0), g.size(weights, 1)];
  const positions = product(window.small);
  const padded = g.pad(large, [0, 0, ...padsBefore, 0, 0, ...padsAfter]);
  const columns = offsetsOf(kernel).map((offset) => {
    const starts = offset.map((element, axis) => element * dilations[axis]!);
    const ends = starts.map((start, axis) => start + (window.small[axis]! - 1) * strides[axis]! + 1);
    const whole = ends.every((end, axis) => starts[axis] === 0 && end === paddedSize(window, axis));
    const unit = strides.every((stride) => stride === 1);
    const seen = whole && unit ? padded : g.slice(padded, starts, ends, spatialAxes(window), strides);
    return g.reshape(seen, [0, channels, positions]);
  });
  const flat = g.reshape(small, [0, outChannels, positions]);
  const products = g.matMul(flat, g.transpose(g.concat(columns, 1), [0, 2, 1]));
  const summed = g.reshape(g.sum(products, [0], false), [outChannels, columns.length, channels]);
  return g.reshapeLike(g.transpose(summed, [0, 2, 1]), weights);
}

const paddedSize = (window: Window, axis: number): number =>
  window.large[axis]! + window.padsBefore[axis]! + window.padsAfter[axis]!;

/** Every position in a kernel: [[0,0], [0,1], …]. */
function offsetsOf(kernel: readonly number[]): number[][] {
  let offsets: number[][] = [[]];
  for (const size of kernel) offsets = offsets.flatMap((offset) => range(size).map((element) => [...offset, element]));
  return offsets;
}

// A convolution of the large image with the small one as its kernel: samples play the part of channels, and strides
// that of dilations. Groups are folded into the samples.
function weightGradientByConvolution(
  g: GradientEmitter,
  large: string,
  small: string,
  weights: string,
  window: Window,
  group: number,
): string {
  const swapped = [1, 0, ...spatialAxes(window)];
  const channels = g.size(weights, 1);
  let images = g.transpose(large, swapped);
  if (group !== 1) {
    const grouped = g.reshape(large, [0, group, channels, ...window.large]);
    const perm = [2, 1, 0, ...range(window.kernel.length, 3)];
    images = g.reshape(g.transpose(grouped, perm), [channels, -1, ...window.large]);
  }
  const gradient = g.op("Conv", [images, g.transpose(small, swapped)], {
    strides: window.dilations,
    dilations: window.strides,
    pads: [...window.padsBefore, ...window.padsAfter],
    group,
  });
  const sizes = window.kernel.map((_, axis) => {
    const free = paddedSize(window, axis) - reach(window.small[axis]!, window.strides[axis]!);
    return Math.floor(free / window.dilations[axis]!) + 1;
  });
  return g.transpose(cutTo(g, gradient, sizes, window.kernel, spatialAxes(window)), swapped);
}

const conv: SingleRule = (g, n, dY) => {
  const [x, w] = [n.x(0), n.x(1)];
  const group = n.int("group", 1);
  const window = windowOf(g, n, spatialSizes(g, w));
  return [
    n.wants(0) ? convolveBack(g, dY, w, window, group) : undefined,
    n.wants(1) ? weightGradient(g, x, dY, w, window, group) : undefined,
    n.wants(2) ? g.sum(dY, [0, ...spatialAxes(window)], false) : undefined,
  ];
};

// The same window seen from the other side: the output is the large image.
const convTranspose: SingleRule = (g, n, dY) => {
  const [x, w] = [n.x(0), n.x(1)];
  const group = n.int("group", 1);
  const window = transposedWindow(g, n, spatialSizes(g, w));
  return [
    n.wants(0) ? convolve(g, dY, w, window, group) : undefined,
    n.wants(1) ? weightGradient(g, dY, x, w, window, group) : undefined,
    n.wants(2) ? g.sum(dY, [0, ...spatialAxes(window)], false) : undefined,
  ];
};

function transposedWindow(g: GradientEmitter, n: RuleNode, kernel: readonly number[]): Window {
  const small = spatialSizes(g, n.x(0));
  const large = spatialSizes(g, n.y());
  const autoPad = n.text("auto_pad", "NOTSET");
  const strides = n.ints("strides") ?? kernel.map(() => 1);
  const dilations = n.ints("dilations") ?? kernel.map(() => 1);
  const outputPadding = n.ints("output_padding") ?? kernel.map(() => 0);
  const asked = n.ints("output_shape");
  if (autoPad === "NOTSET" && asked === undefined) return makeWindow(n, kernel, large, small);
  if (autoPad === "VALID") {
    const none = kernel.map(() => 0);
    return { kernel, strides, dilations, padsBefore: none, padsAfter: none, large, small };
  }
  // The output's size was asked for; what is over was cut off on both sides.
  const total = large.map((size, axis) => {
    const full = (small[axis]! - 1) * strides[axis]! + reach(kernel[axis]!, dilations[axis]!) + outputPadding[axis]!;
    return Math.max(0, full - size);
  });
  const padsBefore = total.map((size) => (autoPad === "SAME_UPPER" ? Math.floor(size / 2) : Math.ceil(size / 2)));
  const padsAfter = total.map((size, axis) => size - padsBefore[axis]!);
  return { kernel, strides, dilations, padsBefore, padsAfter, large, small };
}

export const convolutionRules = singleRules({ Conv: conv, ConvTranspose: convTranspose });
