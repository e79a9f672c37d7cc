# One image for all three services; compose.yaml says which one each container runs.
FROM python:3.12-slim AS build
WORKDIR /desk
RUN python -m venv /venv
COPY requirements.lock .
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY shared shared
COPY services services
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/desk --create-home desk
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DESK_HOME=/var/lib/desk
USER desk
WORKDIR /var/lib/desk
VOLUME /var/lib/desk
ENTRYPOINT ["desk"]
CMD ["--help"]
