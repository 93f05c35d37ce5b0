// Index, load and unload as clients of either door ask for them.
import type { Cancellation } from "../../cancellation.js";
import type { ModelRepository } from "../../serving/index.js";
import { invalidArgument, unavailable, unimplemented } from "../../status.js";
import { type ManagementPolicy, requireManagement } from "../auth/management.js";
import type { Peer } from "../grpc/service-table.js";
import type { ModelControl } from "./model-control.js";
import { type IndexEntry, repositoryIndex } from "./model-info.js";

export interface RepositoryCallsDeps {
  readonly repository: ModelRepository;
  /** undefined: models come and go by configuration and by polling alone. */
  readonly control: ModelControl | undefined;
  readonly management: ManagementPolicy;
}

export type RepositoryParameter = boolean | bigint | number | string | Uint8Array;

export class RepositoryCalls {
  readonly #deps: RepositoryCallsDeps;

  constructor(deps: RepositoryCallsDeps) {
    this.#deps = deps;
  }

  async index(repositoryName: string, onlyReady: boolean): Promise<readonly IndexEntry[]> {
    refuseRepositoryName(repositoryName);
    const { repository, control } = this.#deps;
    return repositoryIndex(repository, onlyReady, await control?.available());
  }

  async load(
    peer: Pick<Peer, "local">,
    repositoryName: string,
    modelName: string,
    parameters: ReadonlyMap<string, RepositoryParameter>,
    cancellation: Cancellation,
  ): Promise<void> {
    const [control, name] = this.#controlled(peer, "RepositoryModelLoad", repositoryName, modelName);
    let config: string | undefined;
    for (const [key, value] of parameters) {
      if (key === "config") {
        if (typeof value !== "string") throw invalidArgument("parameter 'config' must be a string of JSON");
        config = value;
      } else if (key.startsWith("file:")) {
        throw unimplemented(
          `parameter '${key}': model files cannot be sent with a load; put them into the model repository`,
        );
      } else {
        throw invalidArgument(`unrecognized parameter '${key}' for the load of model '${name}'`);
      }
    }
    await control.load(name, config, cancellation);
  }

  async unload(
    peer: Pick<Peer, "local">,
    repositoryName: string,
    modelName: string,
    parameters: ReadonlyMap<string, RepositoryParameter>,
  ): Promise<void> {
    const [control, name] = this.#controlled(peer, "RepositoryModelUnload", repositoryName, modelName);
    for (const [key, value] of parameters) {
      // Without ensembles no model depends on another: there is nothing that the answer could change.
      if (key !== "unload_dependents") {
        throw invalidArgument(`unrecognized parameter '${key}' for the unload of model '${name}'`);
      }
      if (typeof value !== "boolean") throw invalidArgument("parameter 'unload_dependents' must be a bool");
    }
    await control.unload(name);
  }

  #controlled(
    peer: Pick<Peer, "local">,
    call: string,
    repositoryName: string,
    modelName: string,
  ): readonly [ModelControl, string] {
    const { control, management } = this.#deps;
    requireManagement(management, peer, call);
    // KServe's clients put the model's name where Triton's put the repository's.
    const name = modelName === "" ? repositoryName : modelName;
    if (modelName !== "") refuseRepositoryName(repositoryName);
    if (control === undefined) {
      throw unavailable(
        "explicit model load / unload is not allowed if polling is enabled (start onnxd with --model_repository and " +
          "--model_control_mode=explicit)",
      );
    }
    if (name === "" || name.startsWith(".") || /[/\\\0]/.test(name)) {
      throw invalidArgument(`'${name}' is no name of a model: it must be the name of a directory`);
    }
    return [control, name];
  }
}

function refuseRepositoryName(name: string): void {
  if (name !== "") throw unimplemented("'repository_name' specification is not supported");
}
