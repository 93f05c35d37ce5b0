import { testCertificate } from "./test-certificate.js";

interface SslConfigFields {
  readonly server_key?: string;
  readonly server_cert?: string;
  readonly custom_ca?: string;
  readonly client_verify?: boolean;
}

/** An SSLConfig in text form: the test certificate, but for what is given. */
export function sslConfigText(fields: SslConfigFields = {}): string {
  const all = { server_key: testCertificate.key, server_cert: testCertificate.cert, ...fields };
  return Object.entries(all)
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
    .join("");
}
