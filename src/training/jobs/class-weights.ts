import { invalidArgument } from "../../status.js";

/** By class number. */
export type ClassWeights = ReadonlyMap<number, number>;

/**
 * Weights by label as weights by class number; without labels, the labels are the numbers.
 * Throws INVALID_ARGUMENT naming a label that there is not.
 */
export function classWeightsOf(
  given: Readonly<Record<string, number>>,
  labels: readonly string[] | undefined,
): ClassWeights {
  return new Map(
    Object.entries(given).map(([label, weight]) => {
      const number = labels === undefined ? classNumber(label) : labels.indexOf(label);
      if (number < 0) {
        const known = labels === undefined ? "classes are numbers from 0 on" : `the labels are ${listed(labels)}`;
        throw invalidArgument(`class_weights: there is no class "${label}"; ${known}`);
      }
      return [number, weight];
    }),
  );
}

const classNumber = (label: string): number => (/^\d{1,9}$/.test(label) ? Number(label) : -1);

const listed = (labels: readonly string[]): string =>
  labels.length > 10 ? `${labels.slice(0, 9).join(", ")} and ${labels.length - 9} more` : labels.join(", ");
