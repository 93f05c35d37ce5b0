import type { Signature } from "../onnx/index.js";
import { invalidArgument } from "../status.js";
import type { ModelRepository } from "./model-repository.js";
import { missingModelSpec } from "./predict.js";
import type { ModelSpec, ServableId } from "./servable.js";

export interface ModelMetadataRequest {
  readonly modelSpec: ModelSpec | undefined;
  /** Only "signature_def" is known. The spec's signature name is not looked at. */
  readonly metadataFields: readonly string[];
}

/** How one version can be called. */
export interface ModelMetadata {
  readonly servableId: ServableId;
  /** All of them, by key. */
  readonly signatures: ReadonlyMap<string, Signature>;
}

/**
 * Answers GetModelMetadata.
 * @throws INVALID_ARGUMENT for a request without a spec or with fields that are not known; those of getServableHandle
 */
export function getModelMetadata(repository: ModelRepository, request: ModelMetadataRequest): ModelMetadata {
  if (request.modelSpec === undefined) throw missingModelSpec();
  if (request.metadataFields.length === 0) {
    throw invalidArgument("GetModelMetadataRequest must specify at least one metadata_field");
  }
  for (const field of request.metadataFields) {
    if (field !== "signature_def") throw invalidArgument(`Metadata field ${field} is not supported`);
  }
  const handle = repository.getServableHandle(request.modelSpec);
  try {
    return { servableId: handle.servable.id, signatures: handle.servable.signatures };
  } finally {
    handle[Symbol.dispose]();
  }
}
