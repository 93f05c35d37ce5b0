import { internal, invalidArgument } from "../status.js";
import { isNumeric, type NumericData, type NumericTensor } from "../tensor/index.js";
import { rowName } from "./data/table.js";
import { type Examples, type Field, rowSize, targetField, weightField } from "./examples.js";
import type { AnsweredTensors } from "./tensor-rows.js";
import type { TensorSet } from "./tensor-set.js";

/** Rows of a set as examples, without a copy of them anywhere: read in order, as they are asked for. */
export class TensorExamples implements Examples {
  readonly fields: readonly Field[];
  readonly #set: TensorSet;
  readonly #rows: AnsweredTensors;
  /** The rows read last: fields of one batch are asked for one after another. */
  #read: { readonly first: number; readonly end: number; readonly data: ReadonlyMap<string, NumericData> } | undefined;

  /** @param rows the same ones, checked as they are read */
  constructor(set: TensorSet, rows: AnsweredTensors) {
    const text = set.inputs.find(({ dtype }) => dtype === "string");
    if (text !== undefined) throw invalidArgument(`input "${text.name}" takes strings; give its rows as a table`);
    this.#set = set;
    this.#rows = rows;
    this.fields = [...set.inputs, { ...rows.target, name: targetField }];
    if (set.weighted) this.fields = [...this.fields, { name: weightField, dtype: "float32", shape: [] }];
  }

  get count(): number {
    return this.#set.count;
  }

  nameOf(row: number): string {
    return rowName(row);
  }

  gather(name: string, rows: Uint32Array, into: NumericData): void {
    const first = rows[0]!;
    const end = first + rows.length;
    if (rows.some((row, i) => row !== first + i)) throw internal("these examples are read in order");
    if (this.#read?.first !== first || this.#read.end !== end)
      this.#read = { first, end, data: this.#fetch(first, end) };
    const data = this.#read.data.get(name);
    const field = this.fields.find((each) => each.name === name);
    if (data === undefined || field === undefined) throw internal(`the examples have no field "${name}"`);
    (into as Float32Array).set((data as Float32Array).subarray(0, rows.length * rowSize(field)));
  }

  #fetch(first: number, end: number): Map<string, NumericData> {
    const data = new Map<string, NumericData>();
    for (const [name, tensor] of this.#rows.rows.read(first, end)) {
      if (isNumeric(tensor)) data.set(name, (tensor as NumericTensor).data);
    }
    const { targets, weights } = this.#rows.answers(first, end);
    data.set(targetField, targets);
    if (weights !== undefined) data.set(weightField, weights);
    return data;
  }
}
