# One image for web, worker and maintenance; compose says which command runs.

FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --quiet --requirement /tmp/requirements.lock

FROM python:3.11-slim-bookworm
# tini reaps what runs leave behind; PostgreSQL's client programs are for `manage.py backup` and `restore`
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends postgresql-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 assay \
    && useradd --uid 10001 --gid assay --home-dir /var/lib/assay --no-create-home --shell /usr/sbin/nologin assay \
    && mkdir -p /var/lib/assay /data \
    && chown assay:assay /var/lib/assay /data
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 ASSAY_HOME=/var/lib/assay DATA_ROOT=/data
ARG COMMIT=
ENV ASSAY_COMMIT=$COMMIT
WORKDIR /app
COPY manage.py pyproject.toml ./
COPY engines engines
COPY platform platform
COPY tasks tasks
COPY dashboards dashboards
RUN python -m compileall -q engines platform tasks dashboards
USER 10001:10001
VOLUME /var/lib/assay
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--"]
CMD ["gunicorn", "assay.wsgi", "--chdir", "/app/platform", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", \
     "--workers", "2", "--threads", "8", "--timeout", "60", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"]
