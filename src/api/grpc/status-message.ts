// What may stand in a grpc-message field: TensorFlow Serving's bound on its length, and HTTP/2's on its characters.

/** Bytes of UTF-8 that a status message keeps, as in TensorFlow Serving. */
export const maxStatusMessageBytes = 1024;
const truncationMark = "...TRUNCATED";

/** The message as it is sent: well-formed text, cut after 1024 bytes at a whole character, with a mark where it was cut. */
export function boundStatusMessage(message: string): string {
  // The common case needs no bytes: no character takes more than three in UTF-8, surrogates counted one by one.
  if (message.length * 3 <= maxStatusMessageBytes && !surrogate.test(message)) return message;
  const bytes = Buffer.from(message); // a lone surrogate becomes U+FFFD here
  if (bytes.length <= maxStatusMessageBytes) return bytes.toString();
  let end = maxStatusMessageBytes;
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1; // 10xxxxxx continues a character that began before
  return bytes.toString("utf8", 0, end) + truncationMark;
}

const surrogate = /[\ud800-\udfff]/;

/**
 * The message in the form of the wire: percent-encoded UTF-8 outside of printable ASCII, "%" itself included, and
 * so are blanks at either end, which an HTTP/2 field value may not have
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). Takes what boundStatusMessage returned.
 */
export function percentEncodeStatusMessage(message: string): string {
  return message.replace(/^ +| +$|[^ -$&-~]+/g, encodeURIComponent);
}
