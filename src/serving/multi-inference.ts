import type { Cancellation } from "../cancellation.js";
import type { Signature } from "../onnx/index.js";
import { invalidArgument, unimplemented } from "../status.js";
import {
  type Classifications,
  classifyMethod,
  type ExampleMethod,
  type ExampleOptions,
  findExampleSignature,
  regressMethod,
  requireFeatures,
  valueOfRun,
} from "./classify.js";
import type { ExampleInput } from "./example.js";
import { type ExamplesRun, haveSameFeatures, type RunFigures, runExamples } from "./run-examples.js";
import type { ModelSpec, Servable, ServableId, ServableLender } from "./servable.js";

export interface InferenceTask {
  /** undefined: the task had none. */
  readonly modelSpec: ModelSpec | undefined;
  readonly methodName: string;
}

export interface MultiInferenceRequest {
  readonly tasks: readonly InferenceTask[];
  readonly input: ExampleInput;
  readonly onResolved?: (id: ServableId) => void;
}

export type InferenceValue =
  | { readonly method: "classify"; readonly value: Classifications }
  | { readonly method: "regress"; readonly value: Float32Array };

export interface MultiInferenceResult extends RunFigures {
  readonly servableId: ServableId;
  /** One for each task, in their order. */
  readonly results: readonly (InferenceValue & { readonly signature: Signature })[];
}

/**
 * Answers MultiInference: several signatures of one version on the same examples, in one run where they have the same
 * features. The first task alone says which version. Any fault fails the whole call.
 *
 * Errors: those of getServableHandle; INVALID_ARGUMENT for tasks that do not go together; UNIMPLEMENTED for another
 * method than classify and regress; those of classify and regress.
 */
export async function multiInference(
  repository: ServableLender,
  { tasks, input, onResolved }: MultiInferenceRequest,
  cancellation: Cancellation,
  options: ExampleOptions = {},
): Promise<MultiInferenceResult> {
  const [first] = tasks;
  if (first?.modelSpec === undefined) throw invalidArgument("ModelSpec has no name specified.");
  const handle = repository.getServableHandle(first.modelSpec);
  try {
    const { servable } = handle;
    onResolved?.(servable.id);
    const planned = planTasks(tasks, first.modelSpec.name, servable, options);
    const groups = groupByFeatures(planned.map(({ signature }) => signature));
    const runs = new Map<Signature, ExamplesRun>();
    const figures = { queueMs: 0, computeMs: 0, batchSize: 0, rows: input.examples.count };
    for (const signatures of groups) {
      const run = await runExamples(servable, signatures, input, cancellation);
      for (const signature of signatures) runs.set(signature, run);
      figures.queueMs += run.queueMs;
      figures.computeMs += run.computeMs;
      figures.batchSize = Math.max(figures.batchSize, run.batchSize);
    }
    const results = planned.map(({ signature, finish }) => ({ signature, ...finish(runs.get(signature)!) }));
    return { servableId: servable.id, results, ...figures };
  } finally {
    handle[Symbol.dispose]();
  }
}

interface PlannedTask {
  readonly signature: Signature;
  readonly finish: (run: ExamplesRun) => InferenceValue;
}

function planTasks(
  tasks: readonly InferenceTask[],
  model: string,
  servable: Servable,
  options: ExampleOptions,
): PlannedTask[] {
  const seen = new Set<string>();
  return tasks.map(({ modelSpec, methodName }) => {
    if (modelSpec === undefined || modelSpec.name === "") {
      throw invalidArgument("Found ModelSpec with an empty model name.");
    }
    if (modelSpec.name !== model) {
      throw invalidArgument("All ModelSpecs in a MultiInferenceRequest must access the same model name.");
    }
    const { signatureName } = modelSpec;
    const notFound = (key: string) => invalidArgument(`Requested signature not found in model graph: ${key}`);
    const plan = <T>(method: ExampleMethod<T>) => {
      const signature = findExampleSignature(method, servable, signatureName, options, notFound);
      requireFeatures(signature, servable);
      return signature;
    };
    // Duplicates and missing signatures come before the method, as in TensorFlow Serving.
    const asked = signatureName === "" ? defaultKeyFor(methodName, servable, options) : signatureName;
    if (seen.has(asked)) throw invalidArgument(`Duplicate evaluation of signature: ${asked}`);
    seen.add(asked);
    if (!servable.signatures.has(asked)) throw notFound(asked);
    switch (methodName) {
      case classifyMethod.name: {
        const signature = plan(classifyMethod);
        return {
          signature,
          finish: (run) => ({ method: "classify", value: valueOfRun(classifyMethod, signature, run) }),
        };
      }
      case regressMethod.name: {
        const signature = plan(regressMethod);
        return {
          signature,
          finish: (run) => ({ method: "regress", value: valueOfRun(regressMethod, signature, run) }),
        };
      }
      default:
        throw unimplemented(`Unsupported signature method_name: ${methodName}`);
    }
  });
}

/** The key that a task means which names none: what finding its signature comes to, or serving_default. */
function defaultKeyFor(methodName: string, servable: Servable, options: ExampleOptions): string {
  const fit = (method: ExampleMethod<unknown>) => {
    try {
      return findExampleSignature(method, servable, "", options).key;
    } catch {
      return "serving_default";
    }
  };
  if (methodName === classifyMethod.name) return fit(classifyMethod);
  return methodName === regressMethod.name ? fit(regressMethod) : "serving_default";
}

function groupByFeatures(signatures: readonly Signature[]): [Signature, ...Signature[]][] {
  const groups: [Signature, ...Signature[]][] = [];
  for (const signature of signatures) {
    const group = groups.find(([first]) => haveSameFeatures(first, signature));
    if (group === undefined) groups.push([signature]);
    else group.push(signature);
  }
  return groups;
}
