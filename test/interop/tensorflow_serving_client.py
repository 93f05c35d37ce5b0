"""A client of TensorFlow Serving, made of the public packages tensorflow-serving-api and tensorflow alone.

    python tensorflow_serving_client.py TARGET FOLDER

TARGET serves the models that tensorflow-serving.test.ts has put into FOLDER. Whatever fails here would fail a user who
came over from TensorFlow Serving.
"""
import sys
import unittest

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

TARGET, FOLDER = sys.argv[1], sys.argv[2]
TIMEOUT = 20

channel = grpc.insecure_channel(TARGET)
prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
management = model_service_pb2_grpc.ModelServiceStub(channel)

DTYPES = [
    "float32", "float64", "float16", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool", "string",
]
TYPED_FIELD = {
    "float32": "float_val", "float64": "double_val", "int8": "int_val", "int16": "int_val", "int32": "int_val",
    "uint8": "int_val", "uint16": "int_val", "int64": "int64_val", "uint32": "uint32_val", "uint64": "uint64_val",
    "bool": "bool_val", "string": "string_val", "float16": "half_val",
}


def values_of(dtype):
    if dtype == "string":
        return np.array([b"", "zwölf".encode(), b"x" * 300], dtype=object)
    if dtype == "bool":
        return np.array([True, False, True])
    if dtype.startswith("float"):
        return np.array([0.5, -2.0, np.inf], dtype=dtype)
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, 1], dtype=dtype)


def as_content(dtype, values):
    return tf.make_tensor_proto(values, shape=values.shape)


def as_typed(dtype, values):
    proto = tf.make_tensor_proto(values, shape=values.shape)
    proto.ClearField("tensor_content")
    field = getattr(proto, TYPED_FIELD[dtype])
    del field[:]
    if dtype == "float16":
        field.extend(int(bits) for bits in values.view(np.uint16))
    else:
        field.extend(values.tolist())
    return proto


def predict_request(model, inputs, version=None, label=None, signature=None, output_filter=()):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    if signature is not None:
        request.model_spec.signature_name = signature
    for name, value in inputs.items():
        proto = value if isinstance(value, type(tf.make_tensor_proto(0))) else tf.make_tensor_proto(value)
        request.inputs[name].CopyFrom(proto)
    request.output_filter.extend(output_filter)
    return request


def floats(*values):
    return np.array(values, dtype=np.float32)


def example(**features):
    return tf.train.Example(features=tf.train.Features(feature={
        name: tf.train.Feature(float_list=tf.train.FloatList(value=value)) for name, value in features.items()
    }))


class ClientTest(unittest.TestCase):
    def refused(self, code, text, call, request):
        with self.assertRaises(grpc.RpcError) as caught:
            call(request, TIMEOUT)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        self.assertIn(text, caught.exception.details())


class Predict(ClientTest):
    def test_every_type_in_both_encodings_comes_back_as_it_went(self):
        for dtype in DTYPES:
            values = values_of(dtype)
            for encode in (as_content, as_typed):
                with self.subTest(dtype=dtype, encode=encode.__name__):
                    response = prediction.Predict(
                        predict_request("identity_" + dtype, {"x": encode(dtype, values)}), TIMEOUT)
                    answer = response.outputs["y"]
                    self.assertEqual(answer.dtype, tf.make_tensor_proto(values).dtype)
                    # As TensorFlow reads it itself: make_ndarray cannot read strings in tensor_content.
                    dtype_of_answer = tf.dtypes.as_dtype(answer.dtype)
                    got = tf.io.parse_tensor(answer.SerializeToString(), dtype_of_answer).numpy()
                    self.assertEqual(got.shape, values.shape)
                    self.assertEqual(got.tolist(), values.tolist())

    def test_the_response_says_who_answered(self):
        response = prediction.Predict(predict_request("half_plus_two", {"x": floats(1, 2, 5)}), TIMEOUT)
        self.assertEqual(tf.make_ndarray(response.outputs["y"]).tolist(), [2.5, 3.0, 4.5])
        self.assertEqual(response.model_spec.name, "half_plus_two")
        self.assertEqual(response.model_spec.signature_name, "serving_default")
        self.assertEqual(response.model_spec.version.value, 2)

    def test_versions_and_labels(self):
        for choice in ({"version": 1}, {"label": "stable"}):
            response = prediction.Predict(predict_request("half_plus_two", {"x": floats(1)}, **choice), TIMEOUT)
            self.assertEqual(response.model_spec.version.value, 1)

    def test_future_and_output_filter(self):
        request = predict_request("iris", {"X": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)},
                                  output_filter=["output_probability"])
        response = prediction.Predict.future(request, TIMEOUT).result()
        self.assertEqual(list(response.outputs), ["output_probability"])
        self.assertEqual(tf.make_ndarray(response.outputs["output_probability"]).shape, (1, 3))

    def test_refusals(self):
        x = floats(1)
        code = grpc.StatusCode
        cases = [
            (code.NOT_FOUND, "Servable not found for request: Latest(none)", predict_request("none", {"x": x})),
            (code.NOT_FOUND, "Servable not found for request: Specific(half_plus_two, 9)",
             predict_request("half_plus_two", {"x": x}, version=9)),
            (code.INVALID_ARGUMENT, "Unrecognized servable version label: none",
             predict_request("half_plus_two", {"x": x}, label="none")),
            (code.FAILED_PRECONDITION, 'Serving signature key "none" not found.',
             predict_request("half_plus_two", {"x": x}, signature="none")),
            (code.INVALID_ARGUMENT, "input size does not match signature: 2!=1 len({a,x}) != len({x})",
             predict_request("half_plus_two", {"x": x, "a": x})),
            (code.INVALID_ARGUMENT, "Signature input alias: x(feed name: x", predict_request("half_plus_two", {"a": x})),
            (code.INVALID_ARGUMENT, "to be float but string is provided",
             predict_request("half_plus_two", {"x": ["text"]})),
            (code.INVALID_ARGUMENT, "output tensor alias not found in signature: none",
             predict_request("half_plus_two", {"x": x}, output_filter=["none"])),
            (code.INVALID_ARGUMENT, "duplicate output tensor alias: y",
             predict_request("half_plus_two", {"x": x}, output_filter=["y", "y"])),
            (code.INVALID_ARGUMENT, "tensor parsing error: x",
             predict_request("half_plus_two", {"x": tf.make_tensor_proto(x, dtype=tf.float32).__class__()})),
            (code.INVALID_ARGUMENT, "Missing ModelSpec", predict_pb2.PredictRequest()),
        ]
        for status, text, request in cases:
            with self.subTest(text=text):
                self.refused(status, text, prediction.Predict, request)


class Examples(ClientTest):
    ROWS = [[5.1, 3.5, 1.4, 0.2], [6.6, 3.0, 4.4, 1.4]]

    def test_classify(self):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "iris"
        request.model_spec.signature_name = "classify"
        request.input.example_list.examples.extend(example(X=row) for row in self.ROWS)
        response = prediction.Classify(request, TIMEOUT)
        best = [max(each.classes, key=lambda one: one.score).label for each in response.result.classifications]
        self.assertEqual(best, ["0", "1"])
        self.assertEqual(response.model_spec.signature_name, "classify")

    def test_classify_with_context(self):
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "iris"
        request.model_spec.signature_name = "classify"
        request.input.example_list_with_context.context.CopyFrom(example(X=self.ROWS[0]))
        request.input.example_list_with_context.examples.extend([tf.train.Example(), example(X=self.ROWS[1])])
        response = prediction.Classify(request, TIMEOUT)
        best = [max(each.classes, key=lambda one: one.score).label for each in response.result.classifications]
        self.assertEqual(best, ["0", "1"])

    def test_regress(self):
        request = regression_pb2.RegressionRequest()
        request.model_spec.name = "line"
        request.model_spec.signature_name = "regress"
        request.input.example_list.examples.extend(example(x=[value]) for value in (1.0, 2.0))
        response = prediction.Regress(request, TIMEOUT)
        self.assertEqual([each.value for each in response.result.regressions], [3.0, 5.0])

    def test_multi_inference(self):
        request = inference_pb2.MultiInferenceRequest()
        for signature in ("regress", "regress_again"):
            task = request.tasks.add(method_name="tensorflow/serving/regress")
            task.model_spec.name = "line"
            task.model_spec.signature_name = signature
        request.input.example_list.examples.extend([example(x=[4.0])])
        response = prediction.MultiInference(request, TIMEOUT)
        self.assertEqual([each.regression_result.regressions[0].value for each in response.results], [9.0, 9.0])
        self.assertEqual(
            [each.model_spec.signature_name for each in response.results], ["regress", "regress_again"])

    def test_variable_length_features_are_what_parse_example_makes_of_them(self):
        random = np.random.default_rng(5)
        kinds = {
            "floats": (tf.float32, -1.0, lambda n: tf.train.Feature(
                float_list=tf.train.FloatList(value=random.normal(size=n)))),
            "texts": (tf.string, "", lambda n: tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[b"t%d" % i for i in range(n)]))),
        }
        for model, (dtype, default, feature) in kinds.items():
            for lengths in ([3], [0], [2, 0, 5], random.integers(0, 9, 50)):
                with self.subTest(model=model, lengths=lengths):
                    rows = [tf.train.Example(features=tf.train.Features(
                        feature={"x": feature(n)} if n else {})).SerializeToString() for n in lengths]
                    spec = tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True, default_value=default)
                    expected = tf.io.parse_example(rows, {"x": spec})["x"].numpy()
                    request = predict_request(model, {"inputs": np.array(rows, dtype=object)}, signature="padded")
                    answer = prediction.Predict(request, TIMEOUT).outputs["outputs"]
                    got = tf.io.parse_tensor(answer.SerializeToString(), dtype).numpy()
                    self.assertEqual(got.shape, expected.shape)
                    self.assertEqual(got.tolist(), expected.tolist())

    def test_refusals(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = "iris"
        request.model_spec.signature_name = "classify"
        self.refused(invalid, "Input is empty.", prediction.Classify, request)
        request.input.example_list.examples.extend([example(Y=[1.0])])
        self.refused(invalid, "Feature: X (data type: float) is required but could not be found.",
                     prediction.Classify, request)
        request.model_spec.signature_name = "none"
        self.refused(invalid, "No signature was found with the name: none", prediction.Classify, request)
        self.refused(invalid, "ModelSpec has no name specified.", prediction.MultiInference,
                     inference_pb2.MultiInferenceRequest())
        self.refused(invalid, "Missing ModelSpec", prediction.Regress, regression_pb2.RegressionRequest())


class Metadata(ClientTest):
    def request(self, model, *fields):
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = model
        request.metadata_field.extend(fields)
        return request

    def test_signatures(self):
        response = prediction.GetModelMetadata(self.request("half_plus_two", "signature_def"), TIMEOUT)
        self.assertEqual(response.model_spec.version.value, 2)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        self.assertTrue(response.metadata["signature_def"].Unpack(signatures))
        default = signatures.signature_def["serving_default"]
        self.assertEqual(default.method_name, "tensorflow/serving/predict")
        self.assertEqual(default.inputs["x"].dtype, tf.float32.as_datatype_enum)
        self.assertEqual([dim.size for dim in default.inputs["x"].tensor_shape.dim], [-1])

    def test_refusals(self):
        code = grpc.StatusCode
        call = prediction.GetModelMetadata
        self.refused(code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field",
                     call, self.request("half_plus_two"))
        self.refused(code.INVALID_ARGUMENT, "Metadata field none is not supported",
                     call, self.request("half_plus_two", "none"))
        self.refused(code.NOT_FOUND, "Servable not found for request: Latest(none)",
                     call, self.request("none", "signature_def"))
        self.refused(code.INVALID_ARGUMENT, "Missing ModelSpec", call,
                     get_model_metadata_pb2.GetModelMetadataRequest())


class Management(ClientTest):
    def config(self, **labels):
        request = model_management_pb2.ReloadConfigRequest()
        with open(FOLDER + "/models.config", encoding="utf-8") as text:
            text_format.Parse(text.read(), request.config)
        for config in request.config.model_config_list.config:
            if config.name == "half_plus_two":
                config.version_labels.clear()
                for label, version in labels.items():
                    config.version_labels[label] = version
        return request

    def test_status(self):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "half_plus_two"
        states = management.GetModelStatus(request, TIMEOUT).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        self.assertEqual([(each.version, each.state) for each in states], [(2, available), (1, available)])
        request.model_spec.version.value = 9
        self.refused(grpc.StatusCode.NOT_FOUND, "Could not find version 9 of model half_plus_two",
                     management.GetModelStatus, request)
        request.model_spec.name = "none"
        request.model_spec.ClearField("version")
        self.refused(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model none",
                     management.GetModelStatus, request)

    def test_reload_moves_labels_and_adds_models(self):
        request = self.config(stable=2)
        request.config.model_config_list.config.add(
            name="again", base_path=FOLDER + "/half_plus_two", model_platform="tensorflow")
        request.metric_names.append("/tensorflow/cc/saved_model/load_attempt_count")
        response = management.HandleReloadConfigRequest(request, TIMEOUT)
        self.assertEqual(response.status.error_code, 0)
        self.assertEqual([each.int64_value_increase for each in response.metric], [1])
        answer = prediction.Predict(predict_request("half_plus_two", {"x": floats(1)}, label="stable"), TIMEOUT)
        self.assertEqual(answer.model_spec.version.value, 2)
        answer = prediction.Predict(predict_request("again", {"x": floats(1)}), TIMEOUT)
        self.assertEqual(tf.make_ndarray(answer.outputs["y"]).tolist(), [2.5])
        management.HandleReloadConfigRequest(self.config(stable=1), TIMEOUT)
        answer = prediction.Predict(predict_request("half_plus_two", {"x": floats(1)}, label="stable"), TIMEOUT)
        self.assertEqual(answer.model_spec.version.value, 1)

    def test_refusals(self):
        code = grpc.StatusCode
        call = management.HandleReloadConfigRequest
        self.refused(code.INVALID_ARGUMENT, "Only ModelConfigList is currently supported", call,
                     model_management_pb2.ReloadConfigRequest())
        self.refused(code.FAILED_PRECONDITION, "which is not currently available for inference", call,
                     self.config(stable=9))
        twice = self.config(stable=1)
        twice.config.model_config_list.config.append(
            model_server_config_pb2.ModelConfig(name="half_plus_two", base_path="/x", model_platform="tensorflow"))
        self.refused(code.INVALID_ARGUMENT, "Illegal to list model half_plus_two multiple times", call, twice)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
