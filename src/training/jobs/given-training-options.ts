import type { GivenTrainingOptions } from "../training-options.js";
import type { TrainingSpec } from "./job-spec.js";

/** What a client gives of the options; class weights by label and the validation split are looked at elsewhere. */
export function givenTrainingOptions(spec: TrainingSpec): GivenTrainingOptions {
  const { loss, optimizer, schedule, earlyStopping } = spec;
  const { epochs, batchSize, maxSteps, shuffle, seed, topK, threshold } = spec;
  return {
    ...known({ epochs, batchSize, maxSteps, shuffle, seed, topK, threshold }),
    ...(loss !== undefined && { loss: known(loss) }),
    optimizer: known(optimizer),
    schedule: known(schedule),
    ...(earlyStopping !== undefined && { earlyStopping: known(earlyStopping) }),
  };
}

type Known<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> };

/** Without what is undefined, which would stand in the place of a default. */
function known<T extends object>(given: T): Known<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Known<T>;
}
