# HLS as a container: any user but root, and nothing to write to but /data, which is its working folder.
#   docker build --build-arg COMMIT=$(git describe --always --dirty) --tag hls .
#   docker run --rm --read-only hls demo --once
# What a Claude key, a GitHub token or a webhook secret is comes from the environment, never from the image.

FROM python:3.11-slim-bookworm AS built
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
# What changes seldom comes first: with the same requirements these layers are taken from the cache.
COPY requirements-all.lock /tmp/
RUN /venv/bin/pip install --no-compile --require-hashes -r /tmp/requirements-all.lock \
    && /venv/bin/python -m compileall -q /venv/lib \
    && /venv/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim-bookworm
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONPATH=/app
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/* \
    && pip uninstall --yes pip setuptools wheel \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin hls \
    && mkdir --mode=1777 /data
COPY --from=built /venv /venv
COPY prompts/ /app/prompts/
COPY config/ /app/config/
COPY docs/ /app/docs/
COPY hls_handler/ /app/hls_handler/
COPY hls_sandbox/ /app/hls_sandbox/
ARG COMMIT=""
RUN echo "$COMMIT" > /app/hls_handler/commit.txt \
    && chmod -R a+rX,go-w /app && python -m compileall -q /app/hls_handler /app/hls_sandbox
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('HLS_PORT', '8000') + '/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "hls_handler"]
CMD ["serve"]
