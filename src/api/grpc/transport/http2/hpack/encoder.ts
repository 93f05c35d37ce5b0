// A header list into a header block, for the few lists that a gRPC server sends. Fields that come with every call (the
// content type, an OK status) are entered into the peer's table once and cost a byte from then on; nothing is ever evicted,
// so that their indices stay. All others are sent as they are, without Huffman code: that would cost more than it saves.
import { copyBytes } from "../../../../../tensor/index.js";
import { DynamicTable, entryOverheadBytes } from "./dynamic-table.js";
import { staticTable, staticTableLength } from "./static-table.js";

/** As much of a peer's table as we use: it allows 4096 unless it says otherwise, and the fields meant for it fit well. */
const maxTableBytes = 4096;
/** No field takes more than this beyond its name and value: the first byte and two lengths. */
const fieldOverheadBytes = 11;

/** A name that is worth an entry in the peer's table. */
interface RememberedName {
  /** The values worth an entry with it; "any": one entry, whatever its value, for the name's sake. */
  readonly values: readonly string[] | "any";
  /** Its entries, numbered as entered. */
  readonly entries: Map<string, number>;
  /** The first of them. */
  nameEntry: number | undefined;
}

/** A list that never changes, and its block as long as the table has so many entries. */
interface ConstantList {
  readonly fields: readonly string[];
  entries: number;
  block: Buffer;
}

export class HpackEncoder {
  readonly #names = new Map<string, RememberedName>();
  #table = new DynamicTable(maxTableBytes);
  #capacityBytes = maxTableBytes;
  /** Sizes that the next block has to announce first. */
  #announcements: readonly number[] = [];
  readonly #constants: readonly ConstantList[];

  /**
   * @param remembered names, each with the values worth an entry in the peer's table
   * @param constants lists that are sent again and again, as the very same arrays
   */
  constructor(remembered: ReadonlyMap<string, readonly string[] | "any">, constants: readonly (readonly string[])[]) {
    this.#constants = constants.map((fields) => ({ fields, entries: -1, block: nothing }));
    for (const [name, values] of remembered) {
      this.#names.set(name, { values, entries: new Map(), nameEntry: undefined });
    }
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  peerAllows(tableBytes: number): void {
    // More room than now is not needed. With less, the table starts anew: empty, then at the new size.
    if (tableBytes >= this.#capacityBytes) return;
    this.#capacityBytes = tableBytes;
    this.#table = new DynamicTable(tableBytes);
    for (const name of this.#names.values()) {
      name.entries.clear();
      name.nameEntry = undefined;
    }
    for (const constant of this.#constants) constant.entries = -1;
    this.#announcements = [0, tableBytes];
  }

  /** Room that a block of these fields needs at most. @param more one field more */
  boundBytes(fields: readonly string[], more?: readonly [name: string, value: string]): number {
    let bytes = 12; // two announcements
    for (let index = 0; index < fields.length; index++) bytes += fields[index]!.length;
    if (more !== undefined) bytes += more[0].length + more[1].length + fieldOverheadBytes;
    return bytes + (fields.length / 2) * fieldOverheadBytes;
  }

  /**
   * @param fields name, value, name, value …; one character to the byte
   * @returns the offset after what was written
   */
  encode(fields: readonly string[], target: Buffer, offset: number): number {
    if (this.#announcements.length > 0) return this.#encodeAll(fields, target, this.#announce(target, offset));
    for (let index = 0; index < this.#constants.length; index++) {
      const constant = this.#constants[index]!;
      if (constant.fields === fields) return this.#encodeConstant(constant, target, offset);
    }
    return this.#encodeAll(fields, target, offset);
  }

  #announce(target: Buffer, offset: number): number {
    let at = offset;
    for (const size of this.#announcements) at = writeInteger(target, at, 0x20, 0x1f, size);
    this.#announcements = [];
    return at;
  }

  #encodeConstant(constant: ConstantList, target: Buffer, offset: number): number {
    const entries = this.#table.length;
    if (constant.entries === entries) {
      copyBytes(constant.block, 0, constant.block.length, target, offset);
      return offset + constant.block.length;
    }
    const end = this.#encodeAll(constant.fields, target, offset);
    // Only a block that entered nothing means the same again.
    if (this.#table.length === entries) {
      constant.entries = entries;
      constant.block = Buffer.from(target.subarray(offset, end));
    }
    return end;
  }

  #encodeAll(fields: readonly string[], target: Buffer, offset: number): number {
    let at = offset;
    for (let index = 0; index < fields.length; index += 2) {
      at = this.encodeField(fields[index]!, fields[index + 1]!, target, at);
    }
    return at;
  }

  /** One field of the block that encode() has begun. */
  encodeField(name: string, value: string, target: Buffer, offset: number): number {
    const remembered = this.#names.get(name);
    if (remembered?.values === "any" && remembered.nameEntry !== undefined) {
      const at = writeInteger(target, offset, 0, 0x0f, this.#indexOf(remembered.nameEntry));
      return writeString(target, at, value);
    }
    const entry = remembered === undefined || remembered.values === "any" ? undefined : remembered.entries.get(value);
    if (entry !== undefined) return writeInteger(target, offset, 0x80, 0x7f, this.#indexOf(entry));
    const fixed = staticNames.get(name);
    const fixedField = fixed?.values.get(value);
    if (fixedField !== undefined) return writeInteger(target, offset, 0x80, 0x7f, fixedField);

    const entering = remembered !== undefined && this.#isWorthEntering(remembered, name, value);
    const nameEntry = remembered?.nameEntry;
    const nameIndex = fixed?.index ?? (nameEntry === undefined ? 0 : this.#indexOf(nameEntry));
    let at = writeInteger(target, offset, entering ? 0x40 : 0, entering ? 0x3f : 0x0f, nameIndex);
    if (nameIndex === 0) at = writeString(target, at, name);
    at = writeString(target, at, value);
    if (entering) this.#enter(remembered, name, value);
    return at;
  }

  #isWorthEntering(remembered: RememberedName, name: string, value: string): boolean {
    const { values, nameEntry } = remembered;
    const worth = values === "any" ? nameEntry === undefined : values.includes(value);
    return worth && this.#table.bytes + name.length + value.length + entryOverheadBytes <= this.#capacityBytes;
  }

  #enter(remembered: RememberedName, name: string, value: string): void {
    const entry = this.#table.length;
    this.#table.add(name, value);
    remembered.nameEntry ??= entry;
    if (remembered.values !== "any") remembered.entries.set(value, entry);
  }

  #indexOf(entry: number): number {
    return staticTableLength + this.#table.length - entry;
  }
}

const nothing = Buffer.alloc(0);

interface StaticName {
  readonly index: number;
  readonly values: Map<string, number>;
}

const staticNames = new Map<string, StaticName>();
for (let index = 1; index <= staticTableLength; index++) {
  const name = staticTable[index * 2 - 2]!;
  const value = staticTable[index * 2 - 1]!;
  const known = staticNames.get(name) ?? { index, values: new Map<string, number>() };
  staticNames.set(name, known);
  if (value !== "") known.values.set(value, index);
}

function writeInteger(target: Buffer, offset: number, pattern: number, mask: number, value: number): number {
  let at = offset;
  if (value < mask) {
    target[at++] = pattern | value;
    return at;
  }
  target[at++] = pattern | mask;
  let rest = value - mask;
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

function writeString(target: Buffer, offset: number, text: string): number {
  const at = writeInteger(target, offset, 0, 0x7f, text.length);
  // Short ones are cheaper written here than handed to native code.
  if (text.length > 64) return at + target.write(text, at, "latin1");
  for (let index = 0; index < text.length; index++) target[at + index] = text.charCodeAt(index);
  return at + text.length;
}
