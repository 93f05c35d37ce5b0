// Which fields a message has, so that a text becomes typed values. A schema is a value: the type that it reads follows
// from it, and unknown fields, wrong kinds, doubled fields and numbers out of range are refused with line and column.
import { invalidArgument, StatusError } from "../../status.js";
import { parseTextProto, type TextField, type TextMessage, type TextValue } from "./text-proto.js";
import { syntaxError } from "./tokenizer.js";

/** What one value may be. */
export interface FieldType<T> {
  read(value: TextValue): T;
  /** What proto3 takes for a field that is not there. */
  zero(): T;
}

/** How often a field may occur, and what it becomes. */
export interface Field<T> {
  readonly repeated: boolean;
  /** @param values in the order of the text; at most one unless repeated */
  collect(values: readonly TextValue[]): T;
}

export interface MessageType<T> extends FieldType<T> {
  /** "tensorflow.serving.ModelServerConfig". */
  readonly name: string;
}

export type MessageFields = Readonly<Record<string, Field<unknown>>>;
/** What a schema reads: its fields, by their names in the .proto file. */
export type MessageOf<S extends MessageFields> = {
  readonly [K in keyof S]: S[K] extends Field<infer T> ? T : never;
};
export type TypeOf<F> = F extends FieldType<infer T> ? T : never;

/**
 * Reads a text as a message of that type.
 * @param path where the text is from, for errors
 * @throws INVALID_ARGUMENT with path, line, column and what is wrong
 */
export function readTextProto<T>(text: string, type: MessageType<T>, path: string): T {
  try {
    return type.read(parseTextProto(text));
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    throw invalidArgument(`Invalid protobuf file: '${path}': Error parsing text-format ${type.name}: ${error.message}`);
  }
}

/**
 * @param name the full name, for errors
 * @param oneofs names of fields of which one at most may be there, by the oneof's name
 */
export function message<S extends MessageFields>(
  name: string,
  fields: S,
  oneofs: Readonly<Record<string, readonly (keyof S & string)[]>> = {},
): MessageType<MessageOf<S>> {
  const known = new Map(Object.entries(fields));
  const collect = (given: ReadonlyMap<string, TextValue[]>): MessageOf<S> => {
    const entries = [...known].map(([field, type]) => [field, type.collect(given.get(field) ?? [])]);
    return Object.fromEntries(entries) as MessageOf<S>;
  };
  const add = (given: Map<string, TextValue[]>, field: TextField): void => {
    const type = known.get(field.name);
    if (type === undefined) {
      throw syntaxError(
        field.at,
        field.name.startsWith("[")
          ? `Extensions and expanded Any messages are not supported: "${field.name}" in "${name}".`
          : `Message type "${name}" has no field named "${field.name}".`,
      );
    }
    const values = given.get(field.name);
    if (values === undefined) given.set(field.name, [field.value]);
    else values.push(field.value);
    if (!type.repeated && (values !== undefined || field.inList)) {
      throw syntaxError(field.at, `Non-repeated field "${field.name}" is specified multiple times.`);
    }
    for (const [oneof, members] of Object.entries(oneofs)) {
      const other = members.find((member) => member !== field.name && given.has(member));
      if (members.includes(field.name) && other !== undefined) {
        throw syntaxError(
          field.at,
          `Field "${field.name}" is specified along with field "${other}", another member of oneof "${oneof}".`,
        );
      }
    }
  };
  return {
    name,
    read(value) {
      const given = new Map<string, TextValue[]>();
      for (const field of requireMessage(value).fields) add(given, field);
      return collect(given);
    },
    zero: () => collect(new Map()),
  };
}

function requireMessage(value: TextValue): TextMessage {
  if (value.kind !== "message") throw syntaxError(value.at, `Expected a message, got ${describe(value)}.`);
  return value;
}

export function optional<T>(type: FieldType<T>): Field<T | undefined> {
  return { repeated: false, collect: ([value]) => (value === undefined ? undefined : type.read(value)) };
}
/** As proto3 has scalars: a field that is not there has the type's zero. */
export function singular<T>(type: FieldType<T>): Field<T> {
  return { repeated: false, collect: ([value]) => (value === undefined ? type.zero() : type.read(value)) };
}
export function repeated<T>(type: FieldType<T>): Field<readonly T[]> {
  return { repeated: true, collect: (values) => values.map((value) => type.read(value)) };
}
/** Entries `{ key: … value: … }`; the last of a key counts. */
export function mapOf<K, V>(name: string, key: FieldType<K>, value: FieldType<V>): Field<ReadonlyMap<K, V>> {
  const entry = message(name, { key: singular(key), value: singular(value) });
  return {
    repeated: true,
    collect: (values) => new Map(values.map((each) => entry.read(each)).map((read) => [read.key, read.value])),
  };
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const bytes: FieldType<Uint8Array> = {
  read(value) {
    if (value.kind !== "string") throw syntaxError(value.at, `Expected string, got ${describe(value)}.`);
    return value.bytes;
  },
  zero: () => new Uint8Array(),
};
export const string: FieldType<string> = {
  read(value) {
    const raw = bytes.read(value);
    try {
      return strict.decode(raw);
    } catch {
      throw syntaxError(value.at, "String is not valid UTF-8.");
    }
  },
  zero: () => "",
};

export const int64 = integer(-(2n ** 63n), 2n ** 63n - 1n);
export const uint64 = integer(0n, 2n ** 64n - 1n);
export const int32 = smallInteger(-(2n ** 31n), 2n ** 31n - 1n);
export const uint32 = smallInteger(0n, 2n ** 32n - 1n);

function integer(min: bigint, max: bigint): FieldType<bigint> {
  return {
    read(value) {
      if (value.kind !== "number" || !value.integral) {
        throw syntaxError(value.at, `Expected integer, got ${describe(value)}.`);
      }
      const number = value.text.length > 32 ? undefined : parseInteger(value.text);
      const signed = number !== undefined && value.negative ? -number : number;
      if (signed === undefined || signed < min || signed > max) {
        throw syntaxError(value.at, `Integer out of range (${describe(value)}).`);
      }
      return signed;
    },
    zero: () => 0n,
  };
}
function smallInteger(min: bigint, max: bigint): FieldType<number> {
  const wide = integer(min, max);
  return { read: (value) => Number(wide.read(value)), zero: () => 0 };
}
function parseInteger(text: string): bigint {
  return BigInt(/^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text);
}

/** Infinite and not-a-number too: inf, infinity, nan, in any case. */
export const double: FieldType<number> = {
  read(value) {
    const number = floatOf(value);
    if (number === undefined) throw syntaxError(value.at, `Expected double, got ${describe(value)}.`);
    return value.kind !== "message" && value.kind !== "string" && value.negative ? -number : number;
  },
  zero: () => 0,
};
export const float: FieldType<number> = { read: (value) => Math.fround(double.read(value)), zero: () => 0 };

function floatOf(value: TextValue): number | undefined {
  if (value.kind === "number") {
    if (!value.integral) return Number(value.text.replace(/[fF]$/, ""));
    // An integer of any length; hexadecimal and octal ones are too long for a double's exact range all the same.
    return /^0[0-7]+$/.test(value.text) ? Number(`0o${value.text.slice(1)}`) : Number(value.text);
  }
  if (value.kind !== "identifier") return undefined;
  if (/^inf(inity)?f?$/i.test(value.text)) return Infinity;
  if (/^nan$/i.test(value.text)) return Number.NaN;
  return undefined;
}

const booleans = new Map([
  ["true", true],
  ["True", true],
  ["t", true],
  ["false", false],
  ["False", false],
  ["f", false],
]);
export const bool: FieldType<boolean> = {
  read(value) {
    const read =
      value.kind === "identifier" && !value.negative
        ? booleans.get(value.text)
        : value.kind === "number" && value.integral && !value.negative
          ? new Map([
              ["0", false],
              ["1", true],
            ]).get(value.text)
          : undefined;
    if (read === undefined) throw syntaxError(value.at, `Expected "true" or "false", got ${describe(value)}.`);
    return read;
  },
  zero: () => false,
};

/** By name, or by number: proto3's enums are open, so numbers without a name are taken. */
export function enumeration(name: string, values: Readonly<Record<string, number>>): FieldType<number> {
  const known = new Map(Object.entries(values));
  return {
    read(value) {
      if (value.kind === "number") return int32.read(value);
      if (value.kind !== "identifier" || value.negative) {
        throw syntaxError(value.at, `Expected integer or identifier, got ${describe(value)}.`);
      }
      const number = known.get(value.text);
      if (number === undefined) {
        throw syntaxError(value.at, `Unknown enumeration value of "${value.text}" for "${name}".`);
      }
      return number;
    },
    zero: () => 0,
  };
}

function describe(value: TextValue): string {
  if (value.kind === "message") return "a message";
  if (value.kind === "string") return "a string";
  const text = value.text.length > 40 ? `${value.text.slice(0, 40)}…` : value.text;
  return value.negative ? `-${text}` : text;
}
