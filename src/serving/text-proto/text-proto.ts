import { concatenate, type Position, syntaxError, type Token, Tokenizer } from "./tokenizer.js";

/** A text as it was written, before anyone says which fields there are. */
export interface TextMessage {
  readonly kind: "message";
  readonly fields: readonly TextField[];
  readonly at: Position;
}

export interface TextField {
  /** "base_path"; "[type.googleapis.com/some.Message]" for an extension or an expanded Any. */
  readonly name: string;
  readonly value: TextValue;
  /** Written in a list, as in `versions: [1, 2]`; each element is a field of its own here. */
  readonly inList: boolean;
  readonly at: Position;
}

export type TextScalar =
  | { readonly kind: "string"; readonly bytes: Uint8Array; readonly at: Position }
  | {
      readonly kind: "number";
      readonly text: string;
      readonly integral: boolean;
      readonly negative: boolean;
      readonly at: Position;
    }
  | { readonly kind: "identifier"; readonly text: string; readonly negative: boolean; readonly at: Position };
export type TextValue = TextMessage | TextScalar;

/** Messages inside messages, at most: far more than any schema of ours has, far less than a stack holds. */
const maxDepth = 64;

/**
 * Reads protobuf's text format: the whole grammar but for field numbers in place of names.
 * @throws INVALID_ARGUMENT "line:column: what is wrong"
 */
export function parseTextProto(text: string): TextMessage {
  return new Parser(text).file();
}

class Parser {
  readonly #tokenizer: Tokenizer;
  #token: Token;
  #depth = 0;

  constructor(text: string) {
    this.#tokenizer = new Tokenizer(text);
    this.#token = this.#tokenizer.next();
  }

  file(): TextMessage {
    const { at } = this.#token;
    return { kind: "message", fields: this.#fields("end of file"), at };
  }

  /** All fields up to the text that closes them, which is taken too. */
  #fields(close: string): TextField[] {
    const fields: TextField[] = [];
    while (!this.#isAt(close)) {
      this.#field(fields);
      if (this.#isSymbol(",") || this.#isSymbol(";")) this.#advance();
    }
    if (close !== "end of file") this.#advance();
    return fields;
  }

  #field(fields: TextField[]): void {
    const { at } = this.#token;
    const name = this.#fieldName();
    const colon = this.#isSymbol(":");
    if (colon) this.#advance();
    if (this.#isSymbol("[")) {
      this.#advance();
      while (!this.#isSymbol("]")) {
        fields.push({ name, value: this.#value(colon), inList: true, at });
        if (this.#isSymbol("]")) break;
        this.#take(",");
        if (this.#isSymbol("]")) throw this.#unexpected("a value");
      }
      this.#advance();
    } else fields.push({ name, value: this.#value(colon), inList: false, at });
  }

  #fieldName(): string {
    if (!this.#isSymbol("[")) return this.#identifier();
    this.#advance();
    let name = "[";
    while (!this.#isSymbol("]")) {
      const separator = this.#isSymbol(".") || this.#isSymbol("/") || this.#isSymbol("-");
      name += separator ? (this.#advance() as { text: string }).text : this.#identifier();
    }
    this.#advance();
    return `${name}]`;
  }

  /** A scalar needs the colon before it; a message may do without. */
  #value(colon: boolean): TextValue {
    const token = this.#token;
    if (this.#isSymbol("{") || this.#isSymbol("<")) {
      if (++this.#depth > maxDepth) throw syntaxError(token.at, `Messages are nested deeper than ${maxDepth}.`);
      this.#advance();
      const fields = this.#fields(token.kind === "symbol" && token.text === "<" ? ">" : "}");
      this.#depth--;
      return { kind: "message", fields, at: token.at };
    }
    if (!colon) throw this.#unexpected('":"');
    if (token.kind === "string") return this.#adjacentStrings();
    const negative = this.#isSymbol("-");
    if (negative) this.#advance();
    const scalar = this.#token;
    if (scalar.kind !== "number" && scalar.kind !== "identifier") throw this.#unexpected("a value");
    this.#advance();
    return scalar.kind === "number"
      ? { kind: "number", text: scalar.text, integral: scalar.integral, negative, at: token.at }
      : { kind: "identifier", text: scalar.text, negative, at: token.at };
  }

  #adjacentStrings(): TextScalar {
    const { at } = this.#token;
    const parts: Uint8Array[] = [];
    while (this.#token.kind === "string") {
      parts.push(this.#token.bytes);
      this.#advance();
    }
    return { kind: "string", bytes: concatenate(parts), at };
  }

  #identifier(): string {
    if (this.#token.kind !== "identifier") throw this.#unexpected("identifier");
    return (this.#advance() as { text: string }).text;
  }

  #take(symbol: string): void {
    if (!this.#isSymbol(symbol)) throw this.#unexpected(`"${symbol}"`);
    this.#advance();
  }

  #advance(): Token {
    const token = this.#token;
    this.#token = this.#tokenizer.next();
    return token;
  }

  #isSymbol(text: string): boolean {
    return this.#token.kind === "symbol" && this.#token.text === text;
  }

  #isAt(close: string): boolean {
    if (this.#token.kind !== "end") return this.#isSymbol(close);
    if (close !== "end of file") throw this.#unexpected(`"${close}"`);
    return true;
  }

  #unexpected(expected: string) {
    const token = this.#token;
    const got = token.kind === "end" ? "end of file" : token.kind === "string" ? "a string" : `"${token.text}"`;
    return syntaxError(token.at, `Expected ${expected}, got ${got}.`);
  }
}
