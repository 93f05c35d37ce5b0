import { requireInteger, requireNumber, requireOneOf } from "../../options.js";

export const scheduleKinds = ["constant", "step", "exponential", "cosine", "linear", "plateau"] as const;
export type ScheduleKind = (typeof scheduleKinds)[number];

export interface ScheduleOptions {
  /** Default constant. */
  readonly kind: ScheduleKind;
  /** Steps over which the rate rises from near zero to where the schedule starts. Default 0. */
  readonly warmupSteps: number;
  /** step: the rate is multiplied by gamma every so many epochs. Default 10. */
  readonly everyEpochs: number;
  /** step, exponential (every epoch): the factor. Default 0.1 for step, 0.95 for exponential. */
  readonly gamma: number;
  /** cosine, linear: where the rate ends, as a share of where it began; plateau: how far it may fall. Default 0. */
  readonly finalShare: number;
  /** plateau: the factor, and the epochs without improvement it waits for. Default 0.1 and 5. */
  readonly factor: number;
  readonly patience: number;
}

export function validateScheduleOptions(given: Partial<ScheduleOptions>): ScheduleOptions {
  const kind = given.kind ?? "constant";
  requireOneOf("schedule", kind, scheduleKinds);
  const options: ScheduleOptions = {
    kind,
    warmupSteps: 0,
    everyEpochs: 10,
    gamma: kind === "step" ? 0.1 : 0.95,
    finalShare: 0,
    factor: 0.1,
    patience: 5,
    ...given,
  };
  requireInteger("warmup_steps", options.warmupSteps, { min: 0 });
  requireInteger("every_epochs", options.everyEpochs, { min: 1 });
  requireNumber("gamma", options.gamma, { above: 0, max: 1 });
  requireNumber("final_share", options.finalShare, { min: 0, max: 1 });
  requireNumber("factor", options.factor, { above: 0, below: 1 });
  requireInteger("patience", options.patience, { min: 0 });
  return Object.freeze(options);
}

/** How far training has come. */
export interface Progress {
  /** Steps and epochs completed. */
  readonly step: number;
  readonly epoch: number;
  readonly totalSteps: number;
  readonly plateau: PlateauState;
}

/** The factor on the base learning rate for the next step. */
export function learningRateFactor(options: ScheduleOptions, { step, epoch, totalSteps, plateau }: Progress): number {
  const { kind, warmupSteps, everyEpochs, gamma, finalShare } = options;
  if (step < warmupSteps) return (step + 1) / warmupSteps;
  switch (kind) {
    case "constant":
      return 1;
    case "step":
      return gamma ** Math.floor(epoch / everyEpochs);
    case "exponential":
      return gamma ** epoch;
    case "plateau":
      return plateau.factor;
    case "cosine":
    case "linear": {
      const done = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
      const left = kind === "linear" ? 1 - done : (1 + Math.cos(Math.PI * done)) / 2;
      return finalShare + (1 - finalShare) * left;
    }
  }
}

/** What a plateau schedule remembers; part of a checkpoint. */
export interface PlateauState {
  readonly factor: number;
  /** The least value seen; undefined before the first. */
  readonly best: number | undefined;
  readonly epochsSinceBest: number;
}
export const startOfPlateau: PlateauState = { factor: 1, best: undefined, epochsSinceBest: 0 };

/** After an epoch, given the watched value, of which less is better. */
export function observePlateau(options: ScheduleOptions, state: PlateauState, value: number): PlateauState {
  if (options.kind !== "plateau") return state;
  if (state.best === undefined || value < state.best) return { ...state, best: value, epochsSinceBest: 0 };
  const epochsSinceBest = state.epochsSinceBest + 1;
  if (epochsSinceBest <= options.patience) return { ...state, epochsSinceBest };
  return { ...state, factor: Math.max(options.finalShare, state.factor * options.factor), epochsSinceBest: 0 };
}
