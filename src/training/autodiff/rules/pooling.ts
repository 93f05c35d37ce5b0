import type { GraphNode } from "../../../onnx/index.js";
import type { ElementType } from "../../../tensor/index.js";
import {
  type GradientEmitter,
  type Gradients,
  product,
  type RuleNode,
  range,
  type SingleRule,
  singleRules,
} from "../gradient-rule.js";
import { convolveBack, spatialSizes, type Window, windowOf } from "./convolution.js";

/**
 * Windows that tile the image: each element is seen once, so that a mask can tell which ones won. Otherwise the rule
 * needs the operator's indices, which cost it its fast kernel.
 */
export function poolsInTiles({ attributes }: GraphNode): boolean {
  const list = (name: string) => attributes.get(name) as readonly number[] | undefined;
  const kernel = list("kernel_shape") ?? [];
  const strides = list("strides") ?? kernel.map(() => 1);
  return (
    kernel.every((size, axis) => size === strides[axis]) &&
    (list("pads") ?? []).every((size) => size === 0) &&
    (list("dilations") ?? []).every((size) => size === 1) &&
    (attributes.get("ceil_mode") ?? 0) === 0 &&
    (attributes.get("auto_pad") ?? "NOTSET") === "NOTSET"
  );
}

const maxPool: SingleRule = (g, n, dY) => (poolsInTiles(n.node) ? byMask(g, n, dY) : byIndices(g, n, dY));

// The elements of a window that equal its maximum share the gradient: zeros under a ReLU tie often.
function byMask(g: GradientEmitter, n: RuleNode, dY: string): Gradients {
  const x = n.x(0);
  const kernel = n.ints("kernel_shape")!;
  const large = spatialSizes(g, x);
  const small = spatialSizes(g, n.y());
  const covered = small.map((size, axis) => size * kernel[axis]!);
  const axes = range(kernel.length, 2);
  const seen = covered.every((size, axis) => size === large[axis])
    ? x
    : g.slice(
        x,
        covered.map(() => 0),
        covered,
        axes,
      );
  const tiles: Tiles = { sizes: small, kernel, channels: g.size(x, 1), dtype: g.dtype(x) };
  const wins = g.castLike(g.op("Equal", [seen, stretchTiles(g, n.y(), tiles)]), x);
  const ties = sumInTiles(g, wins, tiles);
  const inside = g.mul(stretchTiles(g, g.div(dY, ties), tiles), wins);
  const outside = large.map((size, axis) => size - covered[axis]!);
  return [g.pad(inside, [0, 0, ...large.map(() => 0), 0, 0, ...outside])];
}

/** Repeats each element over its tile. */
function stretchTiles(g: GradientEmitter, value: string, tiles: Tiles): string {
  const { sizes, kernel, channels, dtype } = tiles;
  if (alongRows(tiles)) {
    const row = sizes.at(-1)!;
    const large = sizes.map((size, axis) => size * kernel[axis]!);
    const stretched = g.matMul(g.reshape(value, [-1, row]), g.constant(dtype, ...rowToTiles(tiles)));
    return g.reshape(stretched, [-1, channels, ...large]);
  }
  let stretched = value;
  const done = [...sizes];
  for (let axis = kernel.length - 1; axis >= 0; axis--) {
    const copies = kernel[axis]!;
    if (copies === 1) continue;
    // [.., size, rest] → [.., size, copies, rest] → [.., size·copies, rest]
    const split = g.reshape(stretched, [0, channels, ...done.slice(0, axis + 1), 1, ...done.slice(axis + 1)]);
    const repeated = g.concat(
      range(copies).map(() => split),
      axis + 3,
    );
    done[axis] = done[axis]! * copies;
    stretched = g.reshape(repeated, [0, channels, ...done]);
  }
  return stretched;
}

function sumInTiles(g: GradientEmitter, value: string, tiles: Tiles): string {
  const { sizes, kernel, channels, dtype } = tiles;
  if (alongRows(tiles)) {
    const [[row, tiled], elements] = rowToTiles(tiles);
    const transposed = range(tiled * row).map((i) => elements[(i % row) * tiled + Math.floor(i / row)]!);
    const summed = g.matMul(g.reshape(value, [-1, tiled]), g.constant(dtype, [tiled, row], transposed));
    return g.reshape(summed, [-1, channels, ...sizes]);
  }
  if (dtype === "float32") {
    const average = g.op("AveragePool", [value], { kernel_shape: kernel, strides: kernel });
    return g.mul(average, g.scalar(product(kernel), dtype));
  }
  // There is no AveragePool for doubles.
  const split = g.reshape(value, [0, channels, ...sizes.flatMap((size, axis) => [size, kernel[axis]!])]);
  return g.sum(
    split,
    range(kernel.length).map((axis) => 3 + 2 * axis),
    false,
  );
}

/** An image in tiles: one element of the small image for each. */
interface Tiles {
  readonly sizes: readonly number[];
  readonly kernel: readonly number[];
  readonly channels: number;
  readonly dtype: ElementType;
}

// Measured: moving single elements about costs more than a product with zeros and ones does, up to this row.
const longestRow = 32;
const alongRows = ({ sizes }: Tiles): boolean => sizes.length <= 2 && sizes.at(-1)! <= longestRow;

/**
 * The matrix that makes a row of the small image the rows of the large one that its tiles cover, one behind the other:
 * a single one in each column.
 */
function rowToTiles({ sizes, kernel }: Tiles): readonly [readonly [number, number], readonly number[]] {
  const row = sizes.at(-1)!;
  const width = row * kernel.at(-1)!;
  const height = kernel.length === 2 ? kernel[0]! : 1;
  const elements = range(row).flatMap((from) =>
    range(height * width).map((to) => Number(Math.floor((to % width) / kernel.at(-1)!) === from)),
  );
  return [[row, height * width], elements];
}

// The indices count elements of the whole of X, batch and channels included.
function byIndices(g: GradientEmitter, n: RuleNode, dY: string): Gradients {
  if (n.int("storage_order", 0) !== 0) throw n.refuse("its indices are in column-major order");
  const [x, indices] = [n.x(0), n.y(1)];
  const flat = (value: string) => g.reshape(value, [-1]);
  const zeros = flat(g.zerosLike(x));
  const scattered = g.op("ScatterElements", [zeros, flat(indices), flat(dY)], { axis: 0, reduction: "add" });
  return [g.reshapeLike(scattered, x)];
}

// Every element of a window gets the same share: a transposed convolution with ones, channel by channel.
const averagePool: SingleRule = (g, n, dY) => {
  const x = n.x(0);
  const window = stretchToCeiling(windowOf(g, n, n.ints("kernel_shape")!));
  const channels = g.size(x, 1);
  const share = g.mul(dY, shares(g, n, x, window));
  const ones = g.expand(g.number(1, x), g.ints([channels, 1, ...window.kernel]));
  return [convolveBack(g, share, ones, window, channels)];
};

/** With ceil_mode the last window hangs over the edge: as if there were more padding behind. */
function stretchToCeiling(window: Window): Window {
  const padsAfter = window.padsAfter.map((pad, axis) => {
    const reach = (window.kernel[axis]! - 1) * window.dilations[axis]! + 1;
    const wanted = (window.small[axis]! - 1) * window.strides[axis]! + reach;
    return Math.max(pad, wanted - window.large[axis]! - window.padsBefore[axis]!);
  });
  return { ...window, padsAfter };
}

/** One over the number of elements that each window averages: real ones, or padding too where the node says so. */
function shares(g: GradientEmitter, n: RuleNode, x: string, window: Window): string {
  const countPadding = n.int("count_include_pad", 0) === 1;
  const declared = windowOf(g, n, window.kernel);
  const counts = window.small.map((positions, axis) =>
    range(positions).map((position) => {
      const first = position * window.strides[axis]! - window.padsBefore[axis]!;
      const elements = range(window.kernel[axis]!).map((element) => first + element * window.dilations[axis]!);
      const from = countPadding ? -window.padsBefore[axis]! : 0;
      // What ceil_mode adds beyond the declared padding is never counted.
      const to = window.large[axis]! + (countPadding ? declared.padsAfter[axis]! : 0);
      return elements.filter((element) => element >= from && element < to).length;
    }),
  );
  let all = [1];
  for (const along of counts) all = all.flatMap((count) => along.map((other) => count * other));
  if (all.every((count) => count === all[0])) return g.number(1 / all[0]!, x);
  return g.constant(
    g.dtype(x),
    [1, 1, ...window.small],
    all.map((count) => 1 / count),
  );
}

export const poolingRules = singleRules({
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: (g, n, dY) => {
    const axes = range(g.rank(n.x(0)) - 2, 2);
    return [g.expandLike(g.div(dY, g.countAlong(n.x(0), axes)), n.x(0))];
  },
  GlobalMaxPool: (g, n, dY) => {
    const x = n.x(0);
    const wins = g.castLike(g.op("Equal", [x, n.y()]), x);
    return [g.mul(g.div(dY, g.sum(wins, range(g.rank(x) - 2, 2))), wins)];
  },
});
