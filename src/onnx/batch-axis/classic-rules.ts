// Operators of ai.onnx.ml, the classic machine learning of scikit-learn and its kin: a row of features in, a row out.
import { batch, fixed, laidOut, productSize, type Size } from "./layout.js";
import type { Operation, Rule } from "./operation.js";

/** Rows by features. A value of one axis would be taken for one row. */
function rows(operation: Operation): readonly Size[] | undefined {
  const { axis, shape } = operation.input(0);
  if (axis !== undefined && (axis !== 0 || shape!.length !== 2)) operation.refuse("takes its rows another way");
  return shape;
}

const classifier: Rule = (operation) => {
  const shape = rows(operation);
  if (shape?.[0] !== batch) return [fixed(undefined), fixed(undefined)];
  return [laidOut(operation, [batch]), laidOut(operation, [batch, undefined])];
};

/** One column for each target, which the attribute counts. */
const regressor =
  (targets: string): Rule =>
  (operation) => {
    const shape = rows(operation);
    return [shape?.[0] === batch ? laidOut(operation, [batch, operation.int(targets, 1)]) : fixed(undefined)];
  };

const sameShape: Rule = (operation) => {
  const shape = rows(operation);
  return [shape === undefined ? fixed(undefined) : laidOut(operation, shape)];
};

const elementwise: Rule = (operation) => {
  const { axis, shape } = operation.input(0);
  return [{ ...fixed(shape), axis }];
};

/** A new last axis, one place for each category. */
const oneHotEncoder: Rule = (operation) => {
  const { shape } = operation.input(0);
  const { ints = [], strings = [] } = operation.attribute("cats_int64s") ?? operation.attribute("cats_strings") ?? {};
  const categories = ints.length + strings.length;
  return [shape === undefined ? fixed(undefined) : laidOut(operation, [...shape, categories])];
};

const featureVectorizer: Rule = (operation) => {
  const { inputs } = operation;
  if (inputs.every(({ axis }) => axis === undefined)) return [fixed(undefined)];
  if (inputs.some(({ axis, shape }) => axis !== 0 || shape!.length !== 2))
    operation.refuse("takes its rows another way");
  return [laidOut(operation, [batch, undefined])];
};

/** Picks along the last axis. */
const arrayFeatureExtractor: Rule = (operation) => {
  operation.requireFixed(1);
  const { axis, shape } = operation.input(0);
  if (shape === undefined || shape.length < 2) {
    if (axis !== undefined) operation.refuse("picks along the batch axis");
    return [fixed(undefined)];
  }
  if (axis === shape.length - 1) operation.refuse("picks along the batch axis");
  const { shape: picked } = operation.input(1);
  return [laidOut(operation, shape.with(-1, picked === undefined ? undefined : productSize(picked)))];
};

export const classicRules: Readonly<Record<string, Rule>> = {
  LinearClassifier: classifier,
  SVMClassifier: classifier,
  TreeEnsembleClassifier: classifier,
  LinearRegressor: regressor("targets"),
  // It has one target and no attribute to count them.
  SVMRegressor: regressor("n_targets"),
  TreeEnsembleRegressor: regressor("n_targets"),
  TreeEnsemble: regressor("n_targets"),
  Normalizer: sameShape,
  Scaler: sameShape,
  Imputer: sameShape,
  Binarizer: elementwise,
  LabelEncoder: elementwise,
  CategoryMapper: elementwise,
  OneHotEncoder: oneHotEncoder,
  FeatureVectorizer: featureVectorizer,
  ArrayFeatureExtractor: arrayFeatureExtractor,
};
