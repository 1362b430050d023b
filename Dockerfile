FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/image.txt \
 && python -m venv /builder && /builder/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY consumer consumer
COPY schemas schemas
RUN /builder/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /venv/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 worker
COPY --from=build /venv /venv
USER worker
WORKDIR /home/worker
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
# Large batches that are written again wait here; on a read-only root ECS mounts it with the permissions of the image.
VOLUME ["/tmp"]
ENTRYPOINT ["call-consumer"]
CMD ["run"]
