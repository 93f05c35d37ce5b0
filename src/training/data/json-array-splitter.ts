import { invalidArgument } from "../../status.js";

/** Cuts the text of a JSON array, which may come in any pieces, into the texts of its elements. */
export class JsonArraySplitter {
  #state: "before" | "first" | "element" | "next" | "after" = "before";
  #depth = 0;
  #quoted = false;
  #escaped = false;
  /** Of the element at work, from earlier pieces. */
  #begun = "";

  /** The elements that end in this piece. Throws INVALID_ARGUMENT when the text is no array. */
  push(piece: string): string[] {
    const found: string[] = [];
    let start = 0;
    for (let i = 0; i < piece.length; i++) {
      const code = piece.charCodeAt(i);
      if (this.#state === "element") {
        if (!this.#endsElement(code)) continue;
        found.push(this.#begun + piece.slice(start, i));
        this.#begun = "";
        this.#state = code === comma ? "next" : "after";
        continue;
      }
      if (isBlank(code)) continue;
      if (this.#state === "before" && code === openingBracket) this.#state = "first";
      else if (this.#state === "first" && code === closingBracket) this.#state = "after";
      else if (this.#state === "before" || this.#state === "after") {
        throw invalidArgument(
          "the JSON is not one array of objects, as a file .json must be; for an object a line, .jsonl",
        );
      } else if (code === comma || code === closingBracket) {
        throw invalidArgument(`the JSON has "${piece[i]}" where an object should be`);
      } else {
        this.#state = "element";
        start = i;
        this.#endsElement(code);
      }
    }
    if (this.#state === "element") this.#begun += piece.slice(start);
    return found;
  }

  /** Throws INVALID_ARGUMENT when the array has not ended. */
  end(): void {
    if (this.#state !== "after") throw invalidArgument("the JSON ends before its array does");
  }

  #endsElement(code: number): boolean {
    if (this.#quoted) {
      if (this.#escaped) this.#escaped = false;
      else if (code === backslash) this.#escaped = true;
      else if (code === quote) this.#quoted = false;
      return false;
    }
    if (code === quote) this.#quoted = true;
    else if (code === openingBrace || code === openingBracket) this.#depth += 1;
    else if (this.#depth === 0) return code === comma || code === closingBracket;
    else if (code === closingBrace || code === closingBracket) this.#depth -= 1;
    return false;
  }
}

const [comma, quote, backslash] = [0x2c, 0x22, 0x5c];
const [openingBracket, closingBracket, openingBrace, closingBrace] = [0x5b, 0x5d, 0x7b, 0x7d];
/** What JSON takes for blank, and the mark that some editors put at the start of a file. */
const isBlank = (code: number): boolean =>
  code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09 || code === 0xfeff;
