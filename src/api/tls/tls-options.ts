import type { SecureContextOptions } from "node:tls";

/** Certificates and keys, as PEM; client certificates are checked against `ca`. */
export interface TlsOptions extends Pick<SecureContextOptions, "key" | "cert" | "ca" | "passphrase"> {
  /** Refuse clients without a certificate that `ca` signed. Default false: none is asked for. */
  readonly requireClientCertificate?: boolean;
  /** Calls back with what takes the place of all these for connections to come. Returns the undo. Default: they stay. */
  readonly onChange?: (listener: (next: TlsOptions) => void) => () => void;
}
