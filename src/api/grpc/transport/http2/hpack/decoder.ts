// A header block into a header list (RFC 7541).
import { ConnectionError, ErrorCode } from "../protocol.js";
import { DynamicTable, entryOverheadBytes } from "./dynamic-table.js";
import { decodeHuffman } from "./huffman.js";
import { staticTable, staticTableLength } from "./static-table.js";

export interface HeaderList {
  /** Name, value, name, value …; one character to the byte. */
  readonly fields: readonly string[];
  /** The list was larger than allowed: fields holds its beginning. */
  readonly truncated: boolean;
  /** Decoding the same bytes again gives the same list, as long as the decoder's tableVersion is the same. */
  readonly repeatable: boolean;
}

export class HpackDecoder {
  readonly #table: DynamicTable;
  readonly #maxTableBytes: number;
  readonly #maxListBytes: number;
  /** Counts the changes of the dynamic table. */
  tableVersion = 0;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  /** Huffman-coded strings are decoded here. */
  #scratch = Buffer.allocUnsafe(256);

  /**
   * @param maxTableBytes the SETTINGS_HEADER_TABLE_SIZE that the peer was told
   * @param maxListBytes a header list's size as RFC 9113 counts it, at most; what is over is left out, and said
   */
  constructor(maxTableBytes: number, maxListBytes: number) {
    this.#table = new DynamicTable(maxTableBytes);
    this.#maxTableBytes = maxTableBytes;
    this.#maxListBytes = maxListBytes;
  }

  /** @throws ConnectionError COMPRESSION_ERROR; the decoder is of no use after that */
  decode(block: Buffer, start: number, end: number): HeaderList {
    this.#block = block;
    this.#at = start;
    this.#end = end;
    const versionBefore = this.tableVersion;
    const fields: string[] = [];
    let listBytes = 0;
    let begun = false;
    while (this.#at < end) {
      const first = block[this.#at]!;
      let name: string;
      let value: string;
      if (first >= 0x80) {
        const index = this.#integer(0x7f);
        name = this.#nameAt(index);
        value =
          index <= staticTableLength ? staticTable[index * 2 - 1]! : this.#table.value(index - staticTableLength - 1);
      } else if ((first & 0xe0) === 0x20) {
        if (begun) throw compressionError("table size update after a header field");
        this.#resizeTable(this.#integer(0x1f));
        continue;
      } else {
        const indexing = first >= 0x40;
        const index = this.#integer(indexing ? 0x3f : 0x0f);
        name = index === 0 ? this.#string() : this.#nameAt(index);
        value = this.#string();
        if (indexing) {
          this.#table.add(name, value);
          this.tableVersion += 1;
        }
      }
      begun = true;
      listBytes += name.length + value.length + entryOverheadBytes;
      if (listBytes <= this.#maxListBytes) fields.push(name, value);
    }
    return {
      fields,
      truncated: listBytes > this.#maxListBytes,
      repeatable: this.tableVersion === versionBefore,
    };
  }

  #resizeTable(bytes: number): void {
    if (bytes > this.#maxTableBytes) {
      throw compressionError(`table size ${bytes} is over the limit of ${this.#maxTableBytes}`);
    }
    this.#table.resize(bytes);
    this.tableVersion += 1;
  }

  #nameAt(index: number): string {
    if (index > 0 && index <= staticTableLength) return staticTable[index * 2 - 2]!;
    const dynamic = index - staticTableLength - 1;
    if (index === 0 || dynamic >= this.#table.length) throw compressionError(`no header field has the index ${index}`);
    return this.#table.name(dynamic);
  }

  /** @param mask the bits of the first byte that belong to the number, all ones when it goes on (section 5.1) */
  #integer(mask: number): number {
    const block = this.#block;
    let value = block[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      if (this.#at >= this.#end) throw compressionError("header block ends within a number");
      // Four more bytes reach 2^28, more than any length or index here can mean.
      if (shift > 21) throw compressionError("number in header block is too large");
      const byte = block[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  #string(): string {
    if (this.#at >= this.#end) throw compressionError("header block ends before a string");
    const huffman = this.#block[this.#at]! >= 0x80;
    const length = this.#integer(0x7f);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw compressionError("header block ends within a string");
    this.#at = end;
    if (!huffman) return this.#block.toString("latin1", start, end);
    const room = Math.ceil((length * 8) / 5);
    if (this.#scratch.length < room) this.#scratch = Buffer.allocUnsafe(room);
    return this.#scratch.toString("latin1", 0, decodeHuffman(this.#block, start, end, this.#scratch, 0));
  }
}

function compressionError(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, message);
}
