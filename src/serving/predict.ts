import type { Cancellation } from "../cancellation.js";
import {
  classifyMethodName,
  defaultSignatureKey,
  predictMethodName,
  regressMethodName,
  type Signature,
} from "../onnx/index.js";
import { type RunResult, startRun } from "../runtime/index.js";
import { Code, failedPrecondition, internal, invalidArgument, StatusError, unknown } from "../status.js";
import { type ElementType, isNumeric, NamedValues, type RawTensor, type Shape, type Tensor } from "../tensor/index.js";
import { promiseOf, tell, type Waiter } from "../waiter.js";
import {
  type BoundOutput,
  type BoundSignature,
  bindSignature,
  checkValues,
  emptyTensor,
  matchInputs,
  selectOutputs,
  unreadableTensor,
} from "./bound-signature.js";
import type { ExampleList } from "./example.js";
import { figuresOf, runExamples } from "./run-examples.js";
import type { ModelSpec, Servable, ServableHandle, ServableId, ServableLender } from "./servable.js";

/**
 * A tensor as a door received it: type and shape are known, nothing has been allocated. Its type and shape are compared
 * with the signature first; only then is it decoded.
 */
export interface TensorSource {
  /** Why it cannot be a tensor ("tensor_content holds 3 bytes; float [1] takes 4"); undefined when it can. */
  readonly invalid: string | undefined;
  /** Meaningless when invalid. */
  readonly dtype: ElementType;
  readonly shape: Shape;
  /** The elements of a list of strings as serialized tf.Examples; a door that cannot tell bytes from text has none. */
  examples?(): ExampleList;
  /** Allocates. May throw INVALID_ARGUMENT where only reading every element shows a fault (strings, bool bytes). */
  decode(): Tensor;
  /** As decode(), where the copy can be put off until it is known where to; undefined: it cannot. */
  decodeLate?(): RawTensor | undefined;
}

/** What one signature is run on. */
export interface SignatureCall {
  /**
   * The inputs by alias. Called once the signature is known, since JSON has no types of its own. Throws a StatusError
   * in the door's own words when the request does not fit the signature.
   */
  readonly inputs: (signature: Signature) => ReadonlyMap<string, TensorSource>;
  /** Output aliases; empty asks for all. */
  readonly outputFilter: readonly string[];
}

export interface PredictRequest extends SignatureCall {
  /** undefined: the request had none, which is refused. */
  readonly modelSpec: ModelSpec | undefined;
  /** Told which version and signature will answer, as soon as it is known: for the access line of a call that fails. */
  readonly onResolved?: (id: ServableId, signature: Signature) => void;
}

export interface PredictResponse {
  readonly servableId: ServableId;
  readonly signature: Signature;
  /** By alias, in the signature's order. */
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/** A response, and what running it took; see RunResult for the figures. */
export interface PredictResult extends PredictResponse {
  readonly queueMs: number;
  readonly computeMs: number;
  readonly batchSize: number;
  /** Rows of this call's own; 1 where the model has no batch dimension. */
  readonly rows: number;
}

export interface PredictOptions {
  /** Refuse signatures whose method is none of predict, classify, regress. Default false, as TensorFlow Serving. */
  readonly enableSignatureMethodNameCheck?: boolean;
  /**
   * Whoever waits has read the outputs when its resolve() returns: their memory is used again then. Counts for
   * startPredict(): a promise's answer is read later. Default false.
   */
  readonly outputsAreBorrowed?: boolean;
  /** How a door words that there is no such signature. Default: gRPC's FAILED_PRECONDITION. */
  readonly signatureNotFound?: (key: string) => StatusError;
}

/**
 * Runs one signature of one servable. Every door (gRPC, REST, Open Inference) ends up here. The checks come in TensorFlow
 * Serving's order and words, and all of them before anything is allocated for the tensors.
 *
 * Errors: those of ModelRepository.getServableHandle; FAILED_PRECONDITION for an unknown signature; INVALID_ARGUMENT for
 * inputs and outputs that do not fit it; those of Session.run.
 */
export function predict(
  repository: ServableLender,
  request: PredictRequest,
  cancellation: Cancellation,
  options: PredictOptions = {},
): Promise<PredictResult> {
  const own = { ...options, outputsAreBorrowed: false };
  return promiseOf((waiter) => startPredict(repository, request, cancellation, own, waiter));
}

/** As predict(), without a promise. */
export function startPredict(
  repository: ServableLender,
  request: PredictRequest,
  cancellation: Cancellation,
  options: PredictOptions,
  waiter: Waiter<PredictResult>,
): void {
  let handle: ServableHandle | undefined;
  try {
    const { modelSpec } = request;
    if (modelSpec === undefined) throw missingModelSpec();
    handle = repository.getServableHandle(modelSpec);
    const { servable } = handle;
    const signature = findSignature(servable, modelSpec.signatureName, options.signatureNotFound);
    if (options.enableSignatureMethodNameCheck === true) checkMethodName(signature);
    request.onResolved?.(servable.id, signature);
    const { outputsAreBorrowed = false } = options;
    startSignature(servable, signature, request, cancellation, outputsAreBorrowed, handle, waiter);
  } catch (error) {
    handle?.[Symbol.dispose]();
    waiter.reject(error);
  }
}

/** What every call that names a model answers when it names none. */
export function missingModelSpec(): StatusError {
  return invalidArgument("Missing ModelSpec");
}

/**
 * @param key "" stands for serving_default
 * @param notFound how the caller's protocol words it; default: Predict's FAILED_PRECONDITION
 */
export function findSignature(
  servable: Servable,
  key: string,
  notFound: (key: string) => StatusError = signatureNotFound,
): Signature {
  const resolved = key === "" ? defaultSignatureKey : key;
  const signature = servable.signatures.get(resolved);
  if (signature === undefined) throw notFound(resolved);
  return signature;
}

function signatureNotFound(key: string): StatusError {
  return failedPrecondition(`Serving signature key "${key}" not found.`);
}

const predictableMethodNames = [predictMethodName, classifyMethodName, regressMethodName];

/** @throws INTERNAL in TensorFlow Serving's words when the signature's method is none that can be predicted with */
export function checkMethodName({ methodName }: Signature): void {
  if (!predictableMethodNames.includes(methodName)) {
    throw internal(
      `Expected prediction signature method_name to be one of {${predictableMethodNames.join(", ")}}. Was: ${methodName}`,
    );
  }
}

/**
 * The lower half of predict, for callers that hold a servable and know its signature: binds the inputs, runs, names the
 * outputs. The caller keeps the servable's handle open until this settles.
 */
export function runSignature(
  servable: Servable,
  signature: Signature,
  call: SignatureCall,
  cancellation: Cancellation,
): Promise<PredictResult> {
  return promiseOf((waiter) => startSignature(servable, signature, call, cancellation, false, undefined, waiter));
}

/**
 * As runSignature(), without a promise; throws what it finds wrong before the run.
 * @param handle given back when the run is over: an open handle is what keeps a version from being unloaded
 */
function startSignature(
  servable: Servable,
  signature: Signature,
  call: SignatureCall,
  cancellation: Cancellation,
  outputsAreBorrowed: boolean,
  handle: ServableHandle | undefined,
  waiter: Waiter<PredictResult>,
): void {
  const binding = bindSignature(signature);
  const sources = matchInputs(binding, call.inputs(signature));
  const outputs = selectOutputs(binding, call.outputFilter);
  const { inputs } = binding;
  checkValues(
    binding,
    binding.hasDefaults ? sources.map((source, i) => source ?? inputs[i]!.defaultValue!) : (sources as TensorSource[]),
    servable.id.name,
  );
  if (signature.features !== undefined) {
    const run = runOnExamples(servable, signature, sources[0]!, outputs, cancellation);
    tell(
      run.finally(() => handle?.[Symbol.dispose]()),
      waiter,
    );
    return;
  }
  const { refusesEmptyTensors } = servable.description;
  const tensors = new Array<Tensor>(inputs.length);
  for (let i = 0; i < inputs.length; i++) {
    const { alias, defaultValue } = inputs[i]!;
    const source = sources[i];
    const { shape } = source ?? defaultValue!;
    if (refusesEmptyTensors !== undefined && shape.includes(0)) {
      throw emptyTensor(servable.id.name, alias, shape, refusesEmptyTensors);
    }
    tensors[i] = source === undefined ? copyOf(defaultValue!) : decode(alias, source);
  }
  const all = outputs === binding.outputs;
  const fetches = all ? binding.fetches : [...new Set(outputs.map(({ name }) => name))];
  const rows = servable.description.batching.provenSafe ? (tensors[0]?.shape[0] ?? 1) : 1;
  startRun(
    servable.session,
    new NamedValues(binding.feeds, tensors),
    fetches,
    { cancellation, feedsMayBeTaken: true, outputsAreBorrowed },
    new SignatureRun(servable, signature, binding, outputs, rows, handle, waiter),
  );
}

/** A run of a signature that has begun: it names the outputs. */
class SignatureRun implements Waiter<RunResult> {
  readonly #servable: Servable;
  readonly #signature: Signature;
  readonly #binding: BoundSignature;
  readonly #outputs: readonly BoundOutput[];
  readonly #rows: number;
  readonly #handle: ServableHandle | undefined;
  readonly #waiter: Waiter<PredictResult>;

  constructor(
    servable: Servable,
    signature: Signature,
    binding: BoundSignature,
    outputs: readonly BoundOutput[],
    rows: number,
    handle: ServableHandle | undefined,
    waiter: Waiter<PredictResult>,
  ) {
    this.#servable = servable;
    this.#signature = signature;
    this.#binding = binding;
    this.#outputs = outputs;
    this.#rows = rows;
    this.#handle = handle;
    this.#waiter = waiter;
  }

  resolve({ outputs: fetched, queueMs, computeMs, batchSize }: RunResult): void {
    const outputs = this.#byAlias(fetched);
    if (outputs === undefined) {
      this.reject(unknown("Predict internal error"));
      return;
    }
    this.#handle?.[Symbol.dispose]();
    this.#waiter.resolve({
      servableId: this.#servable.id,
      signature: this.#signature,
      outputs,
      queueMs,
      computeMs,
      batchSize,
      rows: this.#rows,
    });
  }

  reject(error: unknown): void {
    this.#handle?.[Symbol.dispose]();
    this.#waiter.reject(error);
  }

  /** undefined: one is missing. */
  #byAlias(fetched: ReadonlyMap<string, Tensor>): NamedValues<Tensor> | undefined {
    const { outputs, outputAliases, fetches, fetchesAreOutputs } = this.#binding;
    const all = this.#outputs === outputs;
    if (all && fetchesAreOutputs && fetched instanceof NamedValues && fetched.names === fetches) {
      return new NamedValues(outputAliases, fetched.items as readonly Tensor[]);
    }
    const tensors: Tensor[] = [];
    for (const { name } of this.#outputs) {
      const tensor = fetched.get(name);
      if (tensor === undefined) return undefined;
      tensors.push(tensor);
    }
    return new NamedValues(all ? outputAliases : this.#outputs.map(({ alias }) => alias), tensors);
  }
}

/** A signature that takes tf.Examples, called with a tensor of them. */
async function runOnExamples(
  servable: Servable,
  signature: Signature,
  source: TensorSource,
  wanted: readonly BoundOutput[],
  cancellation: Cancellation,
): Promise<PredictResult> {
  const examples = source.examples?.();
  if (examples === undefined) {
    throw invalidArgument(
      `signature "${signature.key}" of model ${servable.id.name} takes serialized tf.Examples, which are bytes, and text ` +
        "cannot carry them here; use Classify or Regress, or Predict over TensorFlow Serving's gRPC",
    );
  }
  const aliases = new Set(wanted.map(({ alias }) => alias));
  const run = await runExamples(servable, [signature], { examples }, cancellation, aliases);
  return { servableId: servable.id, signature, outputs: run.outputsOf(signature), ...figuresOf(run) };
}

function decode(alias: string, source: TensorSource): Tensor {
  try {
    return source.decodeLate?.() ?? source.decode();
  } catch (error) {
    if (error instanceof StatusError && error.code === Code.INVALID_ARGUMENT) {
      throw unreadableTensor(alias, error.message);
    }
    throw error;
  }
}

/** A run may hand its feeds' memory to another thread for good, so a default value is never fed itself. */
function copyOf(tensor: Tensor): Tensor {
  return isNumeric(tensor) ? { ...tensor, data: tensor.data.slice() } : tensor;
}
