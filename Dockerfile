# The proxy as an image. `docker build .` makes prod; --target chooses another stage:
#
#   prod      the proxy alone, for a llama-server that runs elsewhere
#   embedded  the proxy with llama.cpp in it: UPSTREAM=demo: or UPSTREAM=llama:/models/MODEL.gguf
#   dev       the sources and every tool of the tests: docker run --rm IMAGE scripts/test

# the oldest Python that the project supports, and so the one that its tests run with
FROM python:3.11-slim-bookworm AS base
# what is printed is seen at once
ENV PYTHONUNBUFFERED=1

# ---------------------------------------------------------------- what is installed

FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /tools
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY twisted twisted
COPY copilot_proxy copilot_proxy
# The environment gets wheels alone and no pip. Twisted lists its plugins in dropin.cache, and cannot write that
# when it runs: so it does now.
RUN /tools/bin/pip wheel --no-deps --wheel-dir /wheels . \
    && python3 -m venv --without-pip /opt/copilot-proxy \
    && /tools/bin/pip --python /opt/copilot-proxy/bin/python install --only-binary :all: /wheels/*.whl \
    && /opt/copilot-proxy/bin/python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))" \
    && test -s /opt/copilot-proxy/lib/python3*/site-packages/twisted/plugins/dropin.cache

FROM build AS build-embedded
# the demo model is written now as well: who runs the image may write nowhere
RUN /tools/bin/pip --python /opt/copilot-proxy/bin/python install --only-binary :all: "$(ls /wheels/*.whl)[embedded]"
RUN XDG_CACHE_HOME=/opt/cache /opt/copilot-proxy/bin/python -c \
    "from copilot_proxy.embedded.tiny.writer import cached; print(cached())"

# ---------------------------------------------------------------- how it runs

FROM base AS runtime
LABEL org.opencontainers.image.title="copilot-proxy" \
    org.opencontainers.image.description="The bridge between coding assistants that speak Ollama's API and llama.cpp" \
    org.opencontainers.image.version="1.0.0" \
    org.opencontainers.image.licenses="MIT"
# 127.0.0.1 would be the container's own: what reaches the port is for `docker run --publish` to say
ENV PATH=/opt/copilot-proxy/bin:$PATH \
    LISTEN_PORT=11434 \
    LISTEN_INTERFACE=0.0.0.0 \
    UPSTREAM=http://host.docker.internal:11433
EXPOSE 11434
# a number, by which Kubernetes can tell that it is not root
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGTERM
# It asks /health/live: what llama-server does is no reason to start the proxy again. A proxy that ends its last
# streams takes no connections: whoever kills what is unhealthy (podman's --health-on-failure, Swarm) must not do
# so before --drain is over and a llama.cpp in the image has ended: only the fifth failure in a row, 40 s, counts.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=5 CMD ["python", "-m", "copilot_proxy.status.probe"]
# without a terminal, twist would log JSON
ENTRYPOINT ["twist", "--log-format=text", "copilot-proxy"]

# ---------------------------------------------------------------- the images

FROM base AS dev
# llama.cpp computes with OpenMP; the examples of the README are tried with curl; the others are those of
# scripts/setup, which only root can install
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 curl systemd nginx haproxy caddy nodejs npm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN chown 10001:10001 /src
USER 10001:10001
ENV HOME=/tmp PIP_NO_CACHE_DIR=1
COPY --chown=10001:10001 . .
RUN scripts/setup test
CMD ["scripts/test"]

FROM runtime AS embedded
USER 0
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
USER 10001:10001
ENV UPSTREAM=demo: XDG_CACHE_HOME=/opt/cache
COPY --from=build-embedded /opt /opt

FROM runtime AS prod
COPY --from=build /opt/copilot-proxy /opt/copilot-proxy
