import { SeededRandom } from "./seeded-random.js";

const scalars = [
  ..."0 -0.0 1 -1 7.25 -2.5e-3 1E5 1e+2 123456789012 0.1 1e-7 true false null".split(" "),
  ...['""', '"a"', '"\\u00e9\\n\\"\\\\"', '"\\ud83d\\ude00"', '"é😀"', '"]},:"'],
];
const blanks = ["", "", "", " ", "\n", "\t \r\n"];
const junk = [...'[]{},:"\\ud01.e-+NIntf \u0000\u001f/x', "é", "NaN", "Infinity", "1e999", "01", "\ufeff", '"a":'];

/** JSON texts: well-formed ones, and what becomes of them when someone stumbles over the keyboard. */
export class JsonGenerator extends SeededRandom {
  value(depth: number): string {
    const kind = depth <= 0 ? 0 : this.below(3);
    if (kind === 0) return this.pick(scalars);
    const parts = Array.from({ length: this.below(4) }, (_, index) => {
      const key = kind === 2 ? `"k${index}"${this.blank()}:${this.blank()}` : "";
      return this.blank() + key + this.value(depth - 1) + this.blank();
    });
    const inner = parts.length === 0 ? this.blank() : parts.join(",");
    return kind === 1 ? `[${inner}]` : `{${inner}}`;
  }

  mutate(text: string): string {
    let mutated = text;
    for (let count = 1 + this.below(3); count > 0; count -= 1) {
      const at = this.below(mutated.length + 1);
      const [head, tail] = [mutated.slice(0, at), mutated.slice(at)];
      mutated = [head + this.pick(junk) + tail, head + tail.slice(1), head, head + this.pick(junk) + tail.slice(1)][
        this.below(4)
      ]!;
    }
    return mutated;
  }

  blank(): string {
    return this.pick(blanks);
  }
}
