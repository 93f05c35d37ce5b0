// Convolutions, pools and recurrent layers: they slide within a row. All but the recurrent ones take the batch first.
import { batch, fixed, holdsBatchSize, type Layout, laidOut, type Size } from "./layout.js";
import type { Operation, Rule } from "./operation.js";

const convolution: Rule = (operation) => {
  operation.requireFixed(1, 2);
  const [channels, ...kernel] = kernelShape(operation, 1);
  return [windowed(operation, channels, kernel, slidingSize)];
};

const transposedConvolution: Rule = (operation) => {
  operation.requireFixed(1, 2);
  const [, perGroup, ...kernel] = operation.input(1).shape ?? [];
  const groups = operation.int("group", 1);
  const channels = typeof perGroup === "number" ? perGroup * groups : undefined;
  return [windowed(operation, channels, kernel, upsampledSize)];
};

/** x, x scale, x zero point, w, w scale, w zero point, y scale, y zero point, bias. */
const quantizedConvolution: Rule = (operation) => {
  operation.requireFixed(1, 2, 3, 4, 5, 6, 7, 8);
  const [channels, ...kernel] = kernelShape(operation, 3);
  return [windowed(operation, channels, kernel, slidingSize)];
};

/** x, w, x zero point, w zero point. */
const integerConvolution: Rule = (operation) => {
  operation.requireFixed(1, 2, 3);
  const [channels, ...kernel] = kernelShape(operation, 1);
  return [windowed(operation, channels, kernel, slidingSize)];
};

const pool: Rule = (operation) => {
  // Places are counted through the whole batch.
  if (operation.hasOutput(1)) operation.refuse("returns places in the batch");
  const { shape } = operation.input(0);
  return [windowed(operation, shape?.[1], operation.ints("kernel_shape") ?? [], slidingSize)];
};

const globalPool: Rule = (operation) => {
  const shape = requireBatchFirst(operation);
  return [
    shape === undefined
      ? fixed(undefined)
      : laidOut(
          operation,
          shape.map((size, i) => (i < 2 ? size : 1)),
        ),
  ];
};

/** Output channels, then the kernel's sizes, of weights [M, C / group, …]. */
function kernelShape(operation: Operation, weights: number): readonly Size[] {
  const [channels, , ...kernel] = operation.input(weights).shape ?? [];
  return [channels, ...(operation.ints("kernel_shape") ?? kernel)];
}

function requireBatchFirst(operation: Operation): Layout["shape"] {
  const { axis, shape } = operation.input(0);
  if (axis !== undefined && axis !== 0) operation.refuse("takes another axis for the batch");
  return shape;
}

type WindowSize = (operation: Operation, size: number, window: number, index: number, count: number) => Size;

function windowed(operation: Operation, channels: Size, kernel: readonly Size[], sizeOf: WindowSize): Layout {
  const shape = requireBatchFirst(operation);
  if (shape === undefined) return fixed(undefined);
  const spatial = shape.slice(2);
  const sizes = spatial.map((size, i) => {
    const window = kernel[i];
    if (typeof size !== "number" || typeof window !== "number") return undefined;
    return sizeOf(operation, size, window, i, spatial.length);
  });
  return laidOut(operation, [shape[0], channels, ...sizes]);
}

/** How many windows fit: ⌊(size + pads − reach) / stride⌋ + 1, a window reaching (window − 1) · dilation + 1. */
function slidingSize(operation: Operation, size: number, window: number, index: number, count: number): Size {
  const stride = operation.ints("strides")?.[index] ?? 1;
  const dilation = operation.ints("dilations")?.[index] ?? 1;
  const autoPad = operation.text("auto_pad", "NOTSET");
  if (autoPad === "SAME_UPPER" || autoPad === "SAME_LOWER") return Math.ceil(size / stride);
  // Where the last window may hang over, readers of the formula differ.
  if (operation.int("ceil_mode", 0) !== 0) return undefined;
  const reach = (window - 1) * dilation + 1;
  return Math.floor((size + padding(operation, autoPad, index, count) - reach) / stride) + 1;
}

/** stride · (size − 1) + output padding + reach − pads. */
function upsampledSize(operation: Operation, size: number, window: number, index: number, count: number): Size {
  const autoPad = operation.text("auto_pad", "NOTSET");
  if (autoPad !== "NOTSET" || operation.has("output_shape")) return undefined;
  const stride = operation.ints("strides")?.[index] ?? 1;
  const dilation = operation.ints("dilations")?.[index] ?? 1;
  const reach = (window - 1) * dilation + 1;
  const added = operation.ints("output_padding")?.[index] ?? 0;
  return stride * (size - 1) + added + reach - padding(operation, autoPad, index, count);
}

function padding(operation: Operation, autoPad: string, index: number, count: number): number {
  const pads = autoPad === "VALID" ? undefined : operation.ints("pads");
  return (pads?.[index] ?? 0) + (pads?.[index + count] ?? 0);
}

const resize: Rule = (operation) => {
  const input = operation.input(0);
  const cropping = operation.text("coordinate_transformation_mode", "") === "tf_crop_and_resize";
  const policy = operation.text("keep_aspect_ratio_policy", "stretch");
  if (cropping || policy !== "stretch" || operation.has("axes")) operation.refuse("chooses what it resizes");
  if (holdsBatchSize(input)) operation.refuse("computes with the batch size");
  // Interpolation in fewer than four axes is between rows too, if only with weight zero: an infinity would spread.
  const between = operation.text("mode", "nearest") !== "nearest" && (input.shape?.length ?? 0) < 4;
  if (input.axis !== undefined && between) operation.refuse("interpolates between rows");
  if (input.shape === undefined) return [fixed(undefined)];
  // Old operator sets have no regions of interest: there, scales come second.
  const scales = operation.optional(operation.version < 11 ? 1 : 2)?.reals ?? [];
  const sizes = operation.version < 11 ? undefined : operation.optional(3);
  const shape = input.shape.map((size, i) => {
    const target = sizes === undefined ? scaledSize(size, scales[i]) : sizes.elements?.[i];
    if (size === batch && target !== batch) operation.refuse("resizes the batch axis");
    if (size !== batch && target === batch) operation.refuse("computes with the batch size");
    return target;
  });
  return [laidOut(operation, shape)];
};

const scaledSize = (size: Size, scale: number | undefined): Size => {
  if (scale === 1) return size;
  return typeof size === "number" && scale !== undefined ? Math.floor(size * scale) : undefined;
};

/** X is [steps, batch, features], or [batch, steps, features] with layout 1. */
const recurrent: Rule = (operation) => {
  operation.requireFixed(1, 2, 3, 7);
  const shape = operation.shape(0);
  const batchFirst = operation.int("layout", 0) !== 0;
  const states = [5, 6].map((index) => operation.optional(index)).filter((state) => state !== undefined);
  const expected = batchFirst ? 0 : 1;
  const lengths = operation.optional(4);
  const inPlace = states.every(({ axis }) => axis === expected) && (lengths === undefined || lengths.axis === 0);
  if (shape.length !== 3 || shape[expected] !== batch || !inPlace) operation.refuse("takes another axis for the batch");
  const steps = shape[batchFirst ? 1 : 0];
  const hidden = operation.has("hidden_size") ? operation.int("hidden_size", 0) : undefined;
  const directions = operation.text("direction", "forward") === "bidirectional" ? 2 : 1;
  const all = batchFirst ? [batch, steps, directions, hidden] : [steps, directions, batch, hidden];
  const last = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  return [all, last, last].map((sizes) => laidOut(operation, sizes as readonly Size[]));
};

/** Those that never see the batch size as a number. */
export const windowRules: Readonly<Record<string, Rule>> = {
  Conv: convolution,
  ConvInteger: integerConvolution,
  QLinearConv: quantizedConvolution,
  ConvTranspose: transposedConvolution,
  MaxPool: pool,
  AveragePool: pool,
  LpPool: pool,
  GlobalMaxPool: globalPool,
  GlobalAveragePool: globalPool,
  GlobalLpPool: globalPool,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
};

/** Those that know what to do with it. */
export const windowSizeRules: Readonly<Record<string, Rule>> = { Resize: resize, Upsample: resize };
