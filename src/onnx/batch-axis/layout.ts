// What the proof knows of a value: where its batch axis is, its shape, and, for small lists of sizes, what they hold.
import type { Operation } from "./operation.js";

/** The one dimension that is the number of rows in the batch. */
export const batch = "batch";

/**
 * A size: a number; the batch; a name of our own ("?x:1") for a size that is the same in every batch of like rows, where
 * equal names are equal sizes; or undefined for such a size without a name.
 */
export type Size = number | typeof batch | `?${string}` | undefined;

/**
 * A value that is the same whatever the batch (axis undefined), or one whose slice i along `axis` depends on row i of
 * the graph's inputs alone. Other than along `axis`, no size depends on the batch.
 */
export interface Layout {
  readonly axis: number | undefined;
  /** undefined: not known. Always known where there is an axis. */
  readonly shape: readonly Size[] | undefined;
  /**
   * What an integer or boolean tensor of at most one dimension holds; undefined: not known, but the same whatever the
   * batch. Only such a value may hold the batch size itself.
   */
  readonly elements: readonly Size[] | undefined;
  /** The same for a tensor of floats; numbers only. */
  readonly reals: readonly number[] | undefined;
}

/** The same whatever the batch. */
export function fixed(shape: readonly Size[] | undefined, elements?: readonly Size[]): Layout {
  return { axis: undefined, shape, elements, reals: undefined };
}

/** Fixed where the shape holds no batch, and along it where it does. Twice would let rows meet. */
export function laidOut(operation: Operation, shape: readonly Size[]): Layout {
  const axis = shape.indexOf(batch);
  if (axis >= 0 && shape.includes(batch, axis + 1)) operation.refuse("makes two axes of the batch");
  return { axis: axis < 0 ? undefined : axis, shape, elements: undefined, reals: undefined };
}

export const holdsBatchSize = ({ elements }: Layout) => elements?.includes(batch) ?? false;

/** As the elements of an array with this shape broadcast with others', NumPy's way. */
export function broadcast(operation: Operation, layouts: readonly Layout[]): Layout {
  const shapes = layouts.map(({ shape }) => shape);
  if (layouts.every(({ axis }) => axis === undefined)) {
    return fixed(shapes.every((shape) => shape !== undefined) ? broadcastShapes(operation, shapes) : undefined);
  }
  const known = shapes.map((shape) => shape ?? operation.refuse("takes a value whose shape is not known"));
  return laidOut(operation, broadcastShapes(operation, known));
}

function broadcastShapes(operation: Operation, shapes: readonly (readonly Size[])[]): Size[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    // A shape that is shorter has ones in front.
    const sizes = shapes.map((shape) => (i < rank - shape.length ? 1 : shape[i - (rank - shape.length)]));
    return broadcastSizes(operation, sizes);
  });
}

function broadcastSizes(operation: Operation, sizes: readonly Size[]): Size {
  const wide = sizes.filter((size) => size !== 1);
  if (wide.length === 0) return 1;
  if (wide.includes(batch)) {
    if (wide.some((size) => size !== batch)) operation.refuse("lines the batch axis up with another one");
    return batch;
  }
  // What is open must be one, or as long as the one that is known.
  const numbers = wide.filter((size) => typeof size === "number");
  if (numbers.length > 0) return numbers.every((size) => size === numbers[0]) ? numbers[0] : undefined;
  return wide.length === 1 || wide.every((size) => size === wide[0]) ? wide[0] : undefined;
}

/** A product of sizes as far as it is known: a number times names. undefined when a size has no name. */
interface Product {
  readonly factor: number;
  readonly names: readonly string[];
}

function product(sizes: readonly Size[]): Product | undefined {
  let factor = 1;
  const names: string[] = [];
  for (const size of sizes) {
    if (size === undefined) return undefined;
    if (typeof size === "number") factor *= size;
    else names.push(size);
  }
  return { factor, names: names.sort() };
}

/** Whether both are known to hold as many elements. Empty ones tell nothing. */
export function sameProduct(left: readonly Size[], right: readonly Size[]): boolean {
  const [a, b] = [product(left), product(right)];
  return a !== undefined && b !== undefined && a.factor === b.factor && comparable(a, b);
}

/** Whether both are known not to. */
export function differentProduct(left: readonly Size[], right: readonly Size[]): boolean {
  const [a, b] = [product(left), product(right)];
  return a !== undefined && b !== undefined && a.factor !== b.factor && comparable(a, b);
}

function comparable(a: Product, b: Product): boolean {
  const exact = [a.factor, b.factor].every((factor) => factor !== 0 && Number.isSafeInteger(factor));
  return exact && a.names.length === b.names.length && a.names.every((name, i) => name === b.names[i]);
}

/** The product as one size, where it is a number or one of the sizes. */
export function productSize(sizes: readonly Size[]): Size {
  const wide = sizes.filter((size) => size !== 1);
  if (wide.every((size) => typeof size === "number")) return wide.reduce((all, size) => all * size, 1);
  return wide.length === 1 ? wide[0] : undefined;
}
