import type { Cancellation } from "../../cancellation.js";
import type { Clock } from "../../clock.js";
import { resourceExhausted, StatusError, unavailable } from "../../status.js";
import type { EvaluateTask, LastMessage, PlanTask } from "./process-messages.js";
import { TrainingProcess } from "./training-process.js";

/** Evaluations and dry runs that have a process at the same time. */
const maxSideTasks = 2;

interface Outcomes {
  readonly evaluate: Extract<LastMessage, { readonly kind: "report" }>;
  readonly plan: Extract<LastMessage, { readonly kind: "planned" }>;
}

/** What has a process as training has, and is no job: somebody waits for its answer. */
export class SideTasks {
  readonly #processes = new Set<TrainingProcess>();
  readonly #clock: Clock;
  readonly #closing: Cancellation;

  /** @param closing set once there are to be no more */
  constructor(clock: Clock, closing: Cancellation) {
    this.#clock = clock;
    this.#closing = closing;
  }

  /** Errors: RESOURCE_EXHAUSTED when there are enough; the task's own; the reason of whichever cancellation fires. */
  async run<T extends EvaluateTask | PlanTask>(task: T, cancellation: Cancellation): Promise<Outcomes[T["kind"]]> {
    if (this.#processes.size >= maxSideTasks) {
      throw resourceExhausted(`${maxSideTasks} evaluations and dry runs are under way; try again when one has ended`);
    }
    if (this.#closing.reason !== undefined) throw this.#closing.reason;
    const process = new TrainingProcess(task, { clock: this.#clock });
    this.#processes.add(process);
    const undo = cancellation.onCancel(() => process.kill());
    try {
      const last = await process.ended;
      if (cancellation.reason !== undefined) throw cancellation.reason;
      if (last.kind === "failed") throw new StatusError(last.code, last.message);
      if (last.kind === "stopped") throw unavailable("the server is closing");
      return last as Outcomes[T["kind"]];
    } finally {
      undo();
      this.#processes.delete(process);
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#processes].map((process) => process.stop()));
  }
}
