import type { GraphAttribute } from "../../../src/onnx/index.js";
import { checkGradients, type GradientCase } from "../../support/finite-differences.js";

type Attributes = Record<string, GraphAttribute>;

/** Sizes of the image and of the kernel, channels in and out. */
function convolution(
  opType: "Conv" | "ConvTranspose",
  [channels, filters]: readonly [number, number],
  image: readonly number[],
  kernel: readonly number[],
  attributes: Attributes = {},
): GradientCase {
  const group = (attributes["group"] as number | undefined) ?? 1;
  const weights = opType === "Conv" ? [filters, channels / group] : [channels, filters / group];
  return {
    name: `${opType} ${channels}→${filters} [${image}] kernel [${kernel}] ${JSON.stringify(attributes)}`,
    inputs: [{ shape: ["N", channels, ...image] }, { shape: [...weights, ...kernel] }, { shape: [filters] }],
    build: (e, x) => e.op(opType, x, { kernel_shape: kernel, ...attributes }),
    float32Only: true,
    linear: true,
  };
}

checkGradients("convolutions", [
  convolution("Conv", [3, 4], [6, 7], [3, 3]),
  convolution("Conv", [3, 4], [6, 7], [3, 3], { pads: [1, 1, 1, 1] }),
  convolution("Conv", [2, 3], [8, 8], [3, 3], { strides: [2, 2], pads: [1, 1, 1, 1] }),
  convolution("Conv", [2, 3], [9, 8], [3, 2], { strides: [3, 2], pads: [0, 1, 1, 0] }),
  convolution("Conv", [2, 3], [9, 9], [3, 3], { dilations: [2, 2], pads: [2, 2, 2, 2] }),
  convolution("Conv", [2, 3], [10, 11], [2, 3], { strides: [2, 3], dilations: [2, 1], pads: [1, 0, 0, 2] }),
  convolution("Conv", [2, 3], [5, 5], [1, 1]),
  convolution("Conv", [2, 3], [8, 8], [1, 1], { strides: [3, 3] }),
  convolution("Conv", [2, 3], [7, 8], [3, 3], { auto_pad: "SAME_UPPER", strides: [2, 2] }),
  convolution("Conv", [2, 3], [7, 8], [4, 3], { auto_pad: "SAME_LOWER", strides: [1, 2] }),
  convolution("Conv", [2, 3], [7, 8], [3, 3], { auto_pad: "VALID" }),
  convolution("Conv", [4, 6], [6, 6], [3, 3], { group: 2, pads: [1, 1, 1, 1] }),
  convolution("Conv", [4, 4], [7, 7], [3, 3], { group: 4, strides: [2, 2], pads: [1, 1, 1, 1] }),
  convolution("Conv", [2, 3], [12, 11], [5, 5], { strides: [2, 2], pads: [2, 2, 2, 2] }),
  convolution("Conv", [3, 4], [9], [3], { pads: [1, 1], strides: [2] }),
  convolution("Conv", [2, 3], [4, 5, 4], [2, 3, 2], { strides: [1, 2, 1], pads: [0, 1, 1, 0, 1, 0] }),
  {
    name: "Conv without a bias",
    inputs: [{ shape: ["N", 2, 5, 5] }, { shape: [3, 2, 3, 3] }],
    build: (e, x) => e.op("Conv", x, { kernel_shape: [3, 3] }),
    float32Only: true,
    linear: true,
  },
  convolution("ConvTranspose", [3, 4], [4, 5], [3, 3], {
    strides: [2, 2],
    pads: [1, 1, 1, 1],
    output_padding: [1, 1],
  }),
  convolution("ConvTranspose", [3, 4], [4, 5], [2, 2], { strides: [2, 2] }),
  convolution("ConvTranspose", [4, 6], [4, 4], [3, 3], { group: 2 }),
  convolution("ConvTranspose", [2, 3], [4, 4], [4, 4], { strides: [2, 2], auto_pad: "SAME_UPPER" }),
  convolution("ConvTranspose", [2, 3], [4, 4], [3, 3], { strides: [2, 2], auto_pad: "SAME_LOWER" }),
  convolution("ConvTranspose", [2, 3], [4, 4], [3, 3], { strides: [2, 2], output_shape: [8, 8] }),
  convolution("ConvTranspose", [2, 3], [5], [3], { strides: [2], dilations: [2] }),
]);
