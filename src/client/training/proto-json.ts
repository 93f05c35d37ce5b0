// Messages in proto3's JSON form: names as in the .proto file or in lowerCamel, what is not known refused.
import {
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { descriptorSetBase64 } from "../../gen/descriptor-set.js";
import { errorMessage, invalidArgument } from "../../status.js";
import type { Codec } from "../grpc-channel.js";

/** A generated message's type as its JSON form: all fields optional, under either spelling of their names. */
export type ProtoJson<T> = T extends bigint
  ? bigint | number | string
  : T extends Date | Uint8Array
    ? string
    : T extends ReadonlyMap<string, infer Value>
      ? { readonly [key: string]: ProtoJson<Value> }
      : T extends readonly (infer Item)[]
        ? readonly ProtoJson<Item>[]
        : T extends object
          ? Fields<Omit<T, ChoiceOf<T> | "_unknownFields">> & Choices<NonNullable<T[ChoiceOf<T>]>>
          : T;

/** The members that stand for a oneof, which has no name in JSON. */
type ChoiceOf<T> = { [Key in keyof T]-?: NonNullable<T[Key]> extends { $case: string } ? Key : never }[keyof T];
type Fields<T> = { readonly [Key in keyof T & string as Key | SnakeCase<Key>]?: ProtoJson<T[Key]> | undefined };
type Choices<T> = {
  readonly [Choice in T as Choice extends { $case: infer Key extends string }
    ? Key | SnakeCase<Key>
    : never]?: Choice extends {
    value: infer Value;
  }
    ? ProtoJson<Value>
    : never;
};
type SnakeCase<Text extends string> = Text extends `${infer Head}${infer Rest}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${SnakeCase<Rest>}`
  : Text;

let files: FileRegistry | undefined;

function describe(type: string): DescMessage {
  files ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSetBase64, "base64")));
  return files.getMessage(type)!;
}

/**
 * @param what named in errors
 * @param type the message's full name
 * @throws INVALID_ARGUMENT for a field that there is not, or a value that does not fit its field
 */
export function fromProtoJson<T>(what: string, type: string, codec: Codec<T>, json: unknown): T {
  const schema = describe(type);
  try {
    return codec.decode(toBinary(schema, fromJson(schema, plainJson(json))));
  } catch (thrown) {
    const reason = errorMessage(thrown).replace(/^cannot decode message \S+ from JSON: /, "");
    throw invalidArgument(`${what}: ${reason}`, { cause: thrown });
  }
}

/** The message with the .proto file's names, as the server's REST API writes it: fields that say nothing are there too. */
export function toProtoJson<T>(type: string, codec: Codec<T>, message: T, { zeros = true } = {}): JsonValue {
  const schema = describe(type);
  return toJson(schema, fromBinary(schema, codec.encode(message).finish()), {
    useProtoFieldName: true,
    alwaysEmitImplicit: zeros,
  });
}

/** 64-bit integers as JSON has them, and without what is undefined. */
function plainJson(value: unknown): JsonValue {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return value.map(plainJson);
  if (typeof value !== "object" || value === null) return value as JsonValue;
  const defined = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(defined.map(([key, item]) => [key, plainJson(item)]));
}
