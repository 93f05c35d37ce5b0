import type { FastifyInstance } from "fastify";
import type { ModelRepository } from "../../serving/index.js";
import type { ServingSwitch } from "../grpc/serving-switch.js";

export interface OperationRoutesDeps {
  readonly repository: ModelRepository;
  readonly servingSwitch: ServingSwitch;
  /** The page of all metrics, in Prometheus' text format. */
  readonly metricsPage: () => string | Promise<string>;
  /** Where the page is served. */
  readonly metricsPaths: readonly string[];
}

/** What those who run the server ask: is it alive, may it get traffic, how is it doing. */
export function addOperationRoutes(app: FastifyInstance, deps: OperationRoutesDeps): void {
  // Answered by the thread that serves everything else: when this is slow, so is all of it.
  app.get("/healthz", (_request, reply) => reply.send({ status: "alive" }));

  app.get("/readyz", (_request, reply) => {
    const reason = whyNotReady(deps);
    return reason === undefined
      ? reply.send({ status: "ready" })
      : reply.code(503).send({ status: "not ready", reason });
  });

  for (const path of new Set(deps.metricsPaths)) {
    app.get(path, async (_request, reply) => {
      const page = await deps.metricsPage();
      return reply.type("text/plain; version=0.0.4; charset=utf-8").send(page);
    });
  }
}

function whyNotReady({ repository, servingSwitch }: OperationRoutesDeps): string | undefined {
  if (servingSwitch.state !== "serving") return "the server is shutting down";
  if (repository.settled()) return undefined;
  return "not every model has been loaded yet";
}
