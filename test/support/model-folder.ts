import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { repositoryRoot } from "./repository-root.js";

/** A base path of its own for one test: models come and go in it as they do on a user's disk. */
export class ModelFolder implements Disposable {
  readonly path: string;

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), "onnxd-models-"));
  }

  /** Where the versions of a model lie; made when it is not there. */
  basePath(model: string): string {
    const path = join(this.path, model);
    mkdirSync(path, { recursive: true });
    return path;
  }

  /** Copies a version of a bundled model, whole before it is visible. */
  copyBundled(bundled: string, version: number, as: { model?: string; version?: number } = {}): void {
    const base = this.basePath(as.model ?? bundled);
    const target = join(base, String(as.version ?? version));
    const staged = join(this.path, `.staged-${process.hrtime.bigint()}`);
    cpSync(join(repositoryRoot, "models", bundled, String(version)), staged, { recursive: true });
    renameSync(staged, target);
  }

  /** Writes a version whose model file has these bytes, whole before it is visible. */
  publish(model: string, version: number, bytes: Uint8Array): void {
    const staged = join(this.path, `.staged-${process.hrtime.bigint()}`);
    mkdirSync(staged);
    writeFileSync(join(staged, "model.onnx"), bytes);
    renameSync(staged, join(this.basePath(model), String(version)));
  }

  remove(model: string, version?: number): void {
    rmSync(join(this.path, model, version === undefined ? "" : String(version)), { recursive: true, force: true });
  }

  /** A models.config that lists these models; the text behind each name goes into its config block. */
  writeConfig(models: Readonly<Record<string, string>>): string {
    const blocks = Object.entries(models).map(
      ([name, extra]) =>
        `  config { name: "${name}" base_path: "${this.basePath(name)}" model_platform: "onnx" ${extra} }`,
    );
    const path = join(this.path, "models.config");
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `model_config_list {\n${blocks.join("\n")}\n}\n`);
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
