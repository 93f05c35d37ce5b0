import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { SslConfigFile } from "../../../src/api/tls/ssl-config-file.js";
import type { TlsOptions } from "../../../src/api/tls/tls-options.js";
import { FakeClock } from "../../support/fake-clock.js";
import { LogRecorder } from "../../support/log-recorder.js";
import { rejectsWith } from "../../support/rejects-with.js";
import { sslConfigText } from "../../support/ssl-config-text.js";
import { testCertificate } from "../../support/test-certificate.js";

describe("the file behind --ssl_config_file", () => {
  let folder: string;
  let path: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "onnxd-ssl-"));
    path = join(folder, "ssl.config");
  });
  after(() => rmSync(folder, { recursive: true }));

  const open = (text: string) => {
    writeFileSync(path, text);
    return SslConfigFile.open(path, { clock: new FakeClock(), logger: new LogRecorder() });
  };
  const { key, cert } = testCertificate;

  it("holds the PEM texts themselves", async () => {
    const file = await open(sslConfigText({ custom_ca: cert, client_verify: true }));
    const { onChange, ...tls } = file.tls;
    assert.deepEqual(tls, { key, cert, ca: cert, requireClientCertificate: true });
    assert.ok(onChange);
    await file.close();
  });

  for (const [what, text, reason] of [
    ["an empty file", "", /server_key is empty; it holds the PEM text itself, not a path/],
    ["no certificate", sslConfigText({ server_cert: "" }), /server_cert is empty/],
    ["a path for a key", sslConfigText({ server_key: "/etc/key.pem" }), /Invalid SSL config file/],
    ["a certificate that is none", sslConfigText({ server_cert: key }), /Invalid SSL config file/],
    ["an authority that is none", sslConfigText({ custom_ca: "/etc/ca.pem" }), /custom_ca is not PEM text/],
    ["client_verify without an authority", sslConfigText({ client_verify: true }), /client_verify needs a custom_ca/],
    ["a field that there is not", "server_keys: 'x'", /no field named "server_keys"/],
    ["no text proto", "server_key: {", /Error parsing text-format tensorflow\.serving\.SSLConfig/],
  ] as const) {
    it(`is refused at start: ${what}`, () => rejectsWith("INVALID_ARGUMENT", reason, () => open(text)));
  }

  it("is refused at start when it is not there", () =>
    rejectsWith("INVALID_ARGUMENT", /is not there/, () =>
      SslConfigFile.open(join(folder, "none"), { clock: new FakeClock(), logger: new LogRecorder() }),
    ));

  it("is read again as time passes; a fault leaves what there is in place and is one line in the log", async () => {
    writeFileSync(path, sslConfigText());
    const [clock, log] = [new FakeClock(), new LogRecorder()];
    const file = await SslConfigFile.open(path, { clock, logger: log });
    const heard: TlsOptions[] = [];
    const undo = file.tls.onChange!((next) => heard.push(next));
    const tick = async () => {
      clock.advance(10_000);
      await file.poll();
    };
    await tick();
    assert.deepEqual(heard, []);
    writeFileSync(path, "server_key: 'half written");
    await tick();
    await tick();
    assert.deepEqual(heard, []);
    assert.equal(log.lines.filter(({ level }) => level === "error").length, 1);
    writeFileSync(path, sslConfigText({ custom_ca: cert, client_verify: true }));
    await tick();
    assert.deepEqual(
      heard.map(({ requireClientCertificate }) => requireClientCertificate),
      [true],
    );
    undo();
    writeFileSync(path, sslConfigText());
    await tick();
    assert.equal(heard.length, 1);
    await file.close();
    assert.equal(clock.pending, 0);
  });
});
