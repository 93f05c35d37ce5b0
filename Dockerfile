# Built in two stages: the first compiles and drops what only other platforms need; the second holds Node and the server.
FROM node:24-bookworm-slim AS build
WORKDIR /onnxd
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY src ./src
COPY test ./test
RUN npm run build && npm prune --omit=dev \
 && cd node_modules/onnxruntime-node/bin/napi-v6 \
 && arch="$(node -p process.arch)" \
 && find . -mindepth 2 -maxdepth 2 ! -path "./linux/$arch" -exec rm -rf {} + \
 && find . -mindepth 1 -maxdepth 1 ! -name linux -exec rm -rf {} +

# glibc is needed: onnxruntime's binaries do not run on musl.
FROM node:24-bookworm-slim
# Huge pages for models; see huge-pages.ts, which then has nothing to do.
ENV GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1
ENV NODE_ENV=production ORT_DISABLE_TELEMETRY=1 MODEL_NAME=model MODEL_BASE_PATH=/models
WORKDIR /onnxd
COPY --from=build /onnxd/package.json ./
COPY --from=build /onnxd/node_modules ./node_modules
COPY --from=build /onnxd/dist/src ./dist/src
COPY docker-entrypoint.sh LICENSE ./
USER node
EXPOSE 8500 8501
# As TensorFlow Serving's image: serves $MODEL_BASE_PATH/$MODEL_NAME; more flags may follow, the last one wins.
ENTRYPOINT ["./docker-entrypoint.sh"]
