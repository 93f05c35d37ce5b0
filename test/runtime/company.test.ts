import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Company } from "../../src/runtime/batching/company.js";

describe("Company", () => {
  it("is not expected by a client that calls again when it has its answer", () => {
    const company = new Company();
    for (let now = 0; now < 100; now++) {
      assert.equal(company.expected(now), false);
      company.ran(now + 0.5, 0.1);
    }
  });

  it("is expected from the call on that came while another ran, or right after it", () => {
    for (const [tookMs, laterMs, expected] of [
      [0.005, 0.02, true],
      [0.005, 0.05, false],
      [2, 1.9, true],
      [2, 2.1, false],
    ] as const) {
      const company = new Company();
      assert.equal(company.expected(0), false);
      company.ran(10, tookMs);
      assert.equal(company.expected(10 + laterMs), expected);
      assert.equal(company.expected(1000), expected, "until it fails to come");
    }
  });

  it("is not expected any more when eight batches in a row had one call", () => {
    const company = new Company();
    company.met(3);
    for (let batch = 0; batch < 7; batch++) company.met(1);
    company.met(2);
    for (let batch = 0; batch < 7; batch++) company.met(1);
    assert.equal(company.expected(0), true);
    company.met(1);
    assert.equal(company.expected(0), false);
  });
});
