# The image of one model container. docs/docker.md tells how it is used and how it was checked.
#
#   docker build -t mistk-service .
#   docker run --rm -p 127.0.0.1:8080:8080 mistk-service

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# --- build: an environment that is copied as a whole --------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# What the project depends on comes first, so that a change of its code does not download it again.
COPY pyproject.toml ./
RUN python -m venv /opt/mistk \
    && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; x = p['optional-dependencies']; print(*p['dependencies'], *x['plugins'], *x['fast'], sep='\n')" > requirements.txt \
    && /opt/mistk/bin/python -m pip install --requirement requirements.txt

COPY README.md LICENSE ./
COPY api api
COPY plugins plugins
COPY mistk_service mistk_service
RUN /opt/mistk/bin/python -m pip install --no-deps . \
    && /opt/mistk/bin/python -m compileall -q plugins

# --- the image ----------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="mistk-service" \
      org.opencontainers.image.description="One machine-learning model behind an HTTP lifecycle API" \
      org.opencontainers.image.licenses="Apache-2.0"

# Writable by whatever user the container runs as, like /tmp: models, predictions and the state of the service go there.
RUN mkdir -m 1777 /data

COPY --from=build /opt/mistk /opt/mistk
COPY --from=build /src/plugins /app/plugins

# The model: chosen when the image is built (--build-arg MISTK_MODEL=...) or when it is run (-e MISTK_MODEL=...).
ARG MISTK_MODEL=/app/plugins/digits/model.py:Digits
# Nothing is written outside /data and /tmp, so the root can be read-only; HOME is for libraries that insist on one.
ENV MISTK_MODEL=${MISTK_MODEL} \
    MISTK_HOST=0.0.0.0 \
    MISTK_PORT=8080 \
    PATH=/opt/mistk/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /data
VOLUME /data
EXPOSE 8080
# Any other works as well: --user, or the one that a platform makes up.
USER 65532:65532

# Straight to the service, whatever proxy the environment names.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['MISTK_PORT'] + '/healthz', timeout=2)"]

# The service is process 1 and gets SIGTERM itself.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mistk-service"]
CMD ["serve"]
