#!/bin/sh
# exec: the server is process 1, so that SIGTERM reaches it.
exec node --max-semi-space-size=4 --enable-source-maps /onnxd/dist/src/main.js serve --port=8500 --rest_api_port=8501 \
  --model_name="$MODEL_NAME" --model_base_path="$MODEL_BASE_PATH/$MODEL_NAME" "$@"
