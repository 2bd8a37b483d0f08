# syntax=docker/dockerfile:1
# asr-batch in a container, for amd64 and arm64; docs/containers.md says how it is used.
#   docker build --tag asr-batch .
#   docker build --tag asr-batch-ray --target ray .       (what KubeRay needs on top)
ARG PYTHON=3.13-slim-trixie

# The kernels in C are compiled here, for the machine that the image is built for; no compiler in what runs.
FROM python:${PYTHON} AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /opt/asr-batch \
 && /opt/asr-batch/bin/pip install --no-cache-dir --require-hashes --requirement requirements/run.txt
COPY . .
RUN /opt/asr-batch/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:${PYTHON} AS base
# A user without rights, of a number that volumes can be made for.
RUN groupadd --gid 10001 asr \
 && useradd --uid 10001 --gid asr --create-home --home-dir /home/asr asr \
 && install --directory --owner asr --group asr /models /data /home/asr/.cache /home/asr/.cache/asr-batch \
 && ln --symbolic /models /home/asr/.cache/asr-batch/models
COPY --from=build /opt/asr-batch /opt/asr-batch
ENV PATH=/opt/asr-batch/bin:$PATH \
    HOME=/home/asr \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
WORKDIR /data
VOLUME ["/models"]
# SIGTERM, which `docker stop` sends, has a job commit what is finished; give it more than the usual 10 seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5m --timeout=60s --start-period=60s --retries=2 CMD ["asr-batch", "doctor"]
ENTRYPOINT ["asr-batch"]
CMD ["--help"]

# Ray's dashboard, through which KubeRay submits jobs, and no entry point: KubeRay writes its own command.
FROM base AS ray
USER 0:0
# KubeRay's probes call wget.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends wget \
 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir "ray[default]==$(python -c 'import importlib.metadata as m; print(m.version("ray"))')"
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT []
CMD ["asr-batch", "--help"]

FROM base AS final
