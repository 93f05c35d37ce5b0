import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judgeCandidate } from "../../../src/training/jobs/gate.js";
import type { JobEvaluation } from "../../../src/training/jobs/job.js";

const evaluation = (metrics: Record<string, number>): JobEvaluation => ({ metrics, rows: 10 });
const conditions = (...given: { metric: string; min?: number; max?: number }[]) => ({
  conditions: given,
  allowWorse: false,
});

describe("the gate", () => {
  const open: [string, Parameters<typeof judgeCandidate>][] = [
    ["a new model without conditions", [conditions(), evaluation({ loss: 9 }), undefined]],
    ["no validation rows and no conditions", [conditions(), undefined, undefined]],
    [
      "every condition just met",
      [
        conditions({ metric: "accuracy", min: 0.9 }, { metric: "loss", max: 1 }),
        evaluation({ accuracy: 0.9, loss: 1 }),
        undefined,
      ],
    ],
    ["as good as its base", [conditions(), evaluation({ loss: 1 }), evaluation({ loss: 1 })]],
    [
      "a higher loss but a better metric of those that are asked for",
      [
        conditions({ metric: "accuracy", min: 0.5 }),
        evaluation({ accuracy: 0.9, loss: 2 }),
        evaluation({ accuracy: 0.8, loss: 1 }),
      ],
    ],
    [
      "worse than its base, told to take that",
      [{ conditions: [], allowWorse: true }, evaluation({ loss: 2 }), evaluation({ loss: 1 })],
    ],
  ];
  for (const [name, given] of open) {
    it(`opens: ${name}`, () => assert.deepEqual(judgeCandidate(...given), { open: true }));
  }

  const shut: [string, Parameters<typeof judgeCandidate>, RegExp][] = [
    [
      "below the least",
      [conditions({ metric: "accuracy", min: 0.95 }), evaluation({ accuracy: 0.9, loss: 1 }), undefined],
      /accuracy is 0.9, and 0.95 is wanted at least/,
    ],
    [
      "above the most",
      [conditions({ metric: "loss", max: 0.1 }), evaluation({ loss: 0.2 }), undefined],
      /loss is 0.2, and 0.1 is wanted at most/,
    ],
    [
      "not a number",
      [conditions({ metric: "loss", max: 0.1 }), evaluation({ loss: Number.NaN }), undefined],
      /loss is NaN/,
    ],
    [
      "a metric that is not measured",
      [conditions({ metric: "auc", min: 0.5 }), evaluation({ accuracy: 1, loss: 0 }), undefined],
      /give no "auc"; they give accuracy, loss/,
    ],
    [
      "a metric with a name that every object has",
      [conditions({ metric: "constructor", min: 0 }), evaluation({ loss: 0 }), undefined],
      /give no "constructor"/,
    ],
    [
      "conditions and no rows to hold them against",
      [conditions({ metric: "loss", max: 1 }), undefined, undefined],
      /no validation rows/,
    ],
    [
      "worse than its base in the loss",
      [conditions(), evaluation({ loss: 2 }), evaluation({ loss: 1 })],
      /loss is 2, worse than the base's 1/,
    ],
    [
      "worse than its base in a metric that is asked for",
      [
        conditions({ metric: "accuracy", min: 0.5 }),
        evaluation({ accuracy: 0.7, loss: 0 }),
        evaluation({ accuracy: 0.8, loss: 1 }),
      ],
      /accuracy is 0.7, worse than the base's 0.8/,
    ],
  ];
  for (const [name, given, reason] of shut) {
    it(`stays shut: ${name}`, () => {
      const verdict = judgeCandidate(...given);
      assert.ok(!verdict.open);
      assert.match(verdict.reason, reason);
    });
  }
});
