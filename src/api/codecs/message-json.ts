// proto3's JSON form of messages, by their descriptors: https://protobuf.dev/programming-guides/json/
import {
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { descriptorSetBase64 } from "../../gen/descriptor-set.js";
import { errorMessage, invalidArgument } from "../../status.js";

export type { JsonObject, JsonValue };

let registry: FileRegistry | undefined;

/** Made when it is first asked for: most servers are never spoken to in this form. */
function descriptors(): FileRegistry {
  registry ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSetBase64, "base64")));
  return registry;
}

function describe(typeName: string): DescMessage {
  const message = descriptors().getMessage(typeName);
  if (message === undefined) throw new Error(`there is no message ${typeName}`);
  return message;
}

/**
 * The message on the wire. Fields go by their names in the .proto file or in lowerCamelCase.
 * Errors: INVALID_ARGUMENT naming message and field, also for fields there are not, and for whole numbers that JSON has
 * rounded.
 * @param value of JSON.parse
 */
export function messageFromJson(typeName: string, value: JsonValue): Uint8Array {
  const message = describe(typeName);
  refuseRounded(value, "", 0);
  try {
    return toBinary(message, fromJson(message, value, { registry: descriptors() }));
  } catch (thrown) {
    throw invalidArgument(errorMessage(thrown).replaceAll("onnxd.v1.", ""));
  }
}

/**
 * Under the .proto file's names; 64-bit integers are strings.
 * @param zeros whether fields are there that say nothing: zeros, empty texts and lists
 */
export function messageToJson(typeName: string, bytes: Uint8Array, zeros: boolean): JsonObject {
  const message = describe(typeName);
  const options = { registry: descriptors(), useProtoFieldName: true, alwaysEmitImplicit: zeros };
  return toJson(message, fromBinary(message, bytes), options) as JsonObject;
}

/** Our 64-bit integers in requests; those of tensors among them. */
const wideFields: ReadonlySet<string> = new Set(
  ["version", "seed", "max_steps", "max_memory_bytes", "int64_val", "uint64_val"].flatMap((name) => [
    name,
    name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
  ]),
);

/** Protocol Buffers' own limit, as far as messages are concerned. */
const maxDepth = 100;

function refuseRounded(value: JsonValue, field: string, depth: number): void {
  if (depth > 4 * maxDepth) throw invalidArgument(`${field}: the JSON is nested too deeply`);
  if (typeof value === "number") {
    if (!wideFields.has(field) || !Number.isInteger(value) || Number.isSafeInteger(value)) return;
    throw invalidArgument(`${field}: ${value} is beyond what a JSON number holds exactly; write it as a string`);
  }
  if (Array.isArray(value)) for (const item of value) refuseRounded(item, field, depth + 1);
  else if (typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) refuseRounded(item, name, depth + 1);
  }
}
