# syntax=docker/dockerfile:1
# The serving image: no compiler, no pip, no torch, no root, a root file system that may be read-only.
#   docker build --target cpu -t deepfake-service .
#   docker build --target cuda -t deepfake-service:cuda .      # run it with --gpus all
# `--build-arg VERSION=... --build-arg REVISION=...` label it, and `--sbom=true` (buildx) attaches a bill of materials
# of everything in it. deploy/ runs it.

# python:3.13-slim-trixie (Python 3.13.15) for all architectures, by digest.
ARG BASE=python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# hadolint ignore=DL3006
FROM ${BASE} AS tools
WORKDIR /src
# g++ builds the perceptual hash, and stays behind in this stage.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
# What is downloaded is compared with the digests in deploy/constraints, also what builds wheels.
COPY deploy/constraints deploy/constraints
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes -r deploy/constraints/build.txt

FROM tools AS project
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY models models
COPY eval eval
COPY training training
COPY service service
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels .

FROM tools AS cpu-environment
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes -r deploy/constraints/cpu.txt \
    --wheel-dir /wheels
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes -r deploy/constraints/capture.txt \
    --wheel-dir /wheels
COPY --from=project /wheels /wheels
RUN python3 -m venv --without-pip /opt/deepfake \
 && /opt/build/bin/pip --python /opt/deepfake/bin/python install --no-cache-dir --no-compile \
    --no-index --no-deps /wheels/*.whl

FROM tools AS cuda-environment
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes -r deploy/constraints/cuda.txt \
    --wheel-dir /wheels
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --require-hashes -r deploy/constraints/capture.txt \
    --wheel-dir /wheels
COPY --from=project /wheels /wheels
RUN python3 -m venv --without-pip /opt/deepfake \
 && /opt/build/bin/pip --python /opt/deepfake/bin/python install --no-cache-dir --no-compile \
    --no-index --no-deps /wheels/*.whl

# hadolint ignore=DL3006
FROM ${BASE} AS runtime
RUN python3 -m pip uninstall --yes --quiet pip \
 && rm -rf /usr/local/lib/python3.*/ensurepip \
 && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin deepfake \
 && install -d -o deepfake -g deepfake -m 0700 /data
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="deepfake-service" \
      org.opencontainers.image.description="Detects manipulated faces in pictures and videos, with evidence" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# An operator's newer yt-dlp comes first.
ENV PATH=/opt/yt-dlp:/opt/deepfake/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DEEPFAKE_DATA_DIR=/data \
    DEEPFAKE_HOST=0.0.0.0 \
    DEEPFAKE_PORT=8000
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# A worker listens only if DEEPFAKE_OPERATIONS_PORT is set, as in deploy/compose.yaml.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('DEEPFAKE_OPERATIONS_PORT') or os.environ['DEEPFAKE_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["deepfake"]
CMD ["serve"]

FROM runtime AS cuda
COPY --from=cuda-environment /opt/deepfake /opt/deepfake
# A container without a GPU then fails instead of being slow.
ENV DEEPFAKE_DEVICE=cuda \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The last stage is what a build without --target makes.
FROM runtime AS cpu
COPY --from=cpu-environment /opt/deepfake /opt/deepfake
