import { cp } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ServableLender } from "../../serving/index.js";
import { failedPrecondition } from "../../status.js";
import type { JobFolder } from "./job-folder.js";
import type { ModelRef } from "./job-spec.js";

export interface CopiedBase {
  readonly model: string;
  readonly version: bigint;
  /** The model file, with all that lay beside it. */
  readonly file: string;
}

/**
 * Copies a served version into a job's folder, so that the base may be unloaded and deleted, and a job that is taken up
 * again finds the same. Errors: those of getServableHandle; FAILED_PRECONDITION when it is no ONNX file.
 */
export async function copyBase(
  models: ServableLender,
  { name, version, label }: ModelRef & { readonly name: string },
  folder: Pick<JobFolder, "base">,
): Promise<CopiedBase> {
  // Held while it is copied.
  using handle = models.getServableHandle({
    name,
    ...(version !== undefined && { version: BigInt(version) }),
    ...(label !== undefined && { versionLabel: label }),
    signatureName: "",
  });
  const { id, modelPath } = handle.servable;
  if (modelPath === undefined) throw failedPrecondition(`model ${id.name} has no file that could be trained further`);
  if (modelPath.endsWith(".ort")) {
    throw failedPrecondition(`model ${id.name} is an .ort file, which cannot be trained further; its .onnx file can`);
  }
  await cp(dirname(modelPath), folder.base, { recursive: true, dereference: true });
  return { model: id.name, version: id.version, file: join(folder.base, basename(modelPath)) };
}
