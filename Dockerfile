# Two targets: `cpu` and `cuda`. Both stand on the same base, because CUDA's libraries come with torch's wheel.
#
#   docker build --target cpu -t gaze:cpu .
#   docker build --target cuda -t gaze:cuda .
#
# TORCH_INDEX     the index that torch comes from; empty: what pip is configured with. The CPU target takes PyTorch's own.
# BAKE_MODEL      a model to put into the image, for machines without a network: a hub id, such as
#                 openai/clip-vit-base-patch32. The image then serves that model and asks the hub for nothing.
# BAKE_REVISION   its revision, if it is not the default.
# BASE_DIGEST     the base image's digest, sha256:...; empty: whatever the tag means today.
#
# Packages are those of requirements/ and no others, each file checked against its hash; nothing is built from source.

# Any user may run it: one without a name, as --user 54321 or OpenShift's, is of the group root, which may write there too.

ARG BASE_DIGEST=

FROM python:3.11-slim-bookworm${BASE_DIGEST:+@$BASE_DIGEST} AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
 && groupadd --system --gid 10001 gaze \
 && useradd --system --uid 10001 --gid gaze --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin gaze \
 && install -d -o gaze -g root -m 775 /var/lib/gaze /var/lib/gaze/models /var/lib/gaze/cache

# What builds the images and stays out of them.
FROM base AS tools
COPY requirements/build.txt .
RUN python -m venv --without-pip /opt/tools \
 && pip --python /opt/tools/bin/python install --no-cache-dir --no-deps --only-binary :all: --require-hashes -r build.txt

# A change to the code leaves the packages as they are.
FROM tools AS packages
COPY requirements/packages.txt .
RUN python -m venv --without-pip /opt/gaze \
 && pip --python /opt/gaze/bin/python install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
    -r packages.txt

FROM packages AS packages-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/torch-cpu.txt .
RUN pip --python /opt/gaze/bin/python install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
    ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch-cpu.txt \
 && pip --python /opt/gaze/bin/python check \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /sbom.json /opt/gaze/bin/python \
 && rm -rf /opt/gaze/lib/python3.11/site-packages/torch/include

FROM packages AS packages-cuda
ARG TORCH_INDEX=
COPY requirements/torch-cuda.txt .
RUN pip --python /opt/gaze/bin/python install --no-cache-dir --no-deps --only-binary :all: --require-hashes \
    ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch-cuda.txt \
 && pip --python /opt/gaze/bin/python check \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /sbom.json /opt/gaze/bin/python \
 && rm -rf /opt/gaze/lib/python3.11/site-packages/torch/include

FROM tools AS code
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY models/ models/
COPY lists/ lists/
COPY service/ service/
RUN pip --python /opt/tools/bin/python install --no-cache-dir --no-deps --no-build-isolation --target /app . \
 && sed -i '1s|.*|#!/opt/gaze/bin/python|' /app/bin/gaze

FROM base AS runtime
ENV PATH=/app/bin:/opt/gaze/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HF_HUB_DISABLE_TELEMETRY=1 \
    GAZE_HOST=0.0.0.0
ARG BAKE_MODEL=
ARG BAKE_REVISION=
# Apart from what volumes are mounted on, because those would hide it. Empty variables count as none.
ENV HF_HOME=/var/lib/gaze/models${BAKE_MODEL:+-in-the-image} \
    GAZE_CACHE_DIR=/var/lib/gaze/cache \
    HF_HUB_OFFLINE=${BAKE_MODEL:+1} \
    GAZE_MODEL=${BAKE_MODEL} \
    GAZE_REVISION=${BAKE_REVISION}
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; ready = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('GAZE_PORT') or 8000), timeout=4); ready.request('GET', '/readyz'); sys.exit(ready.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--", "gaze"]
CMD ["serve"]

FROM runtime AS cpu
ENV GAZE_CACHE_DIR=/var/lib/gaze/cache${GAZE_MODEL:+-in-the-image}
COPY --from=packages-cpu /opt/gaze /opt/gaze
COPY --from=packages-cpu /sbom.json /usr/share/gaze/sbom.json
COPY --from=code /app /app
USER 10001:10001
RUN if [ -n "$GAZE_MODEL" ]; then HF_HUB_OFFLINE=0 gaze prepare; fi

FROM runtime AS cuda
ENV GAZE_DEVICE=cuda
COPY --from=packages-cuda /opt/gaze /opt/gaze
COPY --from=packages-cuda /sbom.json /usr/share/gaze/sbom.json
COPY --from=code /app /app
USER 10001:10001
# No GPU is here to encode the lists with; the start does that in seconds.
RUN if [ -n "$GAZE_MODEL" ]; then HF_HUB_OFFLINE=0 gaze prepare --model-only; fi
