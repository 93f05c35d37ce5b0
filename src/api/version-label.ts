// A response's model_spec has the version that answered, and no room for the label that a request asked by: the two are
// one choice there (tensorflow/serving's model.proto), and clients read the version. So the label goes back beside it.

/** Response header of calls that chose a version by its label: that label. */
export const versionLabelHeader = "onnxd-version-label";
/** With it, where the answer itself does not name the version: over REST. */
export const modelVersionHeader = "onnxd-model-version";

/** The label as a header can carry it; undefined where there is none, or it is not of printable ASCII. */
export function echoedLabel(label: string | undefined): string | undefined {
  return label !== undefined && /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(label) ? label : undefined;
}
