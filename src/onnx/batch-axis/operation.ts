import type { AttributeProto, NodeProto } from "../../gen/onnx/onnx.js";
import { nodeLabel } from "../graph-walk.js";
import type { Layout } from "./layout.js";

/** Why the rows of a batch cannot be shown to stay apart. */
export class Refusal extends Error {}

/** One node as the rules see it: its attributes, and what is known of its inputs. */
export class Operation {
  readonly node: NodeProto;
  /** Of the operator set that the node's operator is from. */
  readonly version: number;
  readonly #inputs: readonly (Layout | undefined)[];

  constructor(node: NodeProto, version: number, inputs: readonly (Layout | undefined)[]) {
    this.node = node;
    this.version = version;
    this.#inputs = inputs;
  }

  /** Ends the proof: "Reshape_12 folds the batch axis". */
  refuse(why: string): never {
    throw new Refusal(`${nodeLabel(this.node)} ${why}`);
  }

  input(index: number): Layout {
    return this.#inputs[index] ?? this.refuse(`has no input ${index}`);
  }

  optional(index: number): Layout | undefined {
    return this.#inputs[index];
  }

  /** Those that are given. */
  get inputs(): readonly Layout[] {
    return this.#inputs.filter((input) => input !== undefined);
  }

  /** Whether a later node can take the output of that index. */
  hasOutput(index: number): boolean {
    return (this.node.output[index] ?? "") !== "";
  }

  has(name: string): boolean {
    return this.attribute(name) !== undefined;
  }

  int(name: string, otherwise: number): number {
    const attribute = this.attribute(name);
    return attribute === undefined ? otherwise : Number(attribute.i);
  }

  ints(name: string): readonly number[] | undefined {
    return this.attribute(name)?.ints.map(Number);
  }

  text(name: string, otherwise: string): string {
    const attribute = this.attribute(name);
    return attribute === undefined ? otherwise : new TextDecoder().decode(attribute.s);
  }

  // A Map for each node would cost more than the few attributes that a node has.
  attribute(name: string): AttributeProto | undefined {
    return this.node.attribute.find((attribute) => attribute.name === name);
  }

  /** An input that must not change with the batch. */
  fixedInput(index: number): Layout {
    const input = this.input(index);
    return input.axis === undefined ? input : this.refuse(`takes its input ${index} from the rows`);
  }

  /** Refuses unless these inputs, where given, do not change with the batch. */
  requireFixed(...indexes: readonly number[]): void {
    for (const index of indexes) if (this.optional(index) !== undefined) this.fixedInput(index);
  }

  /** The numbers that an input holds, or undefined when it is not given. Refuses where they are not known. */
  numbers(index: number): readonly number[] | undefined {
    if (this.optional(index) === undefined) return undefined;
    const elements = this.fixedInput(index).elements ?? this.refuse(`has an input ${index} that is no constant`);
    return elements.map((element) =>
      typeof element === "number" ? element : this.refuse(`has an input ${index} that is no constant`),
    );
  }

  /** The shape of an input, which must be known. */
  shape(index: number): NonNullable<Layout["shape"]> {
    return this.input(index).shape ?? this.refuse(`takes a value whose shape is not known`);
  }

  /** Counts an axis from the front. Negative ones count from the back. */
  axis(axis: number, rank: number): number {
    if (axis < -rank || axis >= rank) this.refuse(`has an axis ${axis} beyond its ${rank}`);
    return axis < 0 ? axis + rank : axis;
  }
}

/** What an operator makes of its inputs: a layout for each output it names. Throws a Refusal where rows may meet. */
export type Rule = (operation: Operation) => readonly Layout[];
