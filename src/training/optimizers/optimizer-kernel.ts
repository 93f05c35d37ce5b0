// The optimizers' loops: one pass over the flat weights, four floats at a time, in place. A thousand times the weights
// change hands for each time the graph is built, and as operators of the graph these passes would cost more than it.
import {
  assembleModule,
  type Code,
  f32x4,
  f64,
  f64x2,
  i32,
  repeatWhile,
  type Variable,
  v128,
  WasmFunction,
} from "./wasm-assembler.js";

/**
 * Pointers are byte offsets into the memory, 64-byte aligned; count is a number of floats, a multiple of 16 and at
 * least that. `scale` multiplies the gradient first (clipping by norm); `decay` the weight (decoupled weight decay).
 */
export interface OptimizerKernel {
  /** g += l2·w + l1·sign(w) */
  penalize(w: number, g: number, count: number, l1: number, l2: number): void;
  /** g = min(max(g, -bound), bound) */
  clip(g: number, count: number, bound: number): void;
  /** Σ g², in doubles. */
  sumOfSquares(g: number, count: number): number;
  /** w = decay·w - rate·x, with x = scale·g here and below */
  sgd(w: number, g: number, count: number, scale: number, decay: number, rate: number): void;
  /** m = mu·m + x;  w = decay·w - rate·(ofStep·x + ofMomentum·m) */
  momentum(
    w: number,
    g: number,
    m: number,
    count: number,
    scale: number,
    decay: number,
    rate: number,
    mu: number,
    ofStep: number,
    ofMomentum: number,
  ): void;
  /** v = rho·v + rest·x²;  m = mu·m + x/(√v + epsilon);  w = decay·w - rate·m */
  rmsprop(
    w: number,
    g: number,
    m: number,
    v: number,
    count: number,
    scale: number,
    decay: number,
    rate: number,
    rho: number,
    rest: number,
    epsilon: number,
    mu: number,
  ): void;
  /** m = beta1·m + rest1·x;  v = beta2·v + rest2·x²;  w = decay·w - rate·m/(√v + epsilon) */
  adam(
    w: number,
    g: number,
    m: number,
    v: number,
    count: number,
    scale: number,
    decay: number,
    rate: number,
    beta1: number,
    rest1: number,
    beta2: number,
    rest2: number,
    epsilon: number,
  ): void;
}

/** The kernel over one memory. */
export function instantiateKernel(memory: WebAssembly.Memory): OptimizerKernel {
  compiled ??= new WebAssembly.Module(kernelBytes());
  return new WebAssembly.Instance(compiled, { memory: { memory } }).exports as unknown as OptimizerKernel;
}

let compiled: WebAssembly.Module | undefined;

export function kernelBytes(): Uint8Array {
  return assembleModule([penalize(), clip(), sumOfSquares(), sgd(), momentum(), rmsprop(), adam()]);
}

const { add, sub, mul, div, sqrt, min, max, neg, less, greater } = f32x4;

function penalize(): WasmFunction {
  const f = new WasmFunction("penalize");
  const [w, g, count] = [f.param("i32"), f.param("i32"), f.param("i32")];
  const [l1, l2] = spread(f, 2);
  const [weight, zero] = [f.local("v128"), f.local("v128")];
  // A comparison is a mask of ones, which lets l1 through or not.
  const sign = sub(v128.and(greater(weight.get, zero.get), l1!.get), v128.and(less(weight.get, zero.get), l1!.get));
  f.emit(
    zero.set(sub(l1!.get, l1!.get)),
    overAll(
      f,
      count,
      [w, g],
      [
        ...weight.set(v128.load(w.get)),
        ...v128.store(g.get, add(v128.load(g.get), add(mul(l2!.get, weight.get), sign))),
      ],
    ),
  );
  return f;
}

function clip(): WasmFunction {
  const f = new WasmFunction("clip");
  const [g, count] = [f.param("i32"), f.param("i32")];
  const [bound] = spread(f, 1);
  f.emit(overAll(f, count, [g], v128.store(g.get, min(max(v128.load(g.get), neg(bound!.get)), bound!.get))));
  return f;
}

function sumOfSquares(): WasmFunction {
  const f = new WasmFunction("sumOfSquares", "f64");
  const [g, count] = [f.param("i32"), f.param("i32")];
  const [four, low, high, sum] = [f.local("v128"), f.local("v128"), f.local("v128"), f.local("v128")];
  f.emit(
    // Locals start as zeros.
    overAll(
      f,
      count,
      [g],
      [
        ...four.set(v128.load(g.get)),
        ...low.set(f64x2.promoteLow(four.get)),
        ...high.set(f64x2.promoteLow(v128.upperHalf(four))),
        ...sum.set(f64x2.add(sum.get, f64x2.add(f64x2.mul(low.get, low.get), f64x2.mul(high.get, high.get)))),
      ],
    ),
    f64.add(f64x2.lane(sum.get, 0), f64x2.lane(sum.get, 1)),
  );
  return f;
}

function sgd(): WasmFunction {
  const f = new WasmFunction("sgd");
  const [w, g, count] = [f.param("i32"), f.param("i32"), f.param("i32")];
  const [scale, decay, rate] = spread(f, 3);
  const step = mul(rate!.get, mul(scale!.get, v128.load(g.get)));
  f.emit(overAll(f, count, [w, g], updateWeight(w, decay!, step)));
  return f;
}

function momentum(): WasmFunction {
  const f = new WasmFunction("momentum");
  const [w, g, m, count] = [f.param("i32"), f.param("i32"), f.param("i32"), f.param("i32")];
  const [scale, decay, rate, mu, ofStep, ofMomentum] = spread(f, 6);
  const [x, velocity] = [f.local("v128"), f.local("v128")];
  const step = mul(rate!.get, add(mul(ofStep!.get, x.get), mul(ofMomentum!.get, velocity.get)));
  f.emit(
    overAll(
      f,
      count,
      [w, g, m],
      [
        ...x.set(mul(scale!.get, v128.load(g.get))),
        ...velocity.set(add(mul(mu!.get, v128.load(m.get)), x.get)),
        ...v128.store(m.get, velocity.get),
        ...updateWeight(w, decay!, step),
      ],
    ),
  );
  return f;
}

function rmsprop(): WasmFunction {
  const f = new WasmFunction("rmsprop");
  const [w, g, m, v, count] = pointers(f);
  const [scale, decay, rate, rho, rest, epsilon, mu] = spread(f, 7);
  const [x, square, velocity] = [f.local("v128"), f.local("v128"), f.local("v128")];
  const normalized = div(x.get, add(sqrt(square.get), epsilon!.get));
  f.emit(
    overAll(
      f,
      count,
      [w, g, m, v],
      [
        ...x.set(mul(scale!.get, v128.load(g.get))),
        ...square.set(add(mul(rho!.get, v128.load(v.get)), mul(rest!.get, mul(x.get, x.get)))),
        ...v128.store(v.get, square.get),
        ...velocity.set(add(mul(mu!.get, v128.load(m.get)), normalized)),
        ...v128.store(m.get, velocity.get),
        ...updateWeight(w, decay!, mul(rate!.get, velocity.get)),
      ],
    ),
  );
  return f;
}

function adam(): WasmFunction {
  const f = new WasmFunction("adam");
  const [w, g, m, v, count] = pointers(f);
  const [scale, decay, rate, beta1, rest1, beta2, rest2, epsilon] = spread(f, 8);
  const [x, mean, square] = [f.local("v128"), f.local("v128"), f.local("v128")];
  const step = div(mul(rate!.get, mean.get), add(sqrt(square.get), epsilon!.get));
  f.emit(
    overAll(
      f,
      count,
      [w, g, m, v],
      [
        ...x.set(mul(scale!.get, v128.load(g.get))),
        ...mean.set(add(mul(beta1!.get, v128.load(m.get)), mul(rest1!.get, x.get))),
        ...square.set(add(mul(beta2!.get, v128.load(v.get)), mul(rest2!.get, mul(x.get, x.get)))),
        ...v128.store(m.get, mean.get),
        ...v128.store(v.get, square.get),
        ...updateWeight(w, decay!, step),
      ],
    ),
  );
  return f;
}

const updateWeight = (w: Variable, decay: Variable, step: Code): Code =>
  v128.store(w.get, sub(mul(decay.get, v128.load(w.get)), step));

function pointers(f: WasmFunction): readonly [Variable, Variable, Variable, Variable, Variable] {
  return [f.param("i32"), f.param("i32"), f.param("i32"), f.param("i32"), f.param("i32")];
}

/** Parameters that are single numbers, as vectors of four of each. */
function spread(f: WasmFunction, count: number): readonly Variable[] {
  const numbers = Array.from({ length: count }, () => f.param("f32"));
  return numbers.map((number) => {
    const vector = f.local("v128");
    f.emit(vector.set(f32x4.splat(number.get)));
    return vector;
  });
}

/** Runs the body for every four floats, moving all pointers along. */
function overAll(f: WasmFunction, count: Variable, moving: readonly Variable[], body: Code): Code {
  const end = f.local("i32");
  const first = moving[0]!;
  return [
    ...end.set(i32.add(first.get, i32.shiftLeft(count.get, i32.constant(2)))),
    ...repeatWhile(
      [...body, ...moving.flatMap((pointer) => pointer.set(i32.add(pointer.get, i32.constant(16))))],
      i32.lessUnsigned(first.get, end.get),
    ),
  ];
}
