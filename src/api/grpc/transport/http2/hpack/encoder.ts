// A header list into a header block, for the few lists that a gRPC server sends. Fields that come with every call (the
// content type, an OK status) are entered into the peer's table once and cost a byte from then on; nothing is ever evicted,
// so that their indices stay. All others are sent as they are, without Huffman code: that would cost more than it saves.
import { DynamicTable, entryOverheadBytes } from "./dynamic-table.js";
import { staticTable, staticTableLength } from "./static-table.js";

/** As much of a peer's table as we use: it allows 4096 unless it says otherwise, and the fields meant for it fit well. */
const maxTableBytes = 4096;
/** No field takes more than this beyond its name and value: the first byte and two lengths. */
const fieldOverheadBytes = 11;

export class HpackEncoder {
  readonly #remembered: ReadonlySet<string>;
  /** "name: value" of each field in the peer's table, numbered as entered. */
  readonly #entries = new Map<string, number>();
  /** Names in the peer's table: the value then needs no name beside it. */
  readonly #names = new Map<string, number>();
  #table = new DynamicTable(maxTableBytes);
  #capacityBytes = maxTableBytes;
  /** Sizes that the next block has to announce first. */
  #announcements: readonly number[] = [];

  /** @param remembered fields worth an entry in the peer's table, as "name: value" or, whatever the value, "name" */
  constructor(remembered: ReadonlySet<string>) {
    this.#remembered = remembered;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  peerAllows(tableBytes: number): void {
    // More room than now is not needed. With less, the table starts anew: empty, then at the new size.
    if (tableBytes >= this.#capacityBytes) return;
    this.#capacityBytes = tableBytes;
    this.#table.resize(0);
    this.#table.resize(tableBytes);
    this.#entries.clear();
    this.#names.clear();
    this.#announcements = [0, tableBytes];
  }

  /** Room that a block of these fields needs at most. */
  boundBytes(fields: readonly string[]): number {
    let bytes = 12; // two announcements
    for (const part of fields) bytes += part.length;
    return bytes + (fields.length / 2) * fieldOverheadBytes;
  }

  /**
   * @param fields name, value, name, value …; one character to the byte
   * @returns the offset after what was written
   */
  encode(fields: readonly string[], target: Buffer, offset: number): number {
    let at = offset;
    if (this.#announcements.length > 0) {
      for (const size of this.#announcements) at = writeInteger(target, at, 0x20, 0x1f, size);
      this.#announcements = [];
    }
    for (let index = 0; index < fields.length; index += 2) {
      at = this.#field(fields[index]!, fields[index + 1]!, target, at);
    }
    return at;
  }

  #field(name: string, value: string, target: Buffer, offset: number): number {
    const whole = `${name}: ${value}`;
    const index = staticFields.get(whole) ?? this.#indexOf(this.#entries.get(whole));
    if (index !== undefined) return writeInteger(target, offset, 0x80, 0x7f, index);
    const nameIndex = staticNames.get(name) ?? this.#indexOf(this.#names.get(name)) ?? 0;
    const entering = this.#remembers(whole, name, value);
    let at = writeInteger(target, offset, entering ? 0x40 : 0, entering ? 0x3f : 0x0f, nameIndex);
    if (nameIndex === 0) at = writeString(target, at, name);
    at = writeString(target, at, value);
    if (entering) {
      const entry = this.#table.length;
      this.#table.add(name, value);
      this.#entries.set(whole, entry);
      if (!this.#names.has(name)) this.#names.set(name, entry);
    }
    return at;
  }

  #remembers(whole: string, name: string, value: string): boolean {
    if (!this.#remembered.has(whole) && (!this.#remembered.has(name) || this.#names.has(name))) return false;
    return this.#table.bytes + name.length + value.length + entryOverheadBytes <= this.#capacityBytes;
  }

  #indexOf(entry: number | undefined): number | undefined {
    return entry === undefined ? undefined : staticTableLength + this.#table.length - entry;
  }
}

const staticFields = new Map<string, number>();
const staticNames = new Map<string, number>();
for (let index = 1; index <= staticTableLength; index++) {
  const name = staticTable[index * 2 - 2]!;
  const value = staticTable[index * 2 - 1]!;
  if (value !== "") staticFields.set(`${name}: ${value}`, index);
  if (!staticNames.has(name)) staticNames.set(name, index);
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
