// onnxruntime reports usage to its maker unless this is in the environment before its library loads: it then neither
// writes its database into the home directory nor opens a connection. The serving thread must import this file, since
// a worker's process.env is a copy that the library does not see.
process.env["ORT_DISABLE_TELEMETRY"] = "1";
