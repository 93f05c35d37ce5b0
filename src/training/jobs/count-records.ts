// How many rows a text has, told from its bytes without holding it: cut anywhere, at the speed of a loop over bytes.
import { StringDecoder } from "node:string_decoder";
import { JsonArraySplitter } from "../data/json-array-splitter.js";
import type { TextForm } from "./data-files.js";

export interface RecordCounter {
  add(bytes: Uint8Array): void;
  /** Rows, when all bytes have come. */
  finish(): number;
}

export function recordCounter(form: TextForm): RecordCounter {
  switch (form) {
    case "csv":
    case "tsv":
      return new CsvCounter();
    case "json-lines":
      return new LineCounter();
    case "json-array":
      return new ElementCounter();
  }
}

/** Counts as csvRecords() does: line ends within quotes end no record, and an empty line is none. */
class CsvCounter implements RecordCounter {
  #records = 0;
  #quoted = false;
  #begun = false;

  add(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (byte === quote) {
        // A doubled quote turns twice, which is not at all.
        this.#quoted = !this.#quoted;
        this.#begun = true;
      } else if (byte === newline && !this.#quoted) {
        if (this.#begun) this.#records += 1;
        this.#begun = false;
      } else if (byte !== carriageReturn) this.#begun = true;
    }
  }

  /** The first record names the columns. */
  finish(): number {
    return Math.max(0, this.#records + Number(this.#begun) - 1);
  }
}

class LineCounter implements RecordCounter {
  #lines = 0;
  #begun = false;

  add(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (byte === newline) {
        this.#lines += Number(this.#begun);
        this.#begun = false;
      } else if (byte > blank) this.#begun = true;
    }
  }

  finish(): number {
    return this.#lines + Number(this.#begun);
  }
}

class ElementCounter implements RecordCounter {
  readonly #decoder = new StringDecoder("utf8");
  readonly #splitter = new JsonArraySplitter();
  #elements = 0;

  add(bytes: Uint8Array): void {
    const text = this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    this.#elements += this.#splitter.push(text).length;
  }

  finish(): number {
    this.#splitter.end();
    return this.#elements;
  }
}

const [newline, carriageReturn, quote, blank] = [0x0a, 0x0d, 0x22, 0x20];
