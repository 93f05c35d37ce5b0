// ModelStreamInfer of the real server: a client that does not read its answers is not read either.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { GRPCInferenceServiceClient, type ModelStreamInferResponse } from "../gen/inference/grpc_service.js";
import { call } from "../support/call.js";
import { connect, noMetadata } from "../support/clients.js";
import { inferRequest } from "../support/infer-requests.js";
import { ModelFolder } from "../support/model-folder.js";
import { identityModel } from "../support/test-models.js";
import { startTestServer } from "../support/test-server.js";

const requests = 300;
/** Requests of one stream that the server has under way, at most, and as many as a client may have read unasked. */
const atMost = 64 + 32;
const raw = new Uint8Array(32 * 1024);

describe("a stream whose client does not read", () => {
  for (const transport of ["http2", "grpc-js"]) {
    it(`is not read either, over ${transport}, and loses nothing`, async () => {
      using folder = new ModelFolder();
      folder.publish("echo", 1, identityModel("uint8", ["n"]));
      await using server = await startTestServer(
        `--model_config_file=${folder.writeConfig({ echo: "" })}`,
        `--grpc_transport=${transport}`,
      );
      using client = connect(GRPCInferenceServiceClient, server.target);
      using other = connect(GRPCInferenceServiceClient, server.target);
      const stream = client.modelStreamInfer(noMetadata);
      const ids: string[] = [];
      stream.on("data", ({ errorMessage, inferResponse }: ModelStreamInferResponse) => {
        assert.equal(errorMessage, "");
        assert.equal(inferResponse!.rawOutputContents[0]!.length, raw.length);
        // Not before the first answer: until it has been read, grpc-js takes whatever comes.
        if (ids.push(inferResponse!.id) === 1) stream.pause();
      });
      const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
      const written = (async () => {
        for (let id = 0; id < requests; id++) {
          const input = { datatype: "UINT8", shape: [raw.length], raw };
          const request = inferRequest([input], { modelName: "echo", id: String(id) });
          await new Promise<void>((resolve) => stream.write(request, () => resolve()));
        }
        stream.end();
      })();

      const answered = async () => {
        const { modelStats } = await call(other, other.modelStatistics, { name: "echo", version: "" }, noMetadata);
        return Number(modelStats[0]!.inferenceStats!.success!.count);
      };
      // Until nothing has moved for a while; a server that went on would come to the end.
      let [count, quiet] = [0, 0];
      while (quiet < 50 && count < requests) {
        const now = await answered();
        quiet = now === count && now > 0 ? quiet + 1 : 0;
        count = now;
        await setImmediate();
      }
      assert.ok(count >= 1 && count <= atMost, `${count} of ${requests} were run`);

      stream.resume();
      await ended;
      await written;
      assert.deepEqual(
        ids,
        Array.from({ length: requests }, (_, id) => String(id)),
      );
    });
  }
});
