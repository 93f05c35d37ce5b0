/**
 * A key and a certificate for "localhost" and 127.0.0.1, signed by itself, good until 2125, for tests on machines without
 * openssl. Nothing trusts it but the tests, and it guards nothing.
 */
export const testCertificate = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQIJZFM4IILcpFe6k
/GTbuYlgRPIEqCvMAB0WpLHXZQ6hRANCAATEYukuXKCTF4WXyyAIeV/cVwgtN4re
diAWDZZWJRywN7rN1FtbdqSTWiElYW0c6Cpt6qrPfTBYUMZUGkOgjYRo
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIURohbabim4QbRkQdb/LY2Q/g6jYAwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjAyMDY0NFoYDzIxMjYxMDI5
MDIwNjQ0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATEYukuXKCTF4WXyyAIeV/cVwgtN4rediAWDZZWJRywN7rN1FtbdqST
WiElYW0c6Cpt6qrPfTBYUMZUGkOgjYRoo28wbTAdBgNVHQ4EFgQU7InqDrYO8zIy
jpqa99OzUygy7IswHwYDVR0jBBgwFoAU7InqDrYO8zIyjpqa99OzUygy7IswDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIgIXbf5KtStALu8gXyGRIVaELuKCI37i1j1h3RLeej9GYCIQCo
gnfLpV8pVgBdJOsNFHJMLuzeSBdJGG8iQJd+0zJ3aQ==
-----END CERTIFICATE-----
`,
} as const;
