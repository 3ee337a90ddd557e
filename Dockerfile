# Two targets: `cpu` and `cuda`. Both stand on the same base, because CUDA's libraries come with torch's wheel.
#
#   docker build --target cpu -t gaze:cpu .
#   docker build --target cuda -t gaze:cuda .
#
# TORCH_INDEX     the index that torch comes from; empty: what pip is configured with. Each target has its own default.
# BAKE_MODEL      a model to put into the image, for machines without a network: a hub id, such as
#                 openai/clip-vit-base-patch32. The image then serves that model and asks the hub for nothing.
# BAKE_REVISION   its revision, if it is not the default.
# PYTHON_IMAGE    the base; may name a digest.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
 && groupadd --system --gid 10001 gaze \
 && useradd --system --uid 10001 --gid gaze --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin gaze \
 && install -d -o gaze -g gaze /var/lib/gaze /var/lib/gaze/models /var/lib/gaze/cache

# The packages that pyproject.toml names, torch apart; a change to the code leaves them as they are.
FROM base AS requirements
COPY pyproject.toml .
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > requirements.txt \
 && grep '^torch==' requirements.txt > torch.txt

FROM base AS packages-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=requirements torch.txt .
RUN python -m venv --without-pip /opt/gaze \
 && pip --python /opt/gaze/bin/python install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch.txt
COPY --from=requirements requirements.txt .
RUN pip --python /opt/gaze/bin/python install --no-cache-dir -r requirements.txt \
 && rm -rf /opt/gaze/lib/python3.11/site-packages/torch/include

FROM base AS packages-cuda
ARG TORCH_INDEX=https://download.pytorch.org/whl/cu130
COPY --from=requirements torch.txt .
RUN python -m venv --without-pip /opt/gaze \
 && pip --python /opt/gaze/bin/python install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch.txt
COPY --from=requirements requirements.txt .
RUN pip --python /opt/gaze/bin/python install --no-cache-dir -r requirements.txt \
 && rm -rf /opt/gaze/lib/python3.11/site-packages/torch/include

FROM base AS code
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY models/ models/
COPY lists/ lists/
COPY service/ service/
RUN pip install --no-cache-dir --no-deps --target /app . \
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
COPY --from=code /app /app
USER 10001:10001
RUN if [ -n "$GAZE_MODEL" ]; then HF_HUB_OFFLINE=0 gaze prepare; fi

FROM runtime AS cuda
ENV GAZE_DEVICE=cuda
COPY --from=packages-cuda /opt/gaze /opt/gaze
COPY --from=code /app /app
USER 10001:10001
# No GPU is here to encode the lists with; the start does that in seconds.
RUN if [ -n "$GAZE_MODEL" ]; then HF_HUB_OFFLINE=0 gaze prepare --model-only; fi
