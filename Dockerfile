# The image of one model container. docs/howto/run-the-image.md says how to use it and what was tested.
#
#   docker build -t mistk-service .
#   docker run --rm -v models:/data mistk-service token new me --role admin
#   docker run --rm -v models:/data -p 127.0.0.1:8080:8080 mistk-service

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# --- tools: what installs and builds; nothing of it gets into the image --------------------------------------------
FROM ${PYTHON_IMAGE} AS tools

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/python -m pip install --require-hashes --requirement requirements/build.txt

# --- dependencies: an environment without the project, so that a change of its code does not touch this layer --------
FROM tools AS dependencies

# The extras of pyproject.toml that the image has: artifacts, fast, grpc, images, plugins, postgres, system.
ARG EXTRAS="fast plugins system"
# With true, packages of the base image can be imported, such as the torch of a GPU base.
ARG SYSTEM_SITE_PACKAGES=false
# With false, nothing can be installed on top of the image.
ARG WITH_PIP=true
COPY requirements requirements
RUN if [ "$SYSTEM_SITE_PACKAGES" = true ]; then set -- --system-site-packages; else set --; fi \
    && python -m venv --without-pip "$@" /opt/mistk \
    && set -- --requirement requirements/base.txt --requirement requirements/init.txt \
    && for extra in $EXTRAS; do set -- "$@" --requirement "requirements/$extra.txt"; done \
    && if [ "$WITH_PIP" = true ]; then set -- "$@" --requirement requirements/pip.txt; fi \
    && /opt/tools/bin/python -m pip --python /opt/mistk/bin/python install --require-hashes "$@"

# --- code: the project alone, laid out as it goes over that environment ----------------------------------------------
FROM tools AS code

COPY --from=dependencies /opt/mistk /opt/mistk
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY plugins plugins
COPY mistk_service mistk_service
RUN /opt/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/tools/bin/python -m pip --python /opt/mistk/bin/python install --no-deps --no-index --ignore-installed \
        --prefix /code /wheels/*.whl \
    && /opt/mistk/bin/python -m compileall -q plugins \
    && mkdir -p /code/share/sbom \
    && /opt/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
        --output-file /code/share/sbom/mistk-service.cdx.json /opt/mistk/bin/python

# --- the image ----------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}

# Writable by whatever user the container runs as, like /tmp: models, predictions and the state of the service go there.
RUN mkdir -m 1777 /data

# Python's official images leave out the bytecode of the standard library. Each process, and each health check, would compile it.
RUN python -c "import compileall, re, sysconfig; compileall.compile_dir(sysconfig.get_path('stdlib'), quiet=2, rx=re.compile('/(site-packages|tests?)/'))"

COPY --from=dependencies /opt/mistk /opt/mistk
COPY --from=code /code /opt/mistk
COPY --from=code /src/plugins /app/plugins

# The model: chosen when the image is built (--build-arg MISTK_MODEL=...) or when it is run (-e MISTK_MODEL=...).
ARG MISTK_MODEL=/app/plugins/digits/model.py:Digits
# Nothing is written outside /data and /tmp, so the root can be read-only; HOME is for libraries that insist on one.
# A model can be named by its module, package.module:Class, if the package is in /app.
ENV MISTK_MODEL=${MISTK_MODEL} \
    MISTK_HOST=0.0.0.0 \
    MISTK_PORT=8080 \
    MISTK_STATE_DIR=/data/mistk-state \
    MISTK_DATA_ROOT=/data \
    MISTK_MODEL_ROOT="/data /app" \
    MISTK_OUTPUT_ROOT=/data \
    PATH=/opt/mistk/bin:$PATH \
    PYTHONPATH=/app \
    HOME=/tmp \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /data
VOLUME /data
EXPOSE 8080
# Any other works as well: --user, or the one that a platform makes up.
USER 65532:65532

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["mistk-service", "health"]

# Process 1 is an init: it passes SIGTERM on from its first moment, when Python would not hear it yet, and reaps orphans.
STOPSIGNAL SIGTERM
ENTRYPOINT ["dumb-init", "--single-child", "--", "mistk-service"]
CMD ["serve"]

# Last, since they differ with every build: make image fills them in.
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="mistk-service" \
      org.opencontainers.image.description="One machine-learning model behind an HTTP lifecycle API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
