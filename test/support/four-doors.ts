import assert from "node:assert/strict";
import { parseExactJson } from "../../src/client/exact-json.js";
import {
  type Nested,
  OpenInferenceClient,
  OpenInferenceRestClient,
  type Scalar,
  type Tensor,
  TensorFlowServingClient,
  toNested,
} from "../../src/client/index.js";
import { toTensor } from "../../src/client/ndarray.js";
import { elementTypeInfo } from "../../src/tensor/index.js";

export type Tensors = Readonly<Record<string, Tensor>>;

/** One server, and a client at each of its doors; the REST doors are asked in JSON as well, which has no types. */
export class FourDoors implements Disposable {
  readonly tensorflowServing: TensorFlowServingClient;
  readonly #openInference: OpenInferenceClient;
  readonly #openInferenceRest: OpenInferenceRestClient;
  readonly #url: string;

  constructor({ target, url }: { readonly target: string; readonly url: string }) {
    this.tensorflowServing = new TensorFlowServingClient(target);
    this.#openInference = new OpenInferenceClient(target);
    this.#openInferenceRest = new OpenInferenceRestClient(url);
    this.#url = url;
  }

  /**
   * Asks every door that can carry the tensors, one after the other, and asserts that all answer the same to the bit.
   * @returns the answer, and the doors that gave it
   */
  async ask(model: string, inputs: Tensors): Promise<{ readonly outputs: Tensors; readonly doors: readonly string[] }> {
    const { outputs } = await this.tensorflowServing.predict(model, inputs);
    const others: Record<string, () => Promise<Tensors>> = {
      "v2 gRPC": async () => (await this.#openInference.predict(model, inputs)).outputs,
      "v2 REST": async () => (await this.#openInferenceRest.predict(model, inputs)).outputs,
    };
    const all = [...Object.values(inputs), ...Object.values(outputs)];
    // Nested lists do not show what lies behind a dimension of 0.
    const countable = all.every(({ shape }) => !shape.includes(0));
    if (countable) others["TensorFlow Serving REST"] = () => this.#columns(model, inputs, outputs);
    const written = all.every(({ dtype }) => dtype !== "float16");
    if (written) others["v2 REST, JSON"] = () => this.#json(model, inputs);
    for (const [door, answer] of Object.entries(others)) {
      assert.deepEqual(
        plain(await answer()),
        plain(outputs),
        `${model}: ${door}, asked ${JSON.stringify(shapes(inputs))}`,
      );
    }
    return { outputs, doors: ["TensorFlow Serving gRPC", ...Object.keys(others)] };
  }

  /** JSON in column form; the types of the answer are taken from `like`. */
  async #columns(model: string, inputs: Tensors, like: Tensors): Promise<Tensors> {
    const body = `{"inputs":${writeJson(Object.fromEntries(Object.entries(inputs).map(([k, v]) => [k, toNested(v)])))}}`;
    const { outputs } = (await this.#post(`/v1/models/${model}:predict`, body)) as { outputs: Nested };
    const names = Object.keys(like);
    const named = names.length === 1 ? { [names[0]!]: outputs } : (outputs as unknown as Record<string, Nested>);
    return map(like, ({ dtype }, name) => toTensor(name, named[name]!, dtype));
  }

  async #json(model: string, inputs: Tensors): Promise<Tensors> {
    const given = Object.entries(inputs).map(([name, tensor]) => ({
      name,
      shape: tensor.shape,
      datatype: elementTypeInfo(tensor.dtype).openInference,
      data: toNested({ ...tensor, shape: [tensor.data.length] }),
    }));
    const { outputs } = (await this.#post(`/v2/models/${model}/infer`, writeJson({ inputs: given }))) as {
      outputs: { name: string; datatype: string; shape: number[]; data: Scalar[] }[];
    };
    return Object.fromEntries(
      outputs.map(({ name, datatype, shape, data }) => {
        const dtype = dtypeOf(datatype);
        return [name, toTensor(name, { shape, data, dtype }, dtype)];
      }),
    );
  }

  async #post(path: string, body: string): Promise<unknown> {
    const response = await fetch(`${this.#url}${path}`, { method: "POST", body });
    const text = await response.text();
    assert.equal(response.status, 200, text);
    return parseExactJson("the answer", text);
  }

  [Symbol.dispose](): void {
    this.tensorflowServing.close();
    this.#openInference.close();
    this.#openInferenceRest.close();
  }
}

const dtypes = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"] as const;
function dtypeOf(datatype: string): Tensor["dtype"] {
  const found = [...dtypes, "float32", "float64", "string"] as const;
  return found.find((name) => elementTypeInfo(name).openInference === datatype)!;
}

/** As JSON.stringify, but with all digits of bigints, the sign of -0, and the words NaN and Infinity. */
function writeJson(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value === "number") return Object.is(value, -0) ? "-0.0" : String(value);
  if (Array.isArray(value)) return `[${value.map(writeJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}:${writeJson(item)}`)}}`;
}

/** Comparable: objects of one prototype, arrays of numbers whatever buffer they lie in. */
function plain(tensors: Tensors): unknown {
  return map(tensors, ({ dtype, shape, data }) => ({ dtype, shape: [...shape], data: [...data] }));
}

const shapes = (tensors: Tensors) => map(tensors, ({ dtype, shape }) => `${dtype} [${shape.join(",")}]`);

function map<T>(tensors: Tensors, to: (tensor: Tensor, name: string) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, to(tensor, name)]));
}
