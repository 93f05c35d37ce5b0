import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import type { Cancellation } from "./cancellation.js";
import { type Answers, type ConnectionTaker, ProcessChannel, ProcessEnded } from "./processes/index.js";
import type { Door } from "./server.js";
import type { ReplicaLink, ReplicaLoad, ReplicaLoaded, ReplicaNews } from "./serving/index.js";
import type { ChargeOffer, ServingProcessOffer, ServingProcessStart } from "./serving-process-offers.js";
import type { Logger, MetricsSnapshot } from "./telemetry/index.js";

/** One serving process as the process in charge sees it, from its start to its end. */
export class ServingProcessLink implements ReplicaLink, ConnectionTaker<Door> {
  readonly name: string;
  readonly #channel: ProcessChannel<ServingProcessOffer, ChargeOffer>;
  readonly #child: ChildProcess;
  #figures: MetricsSnapshot | undefined;
  #asked = 0;
  #silentRounds = 0;

  constructor(
    name: string,
    child: ChildProcess,
    answers: (link: ServingProcessLink) => Answers<ChargeOffer>,
    { logger, onEnd }: { readonly logger: Logger; readonly onEnd: (link: ServingProcessLink) => void },
  ) {
    this.name = name;
    this.#child = child;
    this.#channel = new ProcessChannel(child, answers(this), {
      peerName: name,
      logger,
      onClosed: () => onEnd(this),
    });
  }

  open(start: ServingProcessStart): Promise<void> {
    return this.#channel.call("open", start);
  }

  load(load: ReplicaLoad, cancellation: Cancellation): Promise<ReplicaLoaded> {
    return this.#channel.call("load", load, cancellation);
  }

  activate(key: number): Promise<void> {
    return this.#channel.call("activate", key);
  }

  unload(key: number): Promise<void> {
    return this.#channel.call("unload", key);
  }

  tell(news: ReplicaNews): void {
    this.#channel.notify("hear", news);
  }

  caughtUp(): Promise<void> {
    return this.#channel.call("caughtUp", undefined);
  }

  isEnd(error: unknown): boolean {
    return error instanceof ProcessEnded;
  }

  take(socket: Socket, door: Door): void {
    this.#channel.notify("connect", door, socket);
  }

  drain(): void {
    this.#channel.notify("drain", undefined);
  }

  close(): void {
    this.#channel.notify("close", undefined);
  }

  /** What it had counted when it was last asked; undefined: it never was. */
  get lastFigures(): MetricsSnapshot | undefined {
    return this.#figures;
  }

  /** What it has counted so far. Rejects when it has ended. */
  async figures(withLag: boolean): Promise<MetricsSnapshot> {
    this.#asked += 1;
    try {
      const figures = await this.#channel.call("figures", { withLag });
      this.#figures = figures;
      return figures;
    } finally {
      this.#asked -= 1;
      this.#silentRounds = 0;
    }
  }

  /** Counts rounds of asking, not time: when the whole machine sleeps, nobody is silent. @returns how many in a row */
  countSilence(): number {
    this.#silentRounds = this.#asked > 0 ? this.#silentRounds + 1 : 0;
    return this.#silentRounds;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
