import { join } from "node:path";
import { errorMessage, invalidArgument } from "../../status.js";
import { readTextProtoFile } from "../text-proto/text-file.js";
import { readTextProto } from "../text-proto/text-schema.js";
import { type TritonConfig, tritonConfigType } from "./config-schema.js";

/** In a model's directory, beside its versions. */
export const tritonConfigFileName = "config.pbtxt";

/**
 * What a model's config.pbtxt says; without one, everything is as the model file itself has it.
 * @throws INVALID_ARGUMENT with path, line and column
 */
export async function readTritonConfig(modelDirectory: string): Promise<TritonConfig> {
  const read = await readTextProtoFile(join(modelDirectory, tritonConfigFileName), tritonConfigType);
  return read ?? tritonConfigType.zero();
}

/**
 * The same from protobuf's JSON form, as a client sends it with a load.
 * @throws INVALID_ARGUMENT
 */
export function parseTritonConfigJson(json: string): TritonConfig {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw invalidArgument(`failed to parse the model configuration as JSON: ${errorMessage(error)}`);
  }
  if (!isObject(value)) throw invalidArgument("the model configuration must be a JSON object");
  return readTextProto(fields(value), tritonConfigType, "the configuration sent with the load");
}

/** Fields whose strings name values of an enum. */
const enumFields = new Set(["data_type", "format", "kind", "priority", "timeout_action"]);
/** 64-bit integers, which protobuf's JSON writes as strings. */
const wideFields = new Set([
  "dims",
  "shape",
  "versions",
  "model_version",
  "device_id",
  "max_queue_delay_microseconds",
  "default_timeout_microseconds",
  "max_sequence_idle_microseconds",
  "priority_levels",
  "default_priority_level",
]);
/** Fields that are maps, which JSON writes as objects of their own keys. */
const mapFields = new Set([
  "parameters",
  "inputs",
  "metric_tags",
  "cc_model_filenames",
  "priority_queue_policy",
  "input_map",
  "output_map",
]);

/** An object's members in protobuf's text form, which then says what is wrong with them. */
function fields(object: Readonly<Record<string, unknown>>): string {
  let text = "";
  for (const [key, value] of Object.entries(object)) {
    const name = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw invalidArgument(`"${key}" is no field of a model configuration`);
    if (value === null) continue; // the same as absent
    if (mapFields.has(name) && isObject(value)) {
      for (const [entry, item] of Object.entries(value)) {
        const quoted = name === "priority_queue_policy" ? entry : quote(entry);
        text += `${name} { key: ${quoted} ${field("value", item)} }\n`;
      }
    } else if (Array.isArray(value)) for (const item of value) text += field(name, item);
    else text += field(name, value);
  }
  return text;
}

function field(name: string, value: unknown): string {
  if (isObject(value)) return `${name} { ${fields(value)} }\n`;
  switch (typeof value) {
    case "string": {
      const isBare = enumFields.has(name) ? /^\w+$/.test(value) : wideFields.has(name) && /^-?\d+$/.test(value);
      return `${name}: ${isBare ? value : quote(value)}\n`;
    }
    case "number":
    case "boolean":
      return `${name}: ${value}\n`;
    default:
      throw invalidArgument(`field "${name}" of the model configuration has a value that is none`);
  }
}

/** JSON's escapes are text format's too. */
function quote(text: string): string {
  return JSON.stringify(text);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
