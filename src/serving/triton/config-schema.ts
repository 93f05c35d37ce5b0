// inference.ModelConfig in text form, whole: a field that this server cannot honour still has to be read, so that it can
// be refused or reported by its name. One table; proto/inference/model_config.proto says what the fields mean.
import {
  bool,
  double,
  enumeration,
  float,
  int32,
  int64,
  mapOf,
  message,
  optional,
  repeated,
  singular,
  string,
  type TypeOf,
  uint32,
  uint64,
} from "../text-proto/text-schema.js";

const p = (name: string) => `inference.${name}`;

export const dataTypes = {
  TYPE_INVALID: 0,
  TYPE_BOOL: 1,
  TYPE_UINT8: 2,
  TYPE_UINT16: 3,
  TYPE_UINT32: 4,
  TYPE_UINT64: 5,
  TYPE_INT8: 6,
  TYPE_INT16: 7,
  TYPE_INT32: 8,
  TYPE_INT64: 9,
  TYPE_FP16: 10,
  TYPE_FP32: 11,
  TYPE_FP64: 12,
  TYPE_STRING: 13,
  TYPE_BF16: 14,
} as const;
export const instanceKinds = { KIND_AUTO: 0, KIND_GPU: 1, KIND_CPU: 2, KIND_MODEL: 3 } as const;
export const timeoutActions = { REJECT: 0, DELAY: 1 } as const;

const dataType = enumeration(p("DataType"), dataTypes);
const reshape = message(p("ModelTensorReshape"), { shape: repeated(int64) });

const modelInput = message(p("ModelInput"), {
  name: singular(string),
  data_type: singular(dataType),
  format: singular(enumeration(p("ModelInput.Format"), { FORMAT_NONE: 0, FORMAT_NHWC: 1, FORMAT_NCHW: 2 })),
  dims: repeated(int64),
  reshape: optional(reshape),
  is_shape_tensor: singular(bool),
  allow_ragged_batch: singular(bool),
  optional: singular(bool),
  is_non_linear_format_io: singular(bool),
});
const modelOutput = message(p("ModelOutput"), {
  name: singular(string),
  data_type: singular(dataType),
  dims: repeated(int64),
  reshape: optional(reshape),
  label_filename: singular(string),
  is_shape_tensor: singular(bool),
  is_non_linear_format_io: singular(bool),
});

const batchInput = message(p("BatchInput"), {
  kind: singular(
    enumeration(p("BatchInput.Kind"), {
      BATCH_ELEMENT_COUNT: 0,
      BATCH_ACCUMULATED_ELEMENT_COUNT: 1,
      BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO: 2,
      BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: 3,
      BATCH_ITEM_SHAPE: 4,
      BATCH_ITEM_SHAPE_FLATTEN: 5,
    }),
  ),
  target_name: repeated(string),
  data_type: singular(dataType),
  source_input: repeated(string),
});
const batchOutput = message(p("BatchOutput"), {
  target_name: repeated(string),
  kind: singular(enumeration(p("BatchOutput.Kind"), { BATCH_SCATTER_WITH_INPUT_SHAPE: 0 })),
  source_input: repeated(string),
});

const versionPolicy = message(
  p("ModelVersionPolicy"),
  {
    latest: optional(message(p("ModelVersionPolicy.Latest"), { num_versions: singular(uint32) })),
    all: optional(message(p("ModelVersionPolicy.All"), {})),
    specific: optional(message(p("ModelVersionPolicy.Specific"), { versions: repeated(int64) })),
  },
  { policy_choice: ["latest", "all", "specific"] },
);

const accelerator = message(p("ModelOptimizationPolicy.ExecutionAccelerators.Accelerator"), {
  name: singular(string),
  parameters: mapOf("ParametersEntry", string, string),
});
const shapeMap = mapOf(
  "InputEntry",
  string,
  message(p("ModelOptimizationPolicy.Cuda.GraphSpec.Shape"), { dim: repeated(int64) }),
);
const pinnedMemory = message(p("ModelOptimizationPolicy.PinnedMemoryBuffer"), { enable: singular(bool) });
const optimization = message(p("ModelOptimizationPolicy"), {
  graph: optional(message(p("ModelOptimizationPolicy.Graph"), { level: singular(int32) })),
  priority: singular(
    enumeration(p("ModelOptimizationPolicy.ModelPriority"), { PRIORITY_DEFAULT: 0, PRIORITY_MAX: 1, PRIORITY_MIN: 2 }),
  ),
  cuda: optional(
    message(p("ModelOptimizationPolicy.Cuda"), {
      graphs: singular(bool),
      busy_wait_events: singular(bool),
      graph_spec: repeated(
        message(p("ModelOptimizationPolicy.Cuda.GraphSpec"), {
          batch_size: singular(int32),
          input: shapeMap,
          graph_lower_bound: optional(
            message(p("ModelOptimizationPolicy.Cuda.GraphSpec.LowerBound"), {
              batch_size: singular(int32),
              input: shapeMap,
            }),
          ),
        }),
      ),
      output_copy_stream: singular(bool),
    }),
  ),
  execution_accelerators: optional(
    message(p("ModelOptimizationPolicy.ExecutionAccelerators"), {
      gpu_execution_accelerator: repeated(accelerator),
      cpu_execution_accelerator: repeated(accelerator),
    }),
  ),
  input_pinned_memory: optional(pinnedMemory),
  output_pinned_memory: optional(pinnedMemory),
  gather_kernel_buffer_threshold: singular(uint32),
  eager_batching: singular(bool),
});

const queuePolicy = message(p("ModelQueuePolicy"), {
  timeout_action: singular(enumeration(p("ModelQueuePolicy.TimeoutAction"), timeoutActions)),
  default_timeout_microseconds: singular(uint64),
  allow_timeout_override: singular(bool),
  max_queue_size: singular(uint32),
});
const dynamicBatching = message(p("ModelDynamicBatching"), {
  preferred_batch_size: repeated(int32),
  max_queue_delay_microseconds: singular(uint64),
  preserve_ordering: singular(bool),
  priority_levels: singular(uint64),
  default_priority_level: singular(uint64),
  default_queue_policy: optional(queuePolicy),
  priority_queue_policy: mapOf("PriorityQueuePolicyEntry", uint64, queuePolicy),
});

const s = (name: string) => p(`ModelSequenceBatching.${name}`);
const sequenceBatching = message(
  p("ModelSequenceBatching"),
  {
    max_sequence_idle_microseconds: singular(uint64),
    control_input: repeated(
      message(s("ControlInput"), {
        name: singular(string),
        control: repeated(
          message(s("Control"), {
            kind: singular(
              enumeration(s("Control.Kind"), {
                CONTROL_SEQUENCE_START: 0,
                CONTROL_SEQUENCE_READY: 1,
                CONTROL_SEQUENCE_END: 2,
                CONTROL_SEQUENCE_CORRID: 3,
              }),
            ),
            int32_false_true: repeated(int32),
            fp32_false_true: repeated(float),
            bool_false_true: repeated(bool),
            data_type: singular(dataType),
          }),
        ),
      }),
    ),
    direct: optional(
      message(s("StrategyDirect"), {
        max_queue_delay_microseconds: singular(uint64),
        minimum_slot_utilization: singular(float),
      }),
    ),
    oldest: optional(
      message(s("StrategyOldest"), {
        max_candidate_sequences: singular(int32),
        preferred_batch_size: repeated(int32),
        max_queue_delay_microseconds: singular(uint64),
        preserve_ordering: singular(bool),
      }),
    ),
    state: repeated(
      message(s("State"), {
        input_name: singular(string),
        output_name: singular(string),
        data_type: singular(dataType),
        dims: repeated(int64),
        initial_state: repeated(
          message(
            s("InitialState"),
            {
              data_type: singular(dataType),
              dims: repeated(int64),
              zero_data: optional(bool),
              data_file: optional(string),
              name: singular(string),
            },
            { state_data: ["zero_data", "data_file"] },
          ),
        ),
        use_same_buffer_for_input_output: singular(bool),
        use_growable_memory: singular(bool),
      }),
    ),
    iterative_sequence: singular(bool),
  },
  { strategy_choice: ["direct", "oldest"] },
);
const ensembling = message(p("ModelEnsembling"), {
  step: repeated(
    message(p("ModelEnsembling.Step"), {
      model_name: singular(string),
      model_version: singular(int64),
      input_map: mapOf("InputMapEntry", string, string),
      output_map: mapOf("OutputMapEntry", string, string),
      model_namespace: singular(string),
    }),
  ),
  max_inflight_requests: singular(uint32),
});

const instanceGroup = message(p("ModelInstanceGroup"), {
  name: singular(string),
  kind: singular(enumeration(p("ModelInstanceGroup.Kind"), instanceKinds)),
  count: singular(int32),
  rate_limiter: optional(
    message(p("ModelRateLimiter"), {
      resources: repeated(
        message(p("ModelRateLimiter.Resource"), {
          name: singular(string),
          global: singular(bool),
          count: singular(uint32),
        }),
      ),
      priority: singular(uint32),
    }),
  ),
  gpus: repeated(int32),
  secondary_devices: repeated(
    message(p("ModelInstanceGroup.SecondaryDevice"), {
      kind: singular(enumeration(p("ModelInstanceGroup.SecondaryDevice.SecondaryDeviceKind"), { KIND_NVDLA: 0 })),
      device_id: singular(int64),
    }),
  ),
  profile: repeated(string),
  passive: singular(bool),
  host_policy: singular(string),
});

const warmupInput = message(
  p("ModelWarmup.Input"),
  {
    data_type: singular(dataType),
    dims: repeated(int64),
    zero_data: optional(bool),
    random_data: optional(bool),
    input_data_file: optional(string),
  },
  { input_data_type: ["zero_data", "random_data", "input_data_file"] },
);
const warmup = message(p("ModelWarmup"), {
  name: singular(string),
  batch_size: singular(uint32),
  inputs: mapOf("InputsEntry", string, warmupInput),
  count: singular(uint32),
});

const metricControl = message(p("ModelMetrics.MetricControl"), {
  metric_identifier: optional(message(p("ModelMetrics.MetricControl.MetricIdentifier"), { family: singular(string) })),
  histogram_options: optional(message(p("ModelMetrics.MetricControl.HistogramOptions"), { buckets: repeated(double) })),
});

export const tritonConfigType = message(
  p("ModelConfig"),
  {
    name: singular(string),
    platform: singular(string),
    backend: singular(string),
    runtime: singular(string),
    version_policy: optional(versionPolicy),
    max_batch_size: singular(int32),
    input: repeated(modelInput),
    output: repeated(modelOutput),
    batch_input: repeated(batchInput),
    batch_output: repeated(batchOutput),
    optimization: optional(optimization),
    dynamic_batching: optional(dynamicBatching),
    sequence_batching: optional(sequenceBatching),
    ensemble_scheduling: optional(ensembling),
    instance_group: repeated(instanceGroup),
    default_model_filename: singular(string),
    cc_model_filenames: mapOf("CcModelFilenamesEntry", string, string),
    metric_tags: mapOf("MetricTagsEntry", string, string),
    parameters: mapOf("ParametersEntry", string, message(p("ModelParameter"), { string_value: singular(string) })),
    model_warmup: repeated(warmup),
    model_operations: optional(message(p("ModelOperations"), { op_library_filename: repeated(string) })),
    model_transaction_policy: optional(message(p("ModelTransactionPolicy"), { decoupled: singular(bool) })),
    model_repository_agents: optional(
      message(p("ModelRepositoryAgents"), {
        agents: repeated(
          message(p("ModelRepositoryAgents.Agent"), {
            name: singular(string),
            parameters: mapOf("ParametersEntry", string, string),
          }),
        ),
      }),
    ),
    response_cache: optional(message(p("ModelResponseCache"), { enable: singular(bool) })),
    model_metrics: optional(message(p("ModelMetrics"), { metric_control: repeated(metricControl) })),
  },
  { scheduling_choice: ["dynamic_batching", "sequence_batching", "ensemble_scheduling"] },
);

/** inference.ModelConfig, its fields under their names in the .proto file; what is absent is undefined, empty or zero. */
export type TritonConfig = TypeOf<typeof tritonConfigType>;
export type TritonInput = TritonConfig["input"][number];
export type TritonOutput = TritonConfig["output"][number];
export type TritonWarmup = TritonConfig["model_warmup"][number];
