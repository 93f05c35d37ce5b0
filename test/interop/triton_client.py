"""Triton's own Python clients, gRPC and HTTP, blocking and asyncio, from the public package tritonclient.

    python triton_client.py TARGET ADDRESS FOLDER

TARGET (gRPC) and ADDRESS (HTTP), both host:port, serve the Triton repository that open-inference.test.ts has put into
FOLDER. Whatever fails here would fail a user who came over from Triton.
"""
import asyncio
import json
import queue
import sys
import unittest

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http
import tritonclient.http.aio as http_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TARGET, ADDRESS, FOLDER = sys.argv[1:4]

CODES = {  # by the name of the gRPC code, the HTTP status
    "NOT_FOUND": "404", "INVALID_ARGUMENT": "400", "UNAVAILABLE": "503", "UNIMPLEMENTED": "501", "INTERNAL": "500",
}
DTYPES = [
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
    "string",
]
TYPED_FIELD = {
    "bool": "bool_contents", "uint8": "uint_contents", "uint16": "uint_contents", "uint32": "uint_contents",
    "uint64": "uint64_contents", "int8": "int_contents", "int16": "int_contents", "int32": "int_contents",
    "int64": "int64_contents", "float32": "fp32_contents", "float64": "fp64_contents", "string": "bytes_contents",
}


def values_of(dtype):
    """Two rows of three, the extremes of the type among them."""
    if dtype == "string":
        return np.array([[b"", "zwölf".encode(), b"x" * 300], [b"a", b"b\r\n", b"\xe2\x82\xac"]], dtype=object)
    if dtype == "bool":
        return np.array([[True, False, True], [False, False, True]])
    if dtype.startswith("float"):
        info = np.finfo(dtype)
        return np.array([[0.5, -2.0, info.max], [info.tiny, 0.1, np.inf]], dtype=dtype)
    info = np.iinfo(dtype)
    return np.array([[info.min, info.max, 1], [2, 3, 4]], dtype=dtype)


def an_input(module, name, values, **more):
    tensor = module.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    tensor.set_data_from_numpy(values, **more)
    return tensor


def features(rows):
    return np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]][:rows], np.float32)


def identity(module, dtype, values):
    return dict(model_name="identity_" + dtype, inputs=[an_input(module, "x", values)])


def classify(module, rows=1, **more):
    return dict(model_name="classifier", inputs=[an_input(module, "features", features(rows))], **more)


class ClientTest(unittest.TestCase):
    def setUp(self):
        self.grpc = grpc.InferenceServerClient(TARGET)
        self.http = http.InferenceServerClient(ADDRESS)
        self.both = ((self.grpc, grpc), (self.http, http))
        self.addCleanup(self.grpc.close)
        self.addCleanup(self.http.close)

    def same(self, got, values):
        self.assertEqual(got.shape, values.shape)
        self.assertEqual(got.dtype, values.dtype)
        self.assertEqual(got.tolist(), values.tolist())

    def refused(self, code, text, call, module):
        with self.assertRaises(InferenceServerException) as caught:
            call()
        expected = "StatusCode." + code if module is grpc else CODES[code]
        self.assertEqual((caught.exception.status(), text in caught.exception.message()), (expected, True),
                         caught.exception)
        return caught.exception.message()


class Inference(ClientTest):
    def test_every_type_comes_back_as_it_went(self):
        for dtype in DTYPES:
            for client, module in self.both:
                for values in (values_of(dtype), values_of(dtype)[:1, :1], values_of(dtype)[:0], np.asfortranarray(values_of(dtype))):
                    with self.subTest(dtype=dtype, module=module.__name__, shape=values.shape):
                        self.same(client.infer(**identity(module, dtype, values)).as_numpy("y"), values)

    def test_every_type_in_json_and_in_bytes_each_way(self):
        for dtype in DTYPES:
            values = values_of(dtype)
            if dtype.startswith("float"):
                values[1, 2] = -0.25  # tritonclient writes infinities as no JSON reader takes them
            for bytes_in in (True, False):
                for bytes_out in (True, False):
                    with self.subTest(dtype=dtype, bytes_in=bytes_in, bytes_out=bytes_out):
                        if dtype == "float16" and not (bytes_in and bytes_out):
                            continue
                        result = self.http.infer(
                            "identity_" + dtype, [an_input(http, "x", values, binary_data=bytes_in)],
                            outputs=[http.InferRequestedOutput("y", binary_data=bytes_out)])
                        self.assertEqual("data" in result.get_output("y"), not bytes_out)
                        got = result.as_numpy("y")
                        if dtype == "string" and not bytes_out:
                            got = np.array([[each.encode() for each in row] for row in got], dtype=object)
                        self.same(got, values)

    def test_typed_contents_are_answered_with_typed_contents_or_raw_when_asked(self):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self.grpc._channel)
        for dtype, field in TYPED_FIELD.items():
            values = values_of(dtype)
            request = service_pb2.ModelInferRequest(model_name="identity_" + dtype)
            datatype = np_to_triton_dtype(values.dtype)
            tensor = request.inputs.add(name="x", datatype=datatype, shape=values.shape)
            getattr(tensor.contents, field).extend(values.flatten().tolist())
            with self.subTest(dtype=dtype):
                response = stub.ModelInfer(request)
                self.assertEqual(list(getattr(response.outputs[0].contents, field)), values.flatten().tolist())
                self.assertEqual(len(response.raw_output_contents), 0)
                request.parameters["onnxd_raw_output"].bool_param = True
                self.same(grpc.InferResult(stub.ModelInfer(request)).as_numpy("y"), values)

    def test_twenty_megabytes_each_way(self):
        values = np.arange(5_000_000, dtype=np.float32).reshape(1, -1)
        for client, module in self.both:
            self.assertTrue(np.array_equal(client.infer(**identity(module, "float32", values)).as_numpy("y"), values))

    def test_who_answered(self):
        for client, module in self.both:
            for version in ("", "1", "2"):
                with self.subTest(module=module.__name__, version=version):
                    result = client.infer(**classify(module, model_version=version, request_id="seven"))
                    response = result.get_response()
                    if module is grpc:
                        response = {"id": response.id, "model_name": response.model_name,
                                    "model_version": response.model_version}
                    self.assertEqual(response["id"], "seven")
                    self.assertEqual(response["model_name"], "classifier")
                    self.assertEqual(response["model_version"], version or "2")

    def test_parameters(self):
        for client, module in self.both:
            client.infer(**classify(
                module, sequence_id=5, sequence_start=True, sequence_end=True, priority=1, timeout=10_000_000,
                parameters={"text": "a", "flag": True, "number": 3}))

    def test_only_the_outputs_asked_for(self):
        rows = np.array([[1, 2], [3, 4]], np.float32)
        ids = np.array([7, 8], np.int64)
        for client, module in self.both:
            result = client.infer(
                "several", [an_input(module, "a", rows), an_input(module, "b", rows), an_input(module, "ids", ids)],
                outputs=[module.InferRequestedOutput("ids_out"), module.InferRequestedOutput("sum")])
            self.same(result.as_numpy("sum"), rows * 2)
            self.same(result.as_numpy("ids_out"), ids)
            self.assertIsNone(result.as_numpy("difference"))

    def test_classification(self):
        for client, module in self.both:
            scores = client.infer(**classify(module, 2)).as_numpy("probabilities")
            answer = client.infer(**classify(module, 2, outputs=[module.InferRequestedOutput(
                "probabilities", class_count=2)])).as_numpy("probabilities")
            expected = [[f"{row[i]:.6f}:{i}:{'abc'[i]}".encode() for i in np.argsort(-row)[:2]] for row in scores]
            with self.subTest(module=module.__name__):
                self.assertEqual(answer.tolist(), expected)

    def test_compression(self):
        values = np.zeros((100, 100), np.float32)
        for algorithm in ("gzip", "deflate"):
            with self.subTest(algorithm=algorithm):
                result = self.grpc.infer(**identity(grpc, "float32", values), compression_algorithm=algorithm)
                self.same(result.as_numpy("y"), values)
                for more in ({}, {"outputs": [http.InferRequestedOutput("y", binary_data=False)]}):
                    result = self.http.infer(
                        **identity(http, "float32", values), request_compression_algorithm=algorithm,
                        response_compression_algorithm=algorithm, **more)
                    self.same(result.as_numpy("y"), values)

    def test_asynchronous_calls(self):
        answers = queue.Queue()
        self.grpc.async_infer(**classify(grpc), callback=lambda result, error: answers.put((result, error)))
        result, error = answers.get(timeout=20)
        self.assertIsNone(error)
        expected = result.as_numpy("probabilities")
        client = http.InferenceServerClient(ADDRESS, concurrency=4)
        waiting = [client.async_infer(**classify(http)) for _ in range(8)]
        for each in waiting:
            self.same(each.get_result().as_numpy("probabilities"), expected)
        client.close()

    def test_asyncio_clients(self):
        async def run():
            async with grpc_aio.InferenceServerClient(TARGET) as client:
                first = (await client.infer(**classify(grpc_aio))).as_numpy("probabilities")

                async def requests():
                    for number in range(3):
                        yield classify(grpc_aio, request_id=str(number))
                ids = []
                async for result, error in client.stream_infer(requests()):
                    self.assertIsNone(error)
                    ids.append(result.get_response().id)
                self.assertEqual(ids, ["0", "1", "2"])
            async with http_aio.InferenceServerClient(ADDRESS) as client:
                self.assertTrue(await client.is_server_ready())
                self.same((await client.infer(**classify(http_aio))).as_numpy("probabilities"), first)
        asyncio.run(run())


class Streaming(ClientTest):
    def stream(self, requests, **more):
        answers = queue.Queue()
        self.grpc.start_stream(callback=lambda result, error: answers.put((result, error)), **more)
        for request in requests:
            self.grpc.async_stream_infer(**request)
        got = [answers.get(timeout=20) for _ in requests]
        self.grpc.stop_stream()
        return got

    def test_answers_in_order_and_errors_in_their_place(self):
        requests = [classify(grpc, request_id=str(number)) for number in range(100)]
        requests[40] = dict(requests[40], model_name="none")
        answers = self.stream(requests)
        for number, (result, error) in enumerate(answers):
            if number == 40:
                self.assertEqual(error.message(), "Request for unknown model: 'none' is not found")
            else:
                self.assertIsNone(error)
                response = result.get_response()
                self.assertEqual(response.id, str(number))
                self.assertTrue(response.parameters["triton_final_response"].bool_param)

    def test_an_error_says_whose_it_is_and_its_code(self):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self.grpc._channel)
        bad = service_pb2.ModelInferRequest(model_name="none", id="b")
        good = service_pb2.ModelInferRequest(model_name="identity_int8", id="c", raw_input_contents=[b"\x01"])
        good.inputs.add(name="x", datatype="INT8", shape=[1, 1])
        first, second = stub.ModelStreamInfer(iter([bad, good]))
        self.assertEqual(first.error_message, "Request for unknown model: 'none' is not found")
        self.assertEqual((first.infer_response.id, first.infer_response.model_name), ("b", "none"))
        self.assertEqual(first.infer_response.parameters["onnxd_error_code"].int64_param, 5)
        self.assertEqual((second.error_message, second.infer_response.id), ("", "c"))
        self.assertEqual(list(second.infer_response.raw_output_contents), [b"\x01"])

    def test_an_error_ends_the_stream_when_the_client_asks_for_that(self):
        answers = self.stream([classify(grpc), dict(classify(grpc), model_name="none")],
                              headers={"triton_grpc_error": "true"})
        self.assertIsNone(answers[0][1])
        self.assertEqual(answers[1][1].status(), "StatusCode.NOT_FOUND")


class Server(ClientTest):
    def test_life_and_readiness(self):
        for client, module in self.both:
            self.assertTrue(client.is_server_live())
            self.assertTrue(client.is_server_ready())
            self.assertTrue(client.is_model_ready("classifier"))
            self.assertTrue(client.is_model_ready("classifier", "2"))
        self.refused("NOT_FOUND", "Request for unknown model: 'none' is not found",
                     lambda: self.grpc.is_model_ready("none"), grpc)
        self.assertFalse(self.http.is_model_ready("none"))

    def test_metadata_is_the_same_at_both_doors(self):
        server = self.http.get_server_metadata()
        self.assertEqual(server, self.grpc.get_server_metadata(as_json=True))
        self.assertIn("binary_tensor_data", server["extensions"])
        model = self.http.get_model_metadata("classifier")
        over_grpc = self.grpc.get_model_metadata("classifier", as_json=True)
        for tensor in over_grpc["inputs"] + over_grpc["outputs"]:
            tensor["shape"] = [int(size) for size in tensor["shape"]]
        self.assertEqual(model, over_grpc)
        self.assertEqual(model, {
            "name": "classifier", "versions": ["1", "2"], "platform": "onnxruntime_onnx",
            "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
        })

    def test_configuration_is_what_config_pbtxt_says(self):
        over_grpc = self.grpc.get_model_config("classifier").config
        over_http = self.http.get_model_config("classifier")
        for config in (over_grpc, service_pb2.model__config__pb2.ModelConfig()):
            if config is not over_grpc:
                from google.protobuf import json_format
                json_format.ParseDict(over_http, config)
            self.assertEqual(config.max_batch_size, 8)
            self.assertEqual(list(config.input[0].dims), [4])
            self.assertEqual(config.output[0].label_filename, "labels.txt")
            self.assertTrue(config.HasField("dynamic_batching"))
            self.assertEqual(config.dynamic_batching.max_queue_delay_microseconds, 100)
            self.assertEqual(config.model_warmup[0].name, "zeros")
            self.assertEqual(config.instance_group[0].count, 1)
            self.assertEqual(config.parameters["intra_op_thread_count"].string_value, "1")
        for name in ("identity_float32", "reshaped", "elements"):
            parsed = service_pb2.model__config__pb2.ModelConfig()
            json_format.ParseDict(self.http.get_model_config(name), parsed)
            self.assertEqual(parsed, self.grpc.get_model_config(name).config)

    def test_statistics(self):
        for client, module in self.both:
            def read():
                if module is http:
                    return client.get_inference_statistics("classifier", "2")["model_stats"][0]
                return client.get_inference_statistics("classifier", "2", as_json=True)["model_stats"][0]
            before = read()
            client.infer(**classify(module, 3))
            after = read()
            moved = lambda key: int(after.get(key, 0)) - int(before.get(key, 0))
            self.assertEqual((moved("inference_count"), moved("execution_count")), (3, 1))
            success = [int(each["inference_stats"]["success"].get("count", 0)) for each in (before, after)]
            self.assertEqual(success[1] - success[0], 1)
            self.assertIn("cache_hit", after["inference_stats"])
            self.assertTrue(any(int(each["batch_size"]) == 3 for each in after["batch_stats"]))
            self.refused("INVALID_ARGUMENT", "requested model 'none' is not available",
                         lambda: client.get_inference_statistics("none"), module)

    def test_what_is_off(self):
        off = "Client shared memory is disabled."
        for client, module in self.both:
            shared = client.get_system_shared_memory_status(), client.get_cuda_shared_memory_status()
            self.assertTrue(all(len(each if module is http else each.regions) == 0 for each in shared))
            self.refused("UNIMPLEMENTED", off, lambda: client.register_system_shared_memory("r", "/r", 8), module)
            self.refused("UNIMPLEMENTED", off, lambda: client.register_cuda_shared_memory("r", b"", 0, 8), module)
            self.refused("UNIMPLEMENTED", off, client.unregister_system_shared_memory, module)
            tensor = module.InferInput("x", [1, 1], "FP32")
            tensor.set_shared_memory("r", 4)
            self.refused("NOT_FOUND", "Unable to find system shared memory region: 'r'",
                         lambda: client.infer("identity_float32", [tensor]), module)
            trace, log = client.get_trace_settings("classifier"), client.get_log_settings()
            if module is grpc:
                self.assertEqual(list(trace.settings["trace_level"].value), ["OFF"])
                self.assertTrue(log.settings["log_info"].bool_param)
            else:
                self.assertEqual(trace["trace_level"], ["OFF"])
                self.assertIs(log["log_info"], True)
            client.update_trace_settings(settings={"trace_level": ["OFF"], "trace_rate": None})
            client.update_log_settings({"log_info": True})
            self.refused("UNAVAILABLE", "tracing is not built into onnxd",
                         lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}), module)
            self.refused("INVALID_ARGUMENT", "Unexpected log setting",
                         lambda: client.update_log_settings({"nonsense": True}), module)


class Repository(ClientTest):
    def index(self, client, module):
        index = client.get_model_repository_index()
        rows = index if module is http else json.loads(json.dumps([
            {"name": each.name, "version": each.version, "state": each.state, "reason": each.reason}
            for each in index.models]))
        return {(each["name"], each.get("version", "")): (each.get("state", ""), each.get("reason", ""))
                for each in rows}

    def test_load_and_unload(self):
        for client, module in self.both:
            with self.subTest(module=module.__name__):
                self.assertEqual(self.index(client, module)[("classifier", "2")], ("READY", ""))
                self.assertNotIn("READY", [state for (name, _), (state, _) in self.index(client, module).items()
                                           if name == "later"])
                client.load_model("later")
                self.assertEqual(self.index(client, module)[("later", "1")], ("READY", ""))
                self.assertTrue(client.is_model_ready("later"))
                client.load_model("later", config=json.dumps({"name": "later", "max_batch_size": 2}))
                self.assertEqual(self.grpc.get_model_config("later").config.max_batch_size, 2)
                x = np.ones((3, 1), np.float32)
                self.refused("INVALID_ARGUMENT", "inference request batch-size must be <= 2 for 'later'",
                             lambda: client.infer("later", [an_input(module, "x", x)]), module)
                client.unload_model("later")
                for _ in range(2000):
                    state = self.index(client, module)[("later", "1")]
                    if state[0] != "UNLOADING":
                        break
                self.assertEqual(state, ("UNAVAILABLE", "unloaded"))
                client.unload_model("none")

    def test_what_cannot_be_loaded(self):
        for client, module in self.both:
            with self.subTest(module=module.__name__):
                self.refused("INTERNAL", "failed to load 'none', failed to poll from model repository",
                             lambda: client.load_model("none"), module)
                self.refused("INVALID_ARGUMENT", "load failed for model 'broken'",
                             lambda: client.load_model("broken"), module)
                self.refused("UNIMPLEMENTED", "model files cannot be sent with a load",
                             lambda: client.load_model("later", config="{}", files={"file:1/model.onnx": b"x"}), module)
                self.refused("INVALID_ARGUMENT", "sequence_batching",
                             lambda: client.load_model("later", config='{"sequence_batching": {}}'), module)

    def test_a_repository_as_it_is(self):
        rows = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
        column = np.array([[1], [2], [5]], np.float32)
        for client, module in self.both:
            answer = client.infer("reshaped", [an_input(module, "x", rows)]).as_numpy("y")
            self.same(answer, rows * 2 + 1)
            answer = client.infer("elements", [an_input(module, "x", column)]).as_numpy("y")
            self.same(answer, np.array([[2.5], [3.0], [4.5]], np.float32))


class Refusals(ClientTest):
    def test_codes_and_texts_are_triton_s_at_both_doors(self):
        row = features(1)

        def request(module, model="classifier", name="features", values=row, datatype=None, **more):
            tensor = an_input(module, name, values)
            if datatype is not None:
                tensor._datatype = datatype
                if module is grpc:
                    tensor._input.datatype = datatype
            return dict(model_name=model, inputs=[tensor], **more)

        tag = "[request id: <id_unknown>] "
        cases = [
            ("NOT_FOUND", "Request for unknown model: 'none' is not found", dict(model="none")),
            ("NOT_FOUND", "Request for unknown model: 'classifier' version 9 is not found", dict(model_version="9")),
            ("INVALID_ARGUMENT", "failed to get model version from specified version string 'one'",
             dict(model_version="one")),
            ("INVALID_ARGUMENT", "unexpected inference input 'x' for model 'classifier'", dict(name="x")),
            ("INVALID_ARGUMENT", tag + "inference input 'features' data-type is 'FP64', but model 'classifier' expects "
             "'FP32'", dict(values=row.astype(np.float64))),
            ("INVALID_ARGUMENT", tag + "unexpected shape for input 'features' for model 'classifier'. "
             "Expected [-1,4], got [1,3]. ", dict(values=row[:, :3])),
            ("INVALID_ARGUMENT", tag + "inference request batch-size must be <= 8 for 'classifier'",
             dict(values=np.zeros((9, 4), np.float32))),
            ("INVALID_ARGUMENT", tag + "expected 3 inputs but got 1 inputs for model 'several'. Got input(s) ['a'], but "
             "missing required input(s) ['b','ids']. Please provide all required input(s).",
             dict(model="several", name="a", values=np.zeros((1, 2), np.float32))),
            ("INTERNAL", "Reshape", dict(model="failing", name="x", values=np.zeros(4, np.float32))),
        ]
        for code, text, given in cases:
            with self.subTest(text=text):
                texts = {self.refused(code, text, lambda: client.infer(**request(module, **given)), module)
                         for client, module in self.both}
                self.assertEqual(len(texts), 1, texts)

    def test_outputs_and_batches_that_do_not_fit(self):
        for client, module in self.both:
            self.refused("INVALID_ARGUMENT", "unexpected inference output 'q' for model 'classifier'",
                         lambda: client.infer(**classify(module, outputs=[module.InferRequestedOutput("q")])), module)
            pairs = np.zeros((2, 2), np.float32)
            inputs = [an_input(module, "a", pairs), an_input(module, "b", pairs[:1]),
                      an_input(module, "ids", np.zeros(2, np.int64))]
            self.refused("INVALID_ARGUMENT", "input 'b' batch size does not match other inputs for 'batched'",
                         lambda: client.infer("batched", inputs[:2]), module)
            twice = [an_input(module, "features", features(1))] * 2
            self.refused("INVALID_ARGUMENT", "input 'features' already exists in request",
                         lambda: client.infer("classifier", twice), module)

    def test_a_deadline(self):
        tensor = an_input(grpc, "x", np.ones(1, np.float32))
        with self.assertRaises(InferenceServerException) as caught:
            self.grpc.infer("slow", [tensor], client_timeout=0.05)
        self.assertEqual(caught.exception.status(), "StatusCode.DEADLINE_EXCEEDED")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
