// The vocabulary of layer lists. Shapes are those of one row: images are [channels, height, width], signals [channels,
// length], sequences [steps, features].

export const activationNames = [
  "linear",
  "relu",
  "leaky_relu",
  "elu",
  "selu",
  "gelu",
  "sigmoid",
  "tanh",
  "softplus",
  "softsign",
  "swish",
  "hard_sigmoid",
  "hard_swish",
  "mish",
  "softmax",
  "log_softmax",
] as const;
export type ActivationName = (typeof activationNames)[number];

export const initializerNames = [
  "glorot_uniform",
  "glorot_normal",
  "he_uniform",
  "he_normal",
  "lecun_normal",
  "zeros",
] as const;
export type InitializerName = (typeof initializerNames)[number];

/** How a layer with weights starts: he_normal before relu and its kin, lecun_normal before selu, else glorot_uniform. */
interface Weighted {
  readonly initializer?: InitializerName;
  /** Default true. */
  readonly bias?: boolean;
  readonly activation?: ActivationName;
}

/** One size for all axes, or one an axis. */
export type Sizes = number | readonly number[];

export interface DenseSpec extends Weighted {
  readonly type: "dense";
  readonly units: number;
}

export interface ConvolutionSpec extends Weighted {
  readonly type: "conv1d" | "conv2d";
  readonly filters: number;
  readonly kernel: Sizes;
  /** Default 1. */
  readonly stride?: Sizes;
  readonly dilation?: Sizes;
  readonly groups?: number;
  /** valid (the default): none; same: so that stride 1 keeps the size; or so many zeros on either side. */
  readonly padding?: "valid" | "same" | Sizes;
}

export interface PoolingSpec {
  readonly type: "max_pool" | "avg_pool";
  readonly size: Sizes;
  /** Default: the size. */
  readonly stride?: Sizes;
  readonly padding?: "valid" | "same" | Sizes;
}

export interface RecurrentSpec {
  readonly type: "rnn" | "gru" | "lstm";
  readonly units: number;
  /** Whether to give the output of every step, [steps, units], instead of the last one's. Default false. */
  readonly returnSequences?: boolean;
  /** Both directions, side by side: twice the units. Default false. */
  readonly bidirectional?: boolean;
}

export interface AttentionSpec {
  readonly type: "attention";
  readonly heads: number;
  /** Size of a head's queries, keys and values. Default: features / heads. */
  readonly headSize?: number;
  /** Whether a step sees only itself and those before it. Default false. */
  readonly causal?: boolean;
}

export interface ResidualSpec {
  readonly type: "residual";
  readonly layers: readonly LayerSpec[];
  /** Layers on the way around, where the shapes differ without them. Default: none. */
  readonly shortcut?: readonly LayerSpec[];
  /** Applied to the sum. */
  readonly activation?: ActivationName;
}

export type LayerSpec =
  | DenseSpec
  | ConvolutionSpec
  | PoolingSpec
  | RecurrentSpec
  | AttentionSpec
  | ResidualSpec
  | { readonly type: "global_avg_pool" | "global_max_pool" }
  | { readonly type: "flatten" }
  /** One size may be -1: what is left over. */
  | { readonly type: "reshape"; readonly shape: readonly number[] }
  /** momentum (default 0.9) is the past's share in the running statistics; epsilon defaults to 1e-5. */
  | { readonly type: "batch_norm"; readonly momentum?: number; readonly epsilon?: number }
  /** Over the last axis. */
  | { readonly type: "layer_norm"; readonly epsilon?: number }
  /** rate: the share of elements that a training step leaves out. */
  | { readonly type: "dropout"; readonly rate: number }
  /** Takes whole numbers from 0 to vocabulary - 1. */
  | { readonly type: "embedding"; readonly vocabulary: number; readonly dimensions: number }
  | { readonly type: "activation"; readonly function: ActivationName };

export type LayerType = LayerSpec["type"];
