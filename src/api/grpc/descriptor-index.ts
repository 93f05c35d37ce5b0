// A FileDescriptorSet by file name and by symbol. Files are kept as the bytes that the compiler wrote: what a client
// gets is never our re-encoding. Field numbers are those of google/protobuf/descriptor.proto.
import { WireReader, WireType } from "../codecs/wire-reader.js";

export class DescriptorIndex {
  readonly #files = new Map<string, { readonly bytes: Uint8Array; readonly imports: readonly string[] }>();
  readonly #fileBySymbol = new Map<string, string>();
  /** By extended type, then by field number. */
  readonly #fileByExtension = new Map<string, Map<number, string>>();

  /** @throws WireFormatError */
  constructor(descriptorSet: Uint8Array) {
    for (const [field, file] of messages(descriptorSet)) if (field === 1) this.#addFile(file);
  }

  hasFile(name: string): boolean {
    return this.#files.has(name);
  }

  /** The serialized FileDescriptorProto of a file that is here. */
  bytesOf(name: string): Uint8Array {
    return this.#files.get(name)!.bytes;
  }

  /** By the full name of a message, field, oneof, enum, enum value, service or method. */
  fileOfSymbol(symbol: string): string | undefined {
    return this.#fileBySymbol.get(symbol);
  }

  fileOfExtension(type: string, number: number): string | undefined {
    return this.#fileByExtension.get(type)?.get(number);
  }

  extensionNumbersOf(type: string): Iterable<number> {
    return this.#fileByExtension.get(type)?.keys() ?? [];
  }

  /** The file and all that it imports, directly or not, itself first. */
  withImports(name: string): string[] {
    const found = new Set([name]);
    for (const next of found) for (const imported of this.#files.get(next)!.imports) found.add(imported);
    return [...found];
  }

  #addFile(bytes: Uint8Array): void {
    const parts = [...messages(bytes)];
    const name = textOf(parts, 1);
    const scope = textOf(parts, 2);
    this.#files.set(name, { bytes, imports: textsOf(parts, 3) });
    for (const [field, part] of parts) {
      if (field === 4) this.#addMessage(name, scope, part);
      else if (field === 5) this.#addEnum(name, scope, part);
      else if (field === 6)
        this.#declareParts(name, this.#declare(name, scope, part), part, [2]); // service: methods
      else if (field === 7) this.#addExtension(name, scope, part);
    }
  }

  #addMessage(file: string, scope: string, message: Uint8Array): void {
    const fullName = this.#declare(file, scope, message);
    this.#declareParts(file, fullName, message, [2, 8]); // fields and oneofs
    for (const [field, part] of messages(message)) {
      if (field === 3) this.#addMessage(file, fullName, part);
      else if (field === 4) this.#addEnum(file, fullName, part);
      else if (field === 6) this.#addExtension(file, fullName, part);
    }
  }

  #addEnum(file: string, scope: string, enumeration: Uint8Array): void {
    this.#declare(file, scope, enumeration);
    this.#declareParts(file, scope, enumeration, [2]); // values are named beside their enum, not in it
  }

  #addExtension(file: string, scope: string, extension: Uint8Array): void {
    this.#declare(file, scope, extension);
    const type = textOf([...messages(extension)], 2).replace(/^\./, "");
    const numbers = this.#fileByExtension.get(type) ?? new Map<number, string>();
    numbers.set(numberOf(extension, 3), file);
    this.#fileByExtension.set(type, numbers);
  }

  /** Notes where a descriptor's own name is declared, and returns it in full. */
  #declare(file: string, scope: string, descriptor: Uint8Array): string {
    const name = textOf([...messages(descriptor)], 1);
    const fullName = scope === "" ? name : `${scope}.${name}`;
    this.#fileBySymbol.set(fullName, file);
    return fullName;
  }

  #declareParts(file: string, scope: string, descriptor: Uint8Array, fields: readonly number[]): void {
    for (const [field, part] of messages(descriptor)) if (fields.includes(field)) this.#declare(file, scope, part);
  }
}

/** The length-delimited fields of a message, in order. */
function* messages(message: Uint8Array): Generator<[field: number, payload: Uint8Array]> {
  const reader = new WireReader(message);
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if ((tag & 7) === WireType.bytes) yield [tag >>> 3, reader.view()];
    else reader.skip(tag);
  }
}

function textsOf(parts: readonly [number, Uint8Array][], wanted: number): string[] {
  return parts.filter(([field]) => field === wanted).map(([, payload]) => Buffer.from(payload).toString());
}

function textOf(parts: readonly [number, Uint8Array][], wanted: number): string {
  return textsOf(parts, wanted)[0] ?? "";
}

function numberOf(message: Uint8Array, wanted: number): number {
  const reader = new WireReader(message);
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag >>> 3 === wanted && (tag & 7) === WireType.varint) return reader.uint32();
    reader.skip(tag);
  }
  return 0;
}
