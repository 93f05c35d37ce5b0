/** What an entry weighs beside its name and value (RFC 7541, section 4.1). */
export const entryOverheadBytes = 32;

/** The header fields that one side of a connection has told the other to remember; the newest is index 0. */
export class DynamicTable {
  /** A ring: name and value of the entry numbered n are at n & mask. Entries are numbered in the order they came. */
  readonly #names: string[];
  readonly #values: string[];
  readonly #mask: number;
  #oldest = 0;
  #next = 0;
  #bytes = 0;
  #maxBytes: number;

  /** @param limitBytes as large as its size may ever be set */
  constructor(limitBytes: number) {
    let slots = 1;
    while (slots * entryOverheadBytes < limitBytes) slots *= 2;
    this.#names = new Array(slots).fill("");
    this.#values = new Array(slots).fill("");
    this.#mask = slots - 1;
    this.#maxBytes = limitBytes;
  }

  get length(): number {
    return this.#next - this.#oldest;
  }

  get bytes(): number {
    return this.#bytes;
  }

  name(index: number): string {
    return this.#names[(this.#next - 1 - index) & this.#mask]!;
  }

  value(index: number): string {
    return this.#values[(this.#next - 1 - index) & this.#mask]!;
  }

  /** Adds a field, one character to the byte, at the cost of the oldest; one that is too large only empties the table. */
  add(name: string, value: string): void {
    const bytes = name.length + value.length + entryOverheadBytes;
    this.#evict(this.#maxBytes - bytes);
    if (bytes > this.#maxBytes) return;
    this.#names[this.#next & this.#mask] = name;
    this.#values[this.#next & this.#mask] = value;
    this.#next += 1;
    this.#bytes += bytes;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evict(maxBytes);
  }

  #evict(toBytes: number): void {
    while (this.#bytes > toBytes && this.#oldest < this.#next) {
      const slot = this.#oldest & this.#mask;
      this.#bytes -= this.#names[slot]!.length + this.#values[slot]!.length + entryOverheadBytes;
      this.#names[slot] = "";
      this.#values[slot] = "";
      this.#oldest += 1;
    }
  }
}
