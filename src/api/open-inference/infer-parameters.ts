// The parameters that mean something to the protocol itself. All others are a model's own, and an ONNX model has none.
import { invalidArgument, notFound, unimplemented } from "../../status.js";
import type { InferParameter, InferParameters } from "./infer-request.js";

/** @throws INVALID_ARGUMENT for a reserved key with a value of the wrong type */
export function checkRequestParameters(parameters: InferParameters): void {
  for (const [key, value] of parameters) {
    switch (key) {
      case "sequence_id":
        if (typeof value !== "bigint" && typeof value !== "string")
          throw wrongType(key, value, "an integer or a string");
        break;
      case "sequence_start":
      case "sequence_end":
      case "binary_data_output":
      case rawOutputParameter:
        if (typeof value !== "boolean") throw wrongType(key, value, "a bool");
        break;
      case "priority":
      case "timeout":
        if (typeof value !== "bigint" || value < 0n) throw wrongType(key, value, "an integer of 0 or more");
        break;
      default:
        if (key.startsWith("triton_") && key !== "triton_enable_empty_final_response") {
          throw invalidArgument(
            `parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys are allowed: ` +
              `triton_enable_empty_final_response. Got '${key}'`,
          );
        }
    }
  }
}

/** true: the answer's tensors are raw; false: they are typed. In the place of whatever the request's own are. */
export const rawOutputParameter = "onnxd_raw_output";

/** How many of the best elements are asked for instead of the tensor itself; 0: the tensor. @throws INVALID_ARGUMENT */
export function classificationOf(output: string, parameters: InferParameters): number {
  refuseSharedMemory(parameters);
  const value = parameters.get("classification");
  if (value === undefined) return 0;
  if (typeof value !== "bigint" || value <= 0n || value > 0x7fff_ffffn) {
    throw invalidArgument(
      `invalid value for 'classification' parameter of output '${output}', expected > 0 integer, got ${value}`,
    );
  }
  return Number(value);
}

/** Shared memory is off: no region has been registered. @throws NOT_FOUND in Triton's words */
export function refuseSharedMemory(parameters: InferParameters): void {
  const region = parameters.get("shared_memory_region");
  if (region === undefined) return;
  if (typeof region !== "string") throw wrongType("shared_memory_region", region, "a string");
  throw notFound(`Unable to find system shared memory region: '${region}'`);
}

/** What registering a region is answered with. */
export function sharedMemoryIsOff() {
  return unimplemented(
    "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable. (onnxd has no such flag: " +
      "it does not map shared memory.)",
  );
}

function wrongType(key: string, value: InferParameter, expected: string) {
  return invalidArgument(
    `invalid value type for '${key}' parameter, expected ${expected}, got ${typeof value} ${value}`,
  );
}
