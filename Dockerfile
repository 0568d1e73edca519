# Two images: `web` (pages, API, dashboards; no torch) and `worker` (worker and maintenance). docs/deploy.md says how
# they are built; docker-compose.yml says which command runs where.

FROM python:3.11-slim-bookworm AS base
# tini reaps what runs leave behind
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 assay \
    && useradd --uid 10001 --gid assay --home-dir /var/lib/assay --no-create-home --shell /usr/sbin/nologin assay \
    && mkdir -p /var/lib/assay/cache /media /data /backup \
    && chown assay:assay /var/lib/assay /var/lib/assay/cache /media /data /backup
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 ASSAY_HOME=/var/lib/assay MEDIA_ROOT=/media DATA_ROOT=/data
WORKDIR /app
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--"]

# What pyproject.toml asks for without its extra `worker`, at the locks' versions
FROM python:3.11-slim-bookworm AS web-packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY pyproject.toml requirements.lock requirements-dev.lock ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], *project['optional-dependencies']['s3'], sep='\n')" > web.txt \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --quiet --constraint requirements-dev.lock --requirement web.txt

# All of the lock. TORCH_INDEX: an index that has the build of torch you want, such as PyTorch's own of CPU builds;
# without it torch comes from where everything comes from (on Linux the CUDA build, which is larger by gigabytes)
FROM web-packages AS worker-packages
ARG TORCH_INDEX=
RUN grep '^torch==' requirements.lock > torch.txt \
    && /opt/venv/bin/pip install --quiet --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --requirement torch.txt \
    && /opt/venv/bin/pip install --quiet --requirement requirements.lock

FROM base AS web
COPY --from=web-packages /opt/venv /opt/venv
COPY manage.py ./
COPY platform platform
COPY tasks tasks
COPY dashboards dashboards
RUN python -m compileall -q platform tasks dashboards
ARG COMMIT=
ENV ASSAY_COMMIT=$COMMIT
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "assay.wsgi", "--chdir", "/app/platform", "--config", "/app/platform/assay/monitoring/gunicorn.py", \
     "--bind", "0.0.0.0:8000", "--worker-class", "gthread", \
     "--workers", "2", "--threads", "8", "--timeout", "60", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"]

FROM base AS worker
# PostgreSQL's client programs are for `manage.py backup` and `restore`
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
COPY --from=worker-packages /opt/venv /opt/venv
COPY manage.py ./
COPY engines engines
COPY platform platform
COPY tasks tasks
COPY dashboards dashboards
RUN python -m compileall -q engines platform tasks dashboards
ARG COMMIT=
ENV ASSAY_COMMIT=$COMMIT
USER 10001:10001
CMD ["python", "manage.py", "worker"]
