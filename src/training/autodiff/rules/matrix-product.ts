import { type GradientEmitter, type RuleNode, range, type SingleRule, singleRules } from "../gradient-rule.js";

// Y = A·B  ⇒  dA = dY·Bᵀ,  dB = Aᵀ·dY
const matMul: SingleRule = (g, n, dY) => {
  const [a, b] = [n.x(0), n.x(1)];
  const [rankA, rankB] = [g.rank(a), g.rank(b)];
  if (rankA === 1 || rankB === 1) return vectorProduct(g, n, dY);
  const plain = rankA === 2 && rankB === 2;
  let dA: string | undefined;
  let dB: string | undefined;
  if (n.wants(0)) {
    dA = plain
      ? g.op("Gemm", [dY, b], { transB: 1 })
      : g.sumTo(g.matMul(dY, g.transpose(b, swapLast(rankB))), n.y(), a, 2);
  }
  if (n.wants(1)) {
    if (rankB === 2) {
      // The batch axes of A fold into one: a single large product instead of many small ones and a sum.
      const [rows, columns] = [g.size(b, 0), g.size(b, 1)];
      const fold = (value: string, width: number) => (plain ? value : g.reshape(value, [-1, width]));
      dB = g.op("Gemm", [fold(a, rows), fold(dY, columns)], { transA: 1 });
    } else {
      dB = g.sumTo(g.matMul(g.transpose(a, swapLast(rankA)), dY), n.y(), b, 2);
    }
  }
  return [dA, dB];
};

/** A product with a vector: that of a matrix with one row or column, which the result then lacks. */
function vectorProduct(g: GradientEmitter, n: RuleNode, dY: string) {
  const [a, b] = [n.x(0), n.x(1)];
  const [rankA, rankB] = [g.rank(a), g.rank(b)];
  const rowA = rankA === 1 ? g.unsqueeze(a, [0]) : a;
  const columnB = rankB === 1 ? g.unsqueeze(b, [1]) : b;
  let d = dY;
  if (rankB === 1) d = g.unsqueeze(d, [-1]);
  if (rankA === 1) d = g.unsqueeze(d, [-2]);
  // A vector multiplies every matrix of a batch and collects from all of them.
  const collect = (gradient: string, like: string, batchAxes: number) =>
    g.reshapeLike(batchAxes > 0 ? g.sum(gradient, range(batchAxes), false) : gradient, like);
  const [fullA, fullB] = [Math.max(rankA, 2), Math.max(rankB, 2)];
  return [
    n.wants(0)
      ? collect(g.matMul(d, g.transpose(columnB, swapLast(fullB))), a, rankA === 1 ? fullB - 2 : 0)
      : undefined,
    n.wants(1) ? collect(g.matMul(g.transpose(rowA, swapLast(fullA)), d), b, rankB === 1 ? fullA - 2 : 0) : undefined,
  ];
}

// Y = α·A'·B' + β·C, with A' = Aᵀ where transA, B' = Bᵀ where transB
const gemm: SingleRule = (g, n, dY) => {
  const [a, b, c] = [n.x(0), n.x(1), n.x(2)];
  const [transA, transB] = [n.int("transA", 0), n.int("transB", 0)];
  const alpha = { floats: n.float("alpha", 1) };
  const beta = n.float("beta", 1);
  let dC: string | undefined;
  if (n.wants(2)) {
    const summed = g.sumTo(dY, n.y(), c);
    dC = beta === 1 ? summed : g.mul(summed, g.number(beta, c));
  }
  const dA = () =>
    transA
      ? g.op("Gemm", [b, dY], { alpha, transA: transB, transB: 1 })
      : g.op("Gemm", [dY, b], { alpha, transA: 0, transB: 1 - transB });
  const dB = () =>
    transB
      ? g.op("Gemm", [dY, a], { alpha, transA: 1, transB: transA })
      : g.op("Gemm", [a, dY], { alpha, transA: 1 - transA, transB: 0 });
  return [n.wants(0) ? dA() : undefined, n.wants(1) ? dB() : undefined, dC];
};

// The gradient of one operand is the same sum with output and operand exchanged: "ij,jk->ik" gives "ik,jk->ij".
const einsum: SingleRule = (g, n, dY) => {
  const { operands, result } = parseEquation(n);
  return operands.map((own, index) => {
    if (!n.wants(index)) return undefined;
    const others = operands.filter((_, other) => other !== index);
    const present = new Set(result + others.join(""));
    const kept = [...own].filter((letter) => present.has(letter)).join("");
    const inputs = [dY, ...n.node.inputs.filter((_, other) => other !== index)];
    const gradient = g.op("Einsum", inputs, { equation: `${[result, ...others].join(",")}->${kept}` });
    // A letter that stands in this operand alone was summed away: every element along it gets the same.
    const summedAway = range(own.length).filter((axis) => !present.has(own[axis]!));
    return summedAway.length === 0 ? gradient : g.expandLike(g.unsqueeze(gradient, summedAway), n.x(index));
  });
};

function parseEquation(n: RuleNode): { readonly operands: readonly string[]; readonly result: string } {
  const equation = n.text("equation", "").replace(/\s/g, "");
  const [left = "", right] = equation.split("->");
  const operands = left.split(",");
  if (equation.includes(".") || operands.some((letters) => new Set(letters).size !== letters.length)) {
    throw n.refuse(`its equation "${equation}" repeats a letter within an operand or has an ellipsis`);
  }
  // Without an arrow the result holds the letters that appear once, in alphabetical order.
  const once = [...left.replaceAll(",", "")].filter((letter, _, all) => all.filter((x) => x === letter).length === 1);
  return { operands, result: right ?? once.sort().join("") };
}

function swapLast(rank: number): number[] {
  const perm = range(rank);
  perm[rank - 1] = rank - 2;
  perm[rank - 2] = rank - 1;
  return perm;
}

export const matrixProductRules = singleRules({ MatMul: matMul, Gemm: gemm, Einsum: einsum });
