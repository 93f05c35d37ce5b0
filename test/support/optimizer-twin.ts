// The optimizer kernel written again in plain loops, each operation rounded to float32 as the kernel's is: the two must
// agree to the last bit.
import type { OptimizerKernel } from "../../src/training/optimizers/optimizer-kernel.js";

const f = Math.fround;

/** Works on the memory's bytes at the offsets it is given. */
export function optimizerTwin(memory: { readonly buffer: ArrayBuffer }): OptimizerKernel {
  const at = (offset: number, count: number) => new Float32Array(memory.buffer, offset, count);
  return {
    penalize(w, g, count, l1, l2) {
      const [weights, gradients] = [at(w, count), at(g, count)];
      for (let i = 0; i < count; i++) {
        const sign = f(f(weights[i]! > 0 ? f(l1) : 0) - f(weights[i]! < 0 ? f(l1) : 0));
        gradients[i] = f(gradients[i]! + f(f(f(l2) * weights[i]!) + sign));
      }
    },
    clip(g, count, bound) {
      const gradients = at(g, count);
      for (let i = 0; i < count; i++) gradients[i] = Math.min(Math.max(gradients[i]!, -f(bound)), f(bound));
    },
    sumOfSquares(g, count) {
      // Two doubles at a time: even and odd elements are summed apart.
      const gradients = at(g, count);
      const sums = [0, 0];
      for (let i = 0; i < count; i += 4) {
        for (const lane of [0, 1]) {
          const [low, high] = [gradients[i + lane]!, gradients[i + 2 + lane]!];
          sums[lane]! += low * low + high * high;
        }
      }
      return sums[0]! + sums[1]!;
    },
    sgd(w, g, count, scale, decay, rate) {
      const [weights, gradients] = [at(w, count), at(g, count)];
      for (let i = 0; i < count; i++) {
        const step = f(f(rate) * f(f(scale) * gradients[i]!));
        weights[i] = f(f(f(decay) * weights[i]!) - step);
      }
    },
    momentum(w, g, m, count, scale, decay, rate, mu, ofStep, ofMomentum) {
      const [weights, gradients, means] = [at(w, count), at(g, count), at(m, count)];
      for (let i = 0; i < count; i++) {
        const x = f(f(scale) * gradients[i]!);
        const velocity = f(f(f(mu) * means[i]!) + x);
        means[i] = velocity;
        const step = f(f(rate) * f(f(f(ofStep) * x) + f(f(ofMomentum) * velocity)));
        weights[i] = f(f(f(decay) * weights[i]!) - step);
      }
    },
    rmsprop(w, g, m, v, count, scale, decay, rate, rho, rest, epsilon, mu) {
      const [weights, gradients, means, squares] = [at(w, count), at(g, count), at(m, count), at(v, count)];
      for (let i = 0; i < count; i++) {
        const x = f(f(scale) * gradients[i]!);
        const square = f(f(f(rho) * squares[i]!) + f(f(rest) * f(x * x)));
        squares[i] = square;
        const velocity = f(f(f(mu) * means[i]!) + f(x / f(f(Math.sqrt(square)) + f(epsilon))));
        means[i] = velocity;
        weights[i] = f(f(f(decay) * weights[i]!) - f(f(rate) * velocity));
      }
    },
    adam(w, g, m, v, count, scale, decay, rate, beta1, rest1, beta2, rest2, epsilon) {
      const [weights, gradients, means, squares] = [at(w, count), at(g, count), at(m, count), at(v, count)];
      for (let i = 0; i < count; i++) {
        const x = f(f(scale) * gradients[i]!);
        const mean = f(f(f(beta1) * means[i]!) + f(f(rest1) * x));
        const square = f(f(f(beta2) * squares[i]!) + f(f(rest2) * f(x * x)));
        means[i] = mean;
        squares[i] = square;
        const step = f(f(f(rate) * mean) / f(f(Math.sqrt(square)) + f(epsilon)));
        weights[i] = f(f(f(decay) * weights[i]!) - step);
      }
    },
  };
}
