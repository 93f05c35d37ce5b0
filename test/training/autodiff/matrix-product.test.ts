import { floats } from "../../../src/onnx/index.js";
import { type CaseShape, checkGradients, type GradientCase } from "../../support/finite-differences.js";

const matMul = (a: CaseShape, b: CaseShape): GradientCase => ({
  name: `MatMul [${a}] [${b}]`,
  inputs: [{ shape: a }, { shape: b }],
  build: (e, x) => e.op("MatMul", x),
});
const einsum = (equation: string, ...shapes: CaseShape[]): GradientCase => ({
  name: `Einsum ${equation}`,
  inputs: shapes.map((shape) => ({ shape })),
  build: (e, x) => e.op("Einsum", x, { equation }),
});
const gemm = (transA: number, transB: number): GradientCase => ({
  name: `Gemm transA ${transA} transB ${transB} alpha 0.7 beta 1.3`,
  inputs: [{ shape: transA ? [4, "N"] : ["N", 4] }, { shape: transB ? [5, 4] : [4, 5] }, { shape: [5] }],
  build: (e, x) => e.op("Gemm", x, { transA, transB, alpha: floats(0.7), beta: floats(1.3) }),
});

checkGradients("matrix products", [
  matMul(["N", 4], [4, 5]),
  matMul(["N", 3, 4], [4, 5]),
  matMul(["N", 3, 4], ["N", 4, 5]),
  matMul(["N", 2, 3, 4], [2, 4, 5]),
  matMul([6, 1, 3, 4], [1, 2, 4, 5]),
  matMul([3, 4], ["N", 4, 5]),
  matMul([4], [4, 5]),
  matMul(["N", 4], [4]),
  matMul(["N", 3, 4], [4]),
  matMul([4], ["N", 4, 5]),
  matMul([4], [4]),
  gemm(0, 0),
  gemm(0, 1),
  gemm(1, 0),
  gemm(1, 1),
  {
    name: "Gemm without a bias",
    inputs: [{ shape: ["N", 4] }, { shape: [4, 5] }],
    build: (e, x) => e.op("Gemm", x),
  },
  {
    name: "Gemm with a bias a row",
    inputs: [{ shape: [3, 4] }, { shape: [4, 5] }, { shape: [3, 1] }],
    build: (e, x) => e.op("Gemm", x),
  },
  einsum("bij,bjk->bik", ["N", 3, 4], ["N", 4, 5]),
  einsum("bhid,bhjd->bhij", ["N", 2, 3, 4], ["N", 2, 5, 4]),
  einsum("ij->j", ["N", 4]),
  einsum("ij,jk", ["N", 4], [4, 3]),
  einsum("ij,ik,il->jkl", [3, 2], [3, 4], [3, 2]),
  {
    name: "attention with a residual",
    inputs: [{ shape: ["N", 3, 4] }, { shape: [4, 4] }, { shape: [4, 4] }, { shape: [4, 4] }],
    build: (e, [x, q, k, v], real) => {
      const scores = e.matMul(e.matMul(x!, q!), e.transpose(e.matMul(x!, k!), [0, 2, 1]));
      const weights = e.op("Softmax", [e.mul(scores, e.scalar(0.5, real))], { axis: -1 });
      return e.add(x!, e.matMul(weights, e.matMul(x!, v!)));
    },
  },
]);
