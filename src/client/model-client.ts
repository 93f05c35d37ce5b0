import { Code, invalidArgument, StatusError } from "../status.js";
import type { ElementType, Tensor } from "../tensor/index.js";
import type { CallOptions } from "./client-options.js";
import { isUntyped, type TensorInput, toTensor } from "./ndarray.js";

/** What every client can do, whichever protocol it speaks. All of it throws StatusError, with the server's code and words. */
export interface ModelClient {
  /** Runs a model. Plain arrays take the element types that the model declares, which are asked for once. */
  predict(model: string, inputs: Inputs, options?: PredictOptions): Promise<Prediction>;
  /** What a model takes and gives. */
  metadata(model: string, options?: VersionOptions): Promise<ModelMetadata>;
  /** The versions of a model, whatever state they are in. */
  status(model: string, options?: VersionOptions): Promise<readonly VersionStatus[]>;
  /** All models of the server. */
  models(options?: CallOptions): Promise<readonly ModelSummary[]>;
  /** Gives the connection back; calls in flight end with CANCELLED or UNAVAILABLE. */
  close(): void;
}

export type Inputs = Readonly<Record<string, TensorInput>>;

export interface VersionOptions extends CallOptions {
  /** Default: the newest that is ready. */
  readonly version?: bigint | number;
  /** A version label, in the place of a version. TensorFlow Serving's protocol only. */
  readonly label?: string;
}

export interface PredictOptions extends VersionOptions {
  /** Default "serving_default". TensorFlow Serving's protocol only. */
  readonly signature?: string;
  /** The outputs wanted. Default: all. */
  readonly outputs?: readonly string[];
}

export interface Prediction {
  /** By name; an object without a prototype. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly model: string;
  /** The version that answered. */
  readonly version: bigint | undefined;
}

export interface ModelMetadata {
  readonly name: string;
  readonly version: bigint | undefined;
  /** By key. The Open Inference Protocol has no signatures: one, "serving_default", holds what it says. */
  readonly signatures: Readonly<Record<string, SignatureDescription>>;
}
export interface SignatureDescription {
  readonly inputs: Readonly<Record<string, TensorDescription>>;
  readonly outputs: Readonly<Record<string, TensorDescription>>;
}
export interface TensorDescription {
  /** undefined for a type this client does not know. */
  readonly dtype: ElementType | undefined;
  /** -1 stands for any size; undefined: any rank. */
  readonly shape: readonly number[] | undefined;
}

export interface VersionStatus {
  readonly version: bigint;
  /** In the server's word: "AVAILABLE", "READY", "LOADING" and so on. */
  readonly state: string;
  /** Why it is not served; "" when all is well. */
  readonly error: string;
  readonly labels: readonly string[];
}
export interface ModelSummary {
  readonly name: string;
  readonly versions: readonly VersionStatus[];
}

export const defaultSignature = "serving_default";

export function record<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const object: Record<string, T> = Object.create(null);
  for (const [key, value] of entries) object[key] = value;
  return object;
}

/** A bigint for the wire, from what a user may hold. */
export function versionNumber(version: bigint | number): bigint {
  if (typeof version === "number" && !Number.isSafeInteger(version)) {
    throw invalidArgument(`version must be a whole number that a double holds exactly; got ${version}`);
  }
  return BigInt(version);
}

/** Makes tensors of inputs, and remembers what models declare for those inputs that say no type themselves. */
export class InputEncoder {
  readonly #metadata: (model: string, options: VersionOptions) => Promise<ModelMetadata>;
  readonly #declared = new Map<string, Promise<ModelMetadata>>();

  constructor(metadata: (model: string, options: VersionOptions) => Promise<ModelMetadata>) {
    this.#metadata = metadata;
  }

  /**
   * Encodes the inputs and makes the call. When the call is refused as INVALID_ARGUMENT and a type came from memory, the
   * model may have been replaced by one of other types since: it is asked once more.
   */
  async call<T>(
    model: string,
    inputs: Inputs,
    options: PredictOptions,
    send: (tensors: ReadonlyMap<string, Tensor>) => Promise<T>,
  ): Promise<T> {
    if (!Object.values(inputs).some(isUntyped)) return await send(encode(inputs, undefined));
    const { signature: signatureKey = defaultSignature, version, label } = options;
    const key = JSON.stringify([model, version === undefined ? null : String(version), label ?? null]);
    const remembered = this.#declared.get(key);
    const asked = remembered ?? this.#ask(key, model, options);
    const signature = (await asked).signatures[signatureKey];
    if (remembered === undefined) return await send(encode(inputs, signature));
    try {
      return await send(encode(inputs, signature));
    } catch (thrown) {
      if (!(thrown instanceof StatusError) || thrown.code !== Code.INVALID_ARGUMENT) throw thrown;
      this.#declared.delete(key);
      const now = (await this.#ask(key, model, options)).signatures[signatureKey];
      if (sameInputTypes(signature, now)) throw thrown;
      return await send(encode(inputs, now));
    }
  }

  #ask(key: string, model: string, options: VersionOptions): Promise<ModelMetadata> {
    // One caller's signal must not fail the others that wait for the same answer.
    const { signal: _, ...shared } = options;
    const asked = this.#metadata(model, shared);
    if (this.#declared.size >= maxRemembered) this.#declared.delete(this.#declared.keys().next().value!);
    this.#declared.set(key, asked);
    asked.catch(() => this.#declared.delete(key));
    return asked;
  }
}

const maxRemembered = 1000;

function encode(inputs: Inputs, signature: SignatureDescription | undefined): ReadonlyMap<string, Tensor> {
  return new Map(
    Object.entries(inputs).map(([name, input]) => [name, toTensor(name, input, guess(name, input, signature))]),
  );
}

/**
 * The declared type. A name that the model does not declare gets a type all the same: the server's refusal names the
 * inputs that there are.
 */
function guess(name: string, input: TensorInput, signature: SignatureDescription | undefined): ElementType | undefined {
  if (!isUntyped(input)) return undefined;
  if (signature !== undefined && Object.hasOwn(signature.inputs, name)) return signature.inputs[name]!.dtype;
  let sample: unknown = typeof input === "object" && "data" in input ? input.data : input;
  while (Array.isArray(sample)) sample = sample[0];
  if (typeof sample === "string") return "string";
  if (typeof sample === "boolean") return "bool";
  return typeof sample === "bigint" ? "int64" : "float32";
}

function sameInputTypes(a: SignatureDescription | undefined, b: SignatureDescription | undefined): boolean {
  const types = (signature: SignatureDescription | undefined) =>
    JSON.stringify(Object.entries(signature?.inputs ?? {}).map(([name, { dtype }]) => [name, dtype]));
  return types(a) === types(b);
}
