"""KServe's own Python clients, REST and gRPC, from the public package kserve.

    python kserve_client.py TARGET ADDRESS FOLDER

As for triton_client.py, of whose models these use some.
"""
import logging
import sys
import unittest

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from kserve.utils.numpy_codec import from_np_dtype

TARGET, ADDRESS, FOLDER = sys.argv[1:4]
URL = "http://" + ADDRESS

DTYPES = [
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
    "string",
]


def values_of(dtype):
    if dtype == "string":
        return np.array([[b"", "zwölf".encode()], [b"x" * 300, b"a"]], dtype=object)
    if dtype == "bool":
        return np.array([[True, False], [False, True]])
    if dtype.startswith("float"):
        return np.array([[0.5, -2.0], [np.finfo(dtype).max, 0.1]], dtype=dtype)
    info = np.iinfo(dtype)
    return np.array([[info.min, info.max], [1, 2]], dtype=dtype)


def request_of(model, name, values, binary_data=True, **more):
    tensor = InferInput(name, list(values.shape), from_np_dtype(values.dtype))
    tensor.set_data_from_numpy(values, binary_data=binary_data)
    more.setdefault("request_id", "seven")
    return InferRequest(model, [tensor], **more)


def classify(rows=1, model="classifier", **more):
    return request_of(model, "features", np.eye(4, dtype=np.float32)[:rows], **more)


class ClientTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        logging.disable()  # the clients log every refusal
        self.rest = InferenceRESTClient(RESTConfig(protocol="v2"))
        self.grpc = InferenceGRPCClient(TARGET)
        self.addAsyncCleanup(self.rest.close)
        self.addAsyncCleanup(self.grpc.close)

    def same(self, output, values):
        got = output.as_numpy()
        self.assertEqual(output.datatype, from_np_dtype(values.dtype))
        self.assertEqual(got.shape, values.shape)
        plain = [each.encode() if isinstance(each, str) else each for each in got.flatten().tolist()]
        self.assertEqual(plain, values.flatten().tolist())


class Inference(ClientTest):
    async def test_every_type_over_rest(self):
        for dtype in DTYPES:
            values = values_of(dtype)
            for bytes_in in (True, False):
                for bytes_out in (True, False):
                    if dtype == "float16" and not (bytes_in and bytes_out):
                        continue
                    with self.subTest(dtype=dtype, bytes_in=bytes_in, bytes_out=bytes_out):
                        model = "identity_" + dtype
                        request = request_of(model, "x", values, bytes_in,
                                             parameters={"binary_data_output": bytes_out})
                        headers = {}
                        response = await self.rest.infer(URL, request, model_name=model, response_headers=headers)
                        self.same(response.outputs[0], values)
                        self.assertEqual(response.id, "seven")
                        self.assertEqual("octet-stream" in headers["content-type"], bytes_out)

    async def test_every_type_over_grpc(self):
        for dtype in DTYPES:
            values = values_of(dtype)
            for raw in (True, False):
                if dtype == "float16" and not raw:
                    continue
                with self.subTest(dtype=dtype, raw=raw):
                    response = await self.grpc.infer(request_of("identity_" + dtype, "x", values, raw))
                    self.same(response.outputs[0], values)
                    self.assertEqual((response.id, response.model_version), ("seven", "1"))

    async def test_plain_json_without_the_clients_own_classes(self):
        data = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [[1, 0, 0, 0]]}]}
        response = await self.rest.infer(URL, data, model_name="classifier")
        self.assertEqual(response.outputs[0].shape, [1, 3])
        self.assertAlmostEqual(sum(response.outputs[0].data), 1, places=6)

    async def test_outputs_asked_for_one_by_one(self):
        asked = [RequestedOutput("probabilities", {"binary_data": True})]
        over_rest = await self.rest.infer(URL, classify(3, request_outputs=asked), model_name="classifier")
        over_grpc = await self.grpc.infer(classify(3, request_outputs=[RequestedOutput("probabilities")]))
        self.assertEqual(over_rest.outputs[0].as_numpy().tolist(), over_grpc.outputs[0].as_numpy().tolist())
        best = classify(2, request_outputs=[RequestedOutput("probabilities", {"classification": 1})])
        response = await self.grpc.infer(best)
        self.assertEqual(response.outputs[0].datatype, "BYTES")
        self.assertEqual(response.outputs[0].shape, [2, 1])

    async def test_versions(self):
        response = await self.grpc.infer(classify(model_version="1"))
        self.assertEqual(response.model_version, "1")


class Server(ClientTest):
    async def test_life_and_readiness(self):
        self.assertIs(await self.rest.is_server_live(URL), True)
        self.assertIs(await self.rest.is_server_ready(URL), True)
        self.assertIs(await self.rest.is_model_ready(URL, "classifier"), True)
        self.assertIs(await self.rest.is_model_ready(URL, "none"), False)
        self.assertIs(await self.grpc.is_server_live(), True)
        self.assertIs(await self.grpc.is_server_ready(), True)
        self.assertIs(await self.grpc.is_model_ready("classifier"), True)
        with self.assertRaises(grpc.RpcError) as caught:
            await self.grpc.is_model_ready("none")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    async def test_tensorflow_serving_s_form_of_the_same_client(self):
        async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
            rows = [[1.0, 0.0, 0.0, 0.0]]
            answer = await client.infer(URL, {"instances": rows}, model_name="classifier")
            self.assertAlmostEqual(sum(answer["predictions"][0]), 1, places=6)


class Refusals(ClientTest):
    async def test_codes_and_texts(self):
        code = grpc.StatusCode
        wrong = np.zeros((1, 4), np.float64)
        cases = [
            (code.NOT_FOUND, 404, "Request for unknown model: 'none' is not found", classify(model="none")),
            (code.INVALID_ARGUMENT, 400, "data-type is 'FP64', but model 'classifier' expects 'FP32'",
             request_of("classifier", "features", wrong)),
            (code.INVALID_ARGUMENT, 400, "inference request batch-size must be <= 8 for 'classifier'",
             request_of("classifier", "features", np.zeros((9, 4), np.float32))),
            (code.INTERNAL, 500, "Reshape", request_of("failing", "x", np.zeros(4, np.float32))),
        ]
        for status, http_status, text, request in cases:
            with self.subTest(text=text):
                with self.assertRaises(httpx.HTTPStatusError) as caught:
                    await self.rest.infer(URL, request, model_name=request.model_name)
                self.assertEqual(caught.exception.response.status_code, http_status)
                self.assertIn(text, str(caught.exception))
                with self.assertRaises(grpc.RpcError) as caught:
                    await self.grpc.infer(request)
                self.assertEqual(caught.exception.code(), status)
                self.assertIn(text, caught.exception.details())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
