import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { boundStatusMessage, percentEncodeStatusMessage } from "../../../src/api/grpc/status-message.js";

describe("boundStatusMessage", () => {
  it("leaves short messages alone, and makes all well-formed", () => {
    assert.equal(boundStatusMessage(""), "");
    assert.equal(boundStatusMessage("naïve 😀"), "naïve 😀");
    assert.equal(boundStatusMessage("lone \ud800 and \udc00"), "lone \ufffd and \ufffd");
    assert.equal(boundStatusMessage("a".repeat(1024)), "a".repeat(1024));
  });

  it("keeps 1024 bytes at most, without half a character", () => {
    assert.equal(boundStatusMessage("a".repeat(1025)), `${"a".repeat(1024)}...TRUNCATED`);
    for (const character of ["é", "日", "😀"]) {
      for (let shift = 0; shift < 4; shift++) {
        const cut = boundStatusMessage("x".repeat(shift) + character.repeat(1024));
        assert.ok(cut.endsWith(`${character}...TRUNCATED`));
        const kept = Buffer.byteLength(cut) - "...TRUNCATED".length;
        assert.ok(kept <= 1024 && kept > 1024 - Buffer.byteLength(character), `${kept} bytes kept`);
      }
    }
  });
});

describe("percentEncodeStatusMessage", () => {
  it("encodes what is not printable ASCII, and the percent sign", () => {
    assert.equal(
      percentEncodeStatusMessage("plain ~!\"#$&'()*+,-./:;<=>?@[]^_`{|}"),
      "plain ~!\"#$&'()*+,-./:;<=>?@[]^_`{|}",
    );
    assert.equal(percentEncodeStatusMessage("100%\n\t\x7fé😀"), "100%25%0A%09%7F%C3%A9%F0%9F%98%80");
    assert.equal(decodeURIComponent(percentEncodeStatusMessage("50% ü\r\n")), "50% ü\r\n");
  });

  it("encodes blanks at either end, which a field value of HTTP/2 may not have, and leaves those inside", () => {
    assert.equal(percentEncodeStatusMessage(" a b  "), "%20a b%20%20");
    assert.equal(percentEncodeStatusMessage(" "), "%20");
  });
});
