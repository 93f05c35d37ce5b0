// The house checks itself: arrows point down, doors are used, wire types and libraries stay where they belong.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, it } from "node:test";
import { repositoryRoot } from "./support/repository-root.js";

/** Rooms from the cellar up; a file may import its own room, and the doors of lower ones. */
const floors = ["telemetry", "processes", "tensor", "onnx", "runtime", "serving", "training", "api"];
/** The client stands beside the house: it shares the tensors and the wire, and nothing in the house knows of it. */
const outbuilding = "client";
/** Open to all, and importing nothing of ours but each other. */
const leaves = ["status.ts", "options.ts", "clock.ts", "cancellation.ts", "waiter.ts"];
/** They see every room. */
const roofs = [
  "main.ts",
  "command.ts",
  "server.ts",
  "model-keeper.ts",
  "supervisor.ts",
  "serving-process.ts",
  "serving-process-link.ts",
  "serving-process-offers.ts",
  "training-between-processes.ts",
  "config.ts",
];
/** Packages that only some places may name. */
const packages: readonly { readonly name: RegExp; readonly allowed: RegExp }[] = [
  { name: /^@grpc\//, allowed: /^(api|client)\// },
  { name: /^fastify$/, allowed: /^api\/rest\// },
  { name: /^onnxruntime-/, allowed: /^runtime\/placement\// },
  { name: /^winston$/, allowed: /^telemetry\// },
];

const source = join(repositoryRoot, "src");
const files = readdirSync(source, { recursive: true })
  .map(String)
  .filter((file) => file.endsWith(".ts"))
  .sort();

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}
const imports: readonly Import[] = files.filter((file) => !file.startsWith("gen/")).flatMap(importsOf);

describe("the house", () => {
  it("lets imports point down only, and through doors", () => {
    const wrong = imports.filter(({ from, to }) => {
      if (!to.startsWith(".")) return false;
      const target = targetOf(from, to);
      if (roofs.includes(from)) return false;
      if (leaves.includes(target)) return false;
      if (leaves.includes(from)) return true;
      const [room, targetRoom] = [roomOf(from), roomOf(target)];
      if (targetRoom === "gen") return room !== "api" && room !== "onnx" && room !== outbuilding;
      if (room === targetRoom) return false;
      if (room === outbuilding) return target !== "tensor/index.ts";
      return floors.indexOf(targetRoom) >= floors.indexOf(room) || target !== `${targetRoom}/index.ts`;
    });
    assert.deepEqual(wrong, []);
  });

  it("keeps each library behind the room that wraps it", () => {
    const wrong = imports.filter(({ from, to }) =>
      packages.some(({ name, allowed }) => name.test(to) && !allowed.test(from)),
    );
    assert.deepEqual(wrong, []);
  });

  it("has no import cycles", () => {
    const graph = new Map<string, string[]>();
    for (const { from, to, typeOnly } of imports) {
      if (typeOnly || !to.startsWith(".")) continue;
      graph.set(from, [...(graph.get(from) ?? []), targetOf(from, to)]);
    }
    assert.deepEqual(cyclesOf(graph), []);
  });

  it("gives no file a name that says nothing", () => {
    const vague = /(^|\/)(utils?|helpers?|common|misc)(\.ts|\/)/;
    assert.deepEqual(
      files.filter((file) => vague.test(file)),
      [],
    );
  });

  it("documents every flag: docs/flags.md is what the table in config.ts says", () => {
    execFileSync(process.execPath, [join(repositoryRoot, "scripts", "flags-doc.mjs"), "--check"]);
  });

  it("has a LICENSE, a CHANGELOG that names this version, and a lockfile without download addresses", () => {
    const read = (file: string) => readFileSync(join(repositoryRoot, file), "utf8");
    const { version, license } = JSON.parse(read("package.json"));
    assert.equal(license, "Apache-2.0");
    assert.match(read("LICENSE"), /Apache License/);
    assert.ok(read("CHANGELOG.md").includes(`## ${version}`));
    assert.doesNotMatch(read("package-lock.json"), /"resolved"/);
  });
});

function importsOf(file: string): Import[] {
  const code = readFileSync(join(source, file), "utf8");
  const found: Import[] = [];
  for (const match of code.matchAll(/^(?:import|export)\s+(type\s+)?[^;]*?from\s+"([^"]+)"/gm)) {
    const names = match[0].match(/\{([^}]*)\}/)?.[1];
    const allTypes = names?.split(",").every((name) => name.trim() === "" || name.trim().startsWith("type ")) ?? false;
    found.push({ from: file, to: match[2]!, typeOnly: match[1] !== undefined || allTypes });
  }
  for (const match of code.matchAll(/^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm)) {
    found.push({ from: file, to: (match[1] ?? match[2])!, typeOnly: false });
  }
  return found;
}

function targetOf(from: string, to: string): string {
  return relative(source, resolve(source, dirname(from), to)).replace(/\.js$/, ".ts");
}

function roomOf(file: string): string {
  return file.split("/")[0]!;
}

function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
    if (done.has(file) || path.includes(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return cycles;
}
