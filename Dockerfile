# syntax=docker/dockerfile:1
# The serving image: no compiler, no torch, no root, a root file system that may be read-only.
#   docker build -t deepfake-service .
#   docker run --read-only --tmpfs /tmp -v deepfake-data:/data -p 8000:8000 \
#     -e DEEPFAKE_ADMIN_KEY=... deepfake-service
# For a GPU: --build-arg ENGINE=cuda, and run with --gpus all.

FROM python:3.13-slim AS build
ARG ENGINE=cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY models models
COPY eval eval
COPY training training
COPY service service
# g++ builds the perceptual hash, and stays behind in this stage.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/* \
 && python -m venv /opt/deepfake \
 && /opt/deepfake/bin/pip install --no-cache-dir --no-compile \
    ".[${ENGINE},service,provenance,perceptual]"

FROM python:3.13-slim
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
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['DEEPFAKE_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["deepfake"]
CMD ["serve"]
