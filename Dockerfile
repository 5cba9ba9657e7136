# Build: docker build -t ratelimit-gateway .
# Run:   docker run --rm -p 8080:8080 --read-only --tmpfs /tmp ratelimit-gateway
# Own policies: add `-v "$PWD/policies:/etc/gateway/policies:ro"` and `run -q --listen 0.0.0.0:8080 -p /etc/gateway/policies`.
#
# Extras: `--build-arg EXTRAS=jwt,oauth,otel` for callers with tokens (`type: jwt`), tokens for upstreams (`type: oauth2`), spans.
#
# `.ci/image` does what stands here in a bare Debian root, without a container engine.
#
# Debian slim, not Alpine: the embedded store has no build for musl.

FROM python:3.13-slim AS build
ARG EXTRAS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# Of an extra that does not exist pip only warns.
RUN python -c 'import sys, tomllib; \
    known = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
    unknown = {name.strip().lower() for name in sys.argv[1].split(",")} - {"", *known}; \
    sys.exit(f"EXTRAS: there is no {unknown}, but {[*known]}" if unknown else 0)' "$EXTRAS"
COPY config config
COPY policies policies
COPY gateway gateway
RUN python -m venv /opt/gateway \
 && /opt/gateway/bin/pip install --constraint config/constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
 && /opt/gateway/bin/gateway --version

FROM python:3.13-slim
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
# Asks the admin listener inside the container; it is not reachable from outside.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["gateway", "healthcheck"]
ENTRYPOINT ["gateway"]
CMD ["run", "--quiet", "--listen", "0.0.0.0:8080"]
