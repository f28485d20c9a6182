# syntax=docker/dockerfile:1
# The serving image: no compiler, no torch, no root, a root file system that may be read-only.
#   docker build -t deepfake-service .
# deploy/compose.yaml runs it. For a GPU: --build-arg ENGINE=cuda, and run with --gpus all.

# python:3.13-slim-trixie (Python 3.13.15) for all architectures, by digest.
ARG BASE=python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# hadolint ignore=DL3006
FROM ${BASE} AS build
ARG ENGINE=cpu
WORKDIR /src
# g++ builds the perceptual hash, and stays behind in this stage.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
# What is downloaded is compared with the digests in deploy/constraints, also what builds wheels.
COPY deploy/constraints deploy/constraints
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r deploy/constraints/build.txt \
 && /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes \
    -r "deploy/constraints/${ENGINE}.txt" --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY models models
COPY eval eval
COPY training training
COPY service service
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels . \
 && python3 -m venv --without-pip /opt/deepfake \
 && /opt/build/bin/pip --python /opt/deepfake/bin/python install --no-cache-dir --no-compile \
    --no-index --no-deps /wheels/*.whl

# hadolint ignore=DL3006
FROM ${BASE}
LABEL org.opencontainers.image.title="deepfake-service" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin deepfake \
 && install -d -o deepfake -g deepfake -m 0700 /data
COPY --from=build /opt/deepfake /opt/deepfake
ENV PATH=/opt/deepfake/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DEEPFAKE_DATA_DIR=/data \
    DEEPFAKE_HOST=0.0.0.0 \
    DEEPFAKE_PORT=8000
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('DEEPFAKE_OPERATIONS_PORT') or os.environ['DEEPFAKE_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["deepfake"]
CMD ["serve"]
