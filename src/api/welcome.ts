import { defaultSignatureKey } from "../onnx/index.js";
import type { ModelStatus } from "../serving/index.js";
import { exampleRequests } from "./example-requests.js";

/** What a person reads at start: each model and its versions, or why it is not served, and a line to paste for each door. */
export function welcome(
  models: readonly ModelStatus[],
  { grpcPort, restPort }: { readonly grpcPort: number | undefined; readonly restPort: number | undefined },
): string[] {
  const lines = [models.length === 0 ? "No models are configured." : "Models:", ...models.map(describe)];
  const doors = { grpcTarget: `localhost:${grpcPort}`, restUrl: `http://localhost:${restPort}` };
  for (const { name, defaultVersion, versions } of models) {
    const loaded = versions.find(({ version }) => version === defaultVersion)?.loaded;
    const signature = loaded?.signatures.get(defaultSignatureKey);
    const example = signature === undefined ? undefined : exampleRequests(name, signature, doors);
    if (example === undefined) continue;
    if (grpcPort !== undefined) lines.push("", example.grpcurl);
    if (restPort !== undefined) lines.push("", example.curl);
    break;
  }
  return lines;
}

function describe({ name, versions, sourceError }: ModelStatus): string {
  const available = versions.filter(({ state }) => state === "AVAILABLE").map(({ version }) => version);
  if (available.length > 0) return `  ${name}: version ${available.join(", ")}`;
  const reason = versions.find(({ error }) => error !== undefined)?.error?.message ?? sourceError;
  return `  ${name}: not served${reason === "" ? " yet" : `: ${reason}`}`;
}
