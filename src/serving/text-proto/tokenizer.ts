import { invalidArgument, type StatusError } from "../../status.js";

/** Where something stands in a text, both from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export type Token =
  | { readonly kind: "identifier"; readonly text: string; readonly at: Position }
  /** `integral` is false for text with a fraction, an exponent or an f behind it. */
  | { readonly kind: "number"; readonly text: string; readonly integral: boolean; readonly at: Position }
  | { readonly kind: "string"; readonly bytes: Uint8Array; readonly at: Position }
  | { readonly kind: "symbol"; readonly text: string; readonly at: Position }
  | { readonly kind: "end"; readonly text: "end of file"; readonly at: Position };

/** How all faults of a text are worded: "3:7: what is wrong". */
export function syntaxError(at: Position, message: string): StatusError {
  return invalidArgument(`${at.line}:${at.column}: ${message}`);
}

const blanks = /[ \t\r\n\v\f]+/y;
const identifier = /[A-Za-z_][A-Za-z0-9_]*/y;
const number = /0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?/y;
const integer = /^(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/;
const plainText = /[^\\\n"']+/y;
const escapeSequence = /\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\'"?]))/y;
const namedEscapes: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11 };
const utf8 = new TextEncoder();

/** Cuts a text of protobuf's text format into tokens, one at a time; comments and blanks between them are dropped. */
export class Tokenizer {
  readonly #text: string;
  #offset = 0;
  #line = 1;
  #lineStart = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** @throws INVALID_ARGUMENT with line and column */
  next(): Token {
    this.#skipBlanks();
    const at = this.#position();
    const first = this.#text[this.#offset];
    if (first === undefined) return { kind: "end", text: "end of file", at };
    if (first === '"' || first === "'") return { kind: "string", bytes: this.#string(first, at), at };
    const name = this.#match(identifier);
    if (name !== undefined) return { kind: "identifier", text: name, at };
    const digits = this.#match(number);
    if (digits !== undefined) {
      if (this.#match(identifier) !== undefined) throw syntaxError(at, "Need space between number and identifier.");
      return this.#number(digits, at);
    }
    this.#offset++;
    return { kind: "symbol", text: first, at };
  }

  #number(text: string, at: Position): Token {
    const integral = integer.test(text);
    if (!integral && /^0[0-9]+$/.test(text)) {
      throw syntaxError(at, "Numbers starting with leading zero must be in octal.");
    }
    return { kind: "number", text, integral, at };
  }

  #string(quote: string, start: Position): Uint8Array {
    const parts: Uint8Array[] = [];
    this.#offset++;
    for (;;) {
      const plain = this.#match(plainText);
      if (plain !== undefined) parts.push(utf8.encode(plain));
      const at = this.#position();
      const next = this.#text[this.#offset];
      if (next === undefined) throw syntaxError(start, "Unexpected end of string.");
      if (next === "\n") throw syntaxError(at, "String literals cannot cross line boundaries.");
      if (next === "\\") parts.push(this.#escape(at));
      else {
        this.#offset++;
        if (next === quote) return concatenate(parts);
        parts.push(utf8.encode(next));
      }
    }
  }

  #escape(at: Position): Uint8Array {
    escapeSequence.lastIndex = this.#offset;
    const match = escapeSequence.exec(this.#text);
    if (match === null) throw syntaxError(at, "Invalid escape sequence in string literal.");
    this.#offset = escapeSequence.lastIndex;
    const [, octal, hex, short, long, named] = match;
    if (octal !== undefined || hex !== undefined) {
      const byte = octal !== undefined ? Number.parseInt(octal, 8) : Number.parseInt(hex!, 16);
      if (byte > 0xff) throw syntaxError(at, "Invalid escape sequence in string literal.");
      return Uint8Array.of(byte);
    }
    if (named !== undefined) return Uint8Array.of(namedEscapes[named] ?? named.charCodeAt(0));
    const code = Number.parseInt((short ?? long)!, 16);
    if (code > 0x10ffff) throw syntaxError(at, "Invalid escape sequence in string literal.");
    let text = String.fromCodePoint(code);
    if (code >= 0xd800 && code < 0xdc00) {
      // The first half of a pair; the second must follow as an escape of its own.
      const low = /\\u(d[c-f][0-9a-f]{2})/iy;
      low.lastIndex = this.#offset;
      const second = low.exec(this.#text);
      if (second !== null) {
        this.#offset = low.lastIndex;
        text += String.fromCharCode(Number.parseInt(second[1]!, 16));
      }
    }
    if (/\p{Surrogate}/u.test(text)) throw syntaxError(at, "Invalid escape sequence in string literal.");
    return utf8.encode(text);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#offset;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#offset = pattern.lastIndex;
    return match[0];
  }

  #skipBlanks(): void {
    const start = this.#offset;
    while (this.#match(blanks) !== undefined || this.#text[this.#offset] === "#") {
      if (this.#text[this.#offset] !== "#") continue;
      const newline = this.#text.indexOf("\n", this.#offset);
      this.#offset = newline < 0 ? this.#text.length : newline;
    }
    for (let i = start; i < this.#offset; i++) {
      if (this.#text.charCodeAt(i) !== 10) continue;
      this.#line++;
      this.#lineStart = i + 1;
    }
  }

  #position(): Position {
    return { line: this.#line, column: this.#offset - this.#lineStart + 1 };
  }
}

export function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
