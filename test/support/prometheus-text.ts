import assert from "node:assert/strict";

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * Reads a page in Prometheus' text format, version 0.0.4, and refuses what a scraper would: bad names, samples apart
 * from their family, histograms whose buckets shrink or do not end in +Inf, the same series twice.
 */
export function parsePrometheusText(page: string): Sample[] {
  assert.ok(page.endsWith("\n"), "the page must end with a newline");
  const samples: Sample[] = [];
  const seen = new Set<string>();
  const families = new Set<string>();
  let family = "";
  let type = "";
  for (const line of page.slice(0, -1).split("\n")) {
    const comment = /^# (TYPE|HELP) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line);
    if (comment !== null) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string];
      if (name !== family) {
        assert.ok(!families.has(name), `${name}: its samples are not in one block`);
        families.add(name);
        family = name;
        type = "untyped";
      }
      if (kind === "TYPE") {
        assert.match(rest, /^(counter|gauge|histogram)$/, line);
        type = rest;
      }
      continue;
    }
    const sample = parseSample(line);
    const base = type === "histogram" ? sample.name.replace(/_(bucket|sum|count)$/, "") : sample.name;
    assert.equal(base, family, `${line}: outside of its family`);
    const key = `${sample.name}${JSON.stringify(sample.labels)}`;
    assert.ok(!seen.has(key), `${line}: twice`);
    seen.add(key);
    samples.push(sample);
  }
  checkHistograms(samples);
  return samples;
}

export function findSample(samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}) {
  return samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )?.value;
}

function parseSample(line: string): Sample {
  const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  assert.ok(match, `not a sample: ${line}`);
  const labels: Record<string, string> = {};
  let rest = match[2] ?? "";
  while (rest !== "") {
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest);
    assert.ok(label, `bad labels: ${line}`);
    labels[label[1]!] = label[2]!.replaceAll(/\\(.)/g, (_all, c: string) => (c === "n" ? "\n" : c));
    rest = rest.slice(label[0].length);
  }
  const text = match[3]!;
  const value = text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
  assert.ok(text === "NaN" || !Number.isNaN(value), `bad value: ${line}`);
  return { name: match[1]!, labels, value };
}

function checkHistograms(samples: readonly Sample[]): void {
  const last = new Map<string, { limit: number; count: number }>();
  for (const { name, labels, value } of samples) {
    const { le, ...others } = labels;
    if (name.endsWith("_bucket") && le !== undefined) {
      const key = `${name.slice(0, -"_bucket".length)}${JSON.stringify(others)}`;
      const limit = le === "+Inf" ? Infinity : Number(le);
      const before = last.get(key) ?? { limit: -Infinity, count: 0 };
      assert.ok(limit > before.limit && value >= before.count, `${key}: buckets must grow`);
      last.set(key, { limit, count: value });
    }
  }
  for (const { name, labels, value } of samples) {
    const bucket = last.get(`${name.slice(0, -"_count".length)}${JSON.stringify(labels)}`);
    if (!name.endsWith("_count") || bucket === undefined) continue;
    assert.equal(bucket.limit, Infinity, `${name}: the last bucket must be +Inf`);
    assert.equal(bucket.count, value, `${name}: the last bucket must hold all`);
  }
}
