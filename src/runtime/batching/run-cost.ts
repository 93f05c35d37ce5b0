/** Weight of the newest run in the averages, when it was dearer and when it was cheaper. */
const dearer = 0.1;
const cheaper = 0.3;
/** Of so many runs the cheapest is believed: what a busy machine, or a first run's cold caches, did to the others. */
const enoughRuns = 3;

/**
 * What a model's runs cost by their rows: what the smallest run seen takes, and what each row beyond takes. Taking a run's
 * time for the sum of its rows' would make large batches of small models seem far too dear: most of it is the run itself.
 */
export class RunCost {
  #rows = 0;
  #ms = 0;
  #rowMs = 0;
  /** Runs of as many rows as the smallest, and of more. */
  #smallestRuns = 0;
  #largerRuns = 0;

  /** A run of so many rows took so long. */
  learn(rows: number, ms: number): void {
    const [smallestRows, smallestMs] = [this.#rows, this.#ms];
    if (smallestRows === 0 || rows < smallestRows) {
      // Until larger runs show better, each row costs as much as those of the smallest.
      this.#rowMs ||= ms / rows;
      this.#rows = rows;
      this.#ms = ms;
      this.#smallestRuns = 1;
      if (smallestRows > 0) this.#learnLarger(smallestRows, smallestMs);
    } else if (rows === smallestRows) {
      this.#smallestRuns += 1;
      this.#ms =
        this.#smallestRuns <= enoughRuns
          ? Math.min(smallestMs, ms)
          : averaged(smallestMs, Math.min(ms, 2 * smallestMs));
      if (this.#largerRuns === 0) this.#rowMs = this.#ms / rows;
    } else {
      // Fewer rows cannot have cost more.
      this.#ms = Math.min(smallestMs, ms);
      this.#learnLarger(rows, ms);
    }
  }

  #learnLarger(rows: number, ms: number): void {
    const rowMs = Math.max(0, (ms - this.#ms) / (rows - this.#rows));
    this.#largerRuns += 1;
    this.#rowMs =
      this.#largerRuns <= enoughRuns
        ? Math.min(this.#rowMs, rowMs)
        : // A run during which this thread was kept from running says nothing of the model.
          averaged(this.#rowMs, Math.min(rowMs, 2 * this.#rowMs + this.#ms / this.#rows));
  }

  /** undefined: nothing has run yet. What is not known is rather too high. */
  expectedMs(rows: number): number | undefined {
    return this.#rows === 0 ? undefined : this.#ms + this.#rowMs * Math.max(0, rows - this.#rows);
  }

  /** Nothing is known but, maybe, what a first run or two took, which says little. */
  get isUnknown(): boolean {
    return this.#smallestRuns < enoughRuns && this.#largerRuns < enoughRuns;
  }

  /** Whether enough runs have shown what so many rows take. */
  isKnown(rows: number): boolean {
    const runs = rows < this.#rows ? 0 : rows === this.#rows ? this.#smallestRuns : this.#largerRuns;
    return runs >= enoughRuns;
  }

  /**
   * The most rows whose run is expected to take no longer, but at least twice the smallest: only runs of more rows show
   * what a row costs, and one that was taken for dear would otherwise stay so for ever.
   */
  rowsWithin(ms: number): number {
    if (this.#rows === 0) return Number.POSITIVE_INFINITY;
    const beyond = (ms - this.#ms) / this.#rowMs;
    return Math.max(2 * this.#rows, Math.floor(this.#rows + (this.#rowMs === 0 ? Number.POSITIVE_INFINITY : beyond)));
  }
}

function averaged(average: number, value: number): number {
  return average + (value > average ? dearer : cheaper) * (value - average);
}
