import type { Cancellation } from "../cancellation.js";
import { classifyMethodName, regressMethodName, type Signature } from "../onnx/index.js";
import { invalidArgument, type StatusError } from "../status.js";
import { elementTypeInfo, formatShape, type Tensor } from "../tensor/index.js";
import { describeSignature } from "./describe-signature.js";
import type { ExampleInput } from "./example.js";
import {
  classesAlias,
  classifyKey,
  examplesAlias,
  regressionAlias,
  regressKey,
  scoresAlias,
} from "./example-signatures.js";
import { findSignature, missingModelSpec } from "./predict.js";
import { type ExamplesRun, figuresOf, type RunFigures, runExamples } from "./run-examples.js";
import type { ModelSpec, Servable, ServableId, ServableLender } from "./servable.js";

export interface ExampleRequest {
  /** undefined: the request had none, which is refused. */
  readonly modelSpec: ModelSpec | undefined;
  readonly input: ExampleInput;
  readonly onResolved?: (id: ServableId, signature: Signature) => void;
}

export interface ExampleOptions {
  /** Refuse signatures whose method is another. Default false, as TensorFlow Serving. */
  readonly enableSignatureMethodNameCheck?: boolean;
}

/** One answer for every example. */
export interface Classifications {
  readonly rows: number;
  readonly columns: number;
  /** Row by row; undefined where the model gives none. */
  readonly labels: readonly string[] | undefined;
  readonly scores: Float32Array | undefined;
}

/** What both methods answer beside their values. */
export interface ExampleResult<T> extends RunFigures {
  readonly servableId: ServableId;
  readonly signature: Signature;
  readonly value: T;
}

/** How one of the two methods uses a signature: the checks before the run, and those after it. */
export interface ExampleMethod<T> {
  readonly name: string;
  /** The signature that serves a request which names none, where serving_default cannot. */
  readonly key: string;
  /** The method in the words of an error. */
  readonly noun: string;
  /** @throws INVALID_ARGUMENT when the signature has not the form that the method takes */
  readonly requireForm: (signature: Signature) => void;
  /** @throws INVALID_ARGUMENT when the outputs are not what the method gives */
  readonly valueOf: (outputs: ReadonlyMap<string, Tensor>, rows: number) => T;
}

export const classifyMethod: ExampleMethod<Classifications> = {
  name: classifyMethodName,
  key: classifyKey,
  noun: "classification",
  requireForm: requireClassifier,
  valueOf: toClassifications,
};

export const regressMethod: ExampleMethod<Float32Array> = {
  name: regressMethodName,
  key: regressKey,
  noun: "regression",
  requireForm: requireRegressor,
  valueOf: toRegressions,
};

/**
 * Answers Classify on every door. A request that names no signature means serving_default, or, where that one is no
 * classifier, `classify`.
 *
 * Errors: those of ModelRepository.getServableHandle; INVALID_ARGUMENT in TensorFlow Serving's words for a signature that
 * there is not or that does not fit, for examples that do not fit the features, and for outputs that are no classes;
 * those of Session.run.
 */
export function classify(
  repository: ServableLender,
  request: ExampleRequest,
  cancellation: Cancellation,
  options: ExampleOptions = {},
): Promise<ExampleResult<Classifications>> {
  return runMethod(classifyMethod, repository, request, cancellation, options);
}

/** Answers Regress on every door, as classify does Classify: a number for every example. */
export function regress(
  repository: ServableLender,
  request: ExampleRequest,
  cancellation: Cancellation,
  options: ExampleOptions = {},
): Promise<ExampleResult<Float32Array>> {
  return runMethod(regressMethod, repository, request, cancellation, options);
}

async function runMethod<T>(
  method: ExampleMethod<T>,
  repository: ServableLender,
  { modelSpec, input, onResolved }: ExampleRequest,
  cancellation: Cancellation,
  options: ExampleOptions,
): Promise<ExampleResult<T>> {
  if (modelSpec === undefined) throw missingModelSpec();
  // Held until the run is over: an open handle is what keeps a version from being unloaded.
  const handle = repository.getServableHandle(modelSpec);
  try {
    const { servable } = handle;
    const signature = findExampleSignature(method, servable, modelSpec.signatureName, options);
    onResolved?.(servable.id, signature);
    requireFeatures(signature, servable);
    const run = await runExamples(servable, [signature], input, cancellation);
    return { servableId: servable.id, signature, value: valueOfRun(method, signature, run), ...figuresOf(run) };
  } finally {
    handle[Symbol.dispose]();
  }
}

export function valueOfRun<T>(method: ExampleMethod<T>, signature: Signature, run: ExamplesRun): T {
  return method.valueOf(run.outputsOf(signature), run.rows);
}

/**
 * The signature that a request means, found fit for the method.
 * @param key "" stands for serving_default, or for the method's own where only that one is fit
 */
export function findExampleSignature<T>(
  method: ExampleMethod<T>,
  servable: Servable,
  key: string,
  { enableSignatureMethodNameCheck = false }: ExampleOptions = {},
  notFound: (key: string) => StatusError = signatureNotFound,
): Signature {
  const check = (signature: Signature) => {
    if (enableSignatureMethodNameCheck && signature.methodName !== method.name) {
      throw invalidArgument(
        `Expected ${method.noun} signature method_name to be ${method.name}. Was: ${signature.methodName}`,
      );
    }
    method.requireForm(signature);
  };
  const own = key === "" ? servable.signatures.get(method.key) : undefined;
  if (own !== undefined && !isFit(servable, check)) {
    check(own);
    return own;
  }
  const signature = findSignature(servable, key, notFound);
  check(signature);
  return signature;
}

function isFit(servable: Servable, check: (signature: Signature) => void): boolean {
  try {
    const signature = findSignature(servable, "");
    check(signature);
    return signature.features !== undefined;
  } catch {
    return false;
  }
}

function signatureNotFound(key: string): StatusError {
  return invalidArgument(`No signature was found with the name: ${key}`);
}

/** A signature may have the method's form and yet feed the graph itself, which takes no serialized Examples. */
export function requireFeatures({ key, inputs, features }: Signature, servable: Servable): void {
  if (features !== undefined) return;
  const { dtype } = inputs.get(examplesAlias)!;
  const reason =
    dtype === "string"
      ? `signature "${key}" feeds its strings to the graph, which reads no tf.Examples`
      : `Expects arg[0] to be ${elementTypeInfo(dtype).tensorflowName} but string is provided`;
  throw invalidArgument(
    `${reason} (model ${servable.id.name}; signatures of the methods classify and regress take tf.Examples)`,
  );
}

function requireClassifier(signature: Signature): void {
  const { inputs, outputs } = signature;
  if (inputs.size !== 1) throw invalidArgument("Expected one input Tensor.");
  if (outputs.size !== 1 && outputs.size !== 2) {
    throw invalidArgument(`Expected one or two output Tensors, found ${outputs.size}`);
  }
  if (!inputs.has(examplesAlias)) {
    throw invalidArgument(`No classification inputs found in SignatureDef: ${describeSignature(signature)}`);
  }
  if (!outputs.has(classesAlias) && !outputs.has(scoresAlias)) {
    throw invalidArgument(
      'Expected classification signature outputs to contain at least one of "classes" or "scores". ' +
        `Signature was: ${describeSignature(signature)}`,
    );
  }
}

function requireRegressor(signature: Signature): void {
  const { inputs, outputs } = signature;
  if (inputs.size !== 1) throw invalidArgument("Expected one input Tensor.");
  if (outputs.size !== 1) throw invalidArgument("Expected one output Tensor.");
  if (!inputs.has(examplesAlias)) {
    throw invalidArgument(`No regression inputs found in SignatureDef: ${describeSignature(signature)}`);
  }
  if (!outputs.has(regressionAlias)) {
    throw invalidArgument(`No regression outputs found in SignatureDef: ${describeSignature(signature)}`);
  }
}

function toClassifications(outputs: ReadonlyMap<string, Tensor>, rows: number): Classifications {
  const classes = outputs.get(classesAlias);
  const scores = outputs.get(scoresAlias);
  if (classes !== undefined) requireMatrix(classesAlias, classes, "string", rows);
  if (scores !== undefined) requireMatrix(scoresAlias, scores, "float32", rows);
  const columns = (classes ?? scores)!.shape[1]!;
  if (classes !== undefined && scores !== undefined && scores.shape[1] !== columns) {
    throw invalidArgument(`Tensors class and score should match in dim_size(1). Got ${columns} vs. ${scores.shape[1]}`);
  }
  return {
    rows,
    columns,
    labels: classes?.data as readonly string[] | undefined,
    scores: scores?.data as Float32Array | undefined,
  };
}

function requireMatrix(alias: string, { shape, dtype }: Tensor, expected: "string" | "float32", rows: number): void {
  if (shape.length !== 2) {
    throw invalidArgument(`Expected Tensor shape: [batch_size num_classes] but got ${formatShape(shape)}`);
  }
  if (dtype !== expected) {
    throw invalidArgument(`Expected ${alias} Tensor of ${dataType(expected)}. Got: ${dataType(dtype)}`);
  }
  if (shape[0] !== rows) {
    throw invalidArgument(`Expected ${alias} output batch size of ${rows}. Got: ${shape[0]}`);
  }
}

function toRegressions(outputs: ReadonlyMap<string, Tensor>, rows: number): Float32Array {
  const { shape, dtype, data } = outputs.get(regressionAlias)!;
  if (shape.length !== 1 && !(shape.length === 2 && shape[1] === 1)) {
    throw invalidArgument(
      `Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got ${formatShape(shape)}`,
    );
  }
  if (shape[0] !== rows) {
    throw invalidArgument(`Input batch size did not match output batch size: ${rows} vs. ${shape[0]}`);
  }
  if (dtype !== "float32") {
    throw invalidArgument(`Expected output Tensor of DT_FLOAT.  Got: ${dataType(dtype)}`);
  }
  return data as Float32Array;
}

const dataType = (dtype: Tensor["dtype"]) => `DT_${elementTypeInfo(dtype).tensorflowName.toUpperCase()}`;
