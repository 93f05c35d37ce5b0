// Text into words, as operators: the very graph that serves also cuts the words a vocabulary is counted from.
import { encodeGraphModel, Graph } from "../../onnx/index.js";
import { StepSession } from "../../runtime/index.js";

/** The operator sets that prepared models need. */
export const preparationOperatorSets: ReadonlyMap<string, number> = new Map([
  ["", 21],
  ["ai.onnx.ml", 4],
  ["com.microsoft", 1],
]);

/** What fills the rows of shorter texts; no word is empty. */
export const noWord = "";

/**
 * Words of a string vector [N], as [N, words of the longest]: runs of letters and digits, A to Z in lower case. Other
 * letters keep their case, since only the locale "C" is on every machine; see spellings().
 */
export function emitWords(graph: Graph, texts: string): string {
  const [lower] = graph.node("StringNormalizer", [texts], { case_change_action: "LOWER", locale: "C" });
  const attributes = { mark: 0, mincharnum: 1, pad_value: noWord, tokenexp: "[\\p{L}\\p{N}_]+" };
  return graph.node("Tokenizer", [lower!], attributes, { domain: "com.microsoft" })[0]!;
}

/** The ways a word of lower-case letters may come out of emitWords(): one, but for letters beyond A to Z. */
export function spellings(word: string): string[] {
  const upper = word.toUpperCase();
  const first = [...word][0] ?? "";
  const capitalised = first.toUpperCase() + word.slice(first.length);
  const fold = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return [...new Set([word, fold(capitalised), fold(upper)])];
}

/** Cuts texts into words in lower case. */
export class WordCutter {
  readonly #session: StepSession;

  constructor() {
    const graph = new Graph();
    const texts = graph.input("texts", "string", ["N"]);
    const words = emitWords(graph, texts);
    graph.node("Identity", [words], {}, { outputs: ["words"] });
    graph.output("words");
    this.#session = new StepSession(encodeGraphModel(graph, { operatorSets: preparationOperatorSets }));
  }

  cut(texts: readonly string[]): string[][] {
    const feeds = new Map([["texts", { dtype: "string", shape: [texts.length], data: texts } as const]]);
    const { shape, data } = this.#session.run(feeds, ["words"]).get("words")!;
    const width = shape[1]!;
    return texts.map((_, row) => {
      const words = (data as readonly string[]).slice(row * width, (row + 1) * width);
      return words.filter((word) => word !== noWord).map((word) => word.toLowerCase());
    });
  }

  release(): void {
    this.#session.release();
  }
}
