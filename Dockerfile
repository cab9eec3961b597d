# vadose with what learns and GRIB, torch for the CPU: docker build --tag vadose .
# CPU_INDEX: address of PyTorch's wheels for the CPU, see docs/install.md; without it torch brings CUDA, gigabytes more.
FROM python:3.13-slim AS build
ARG CPU_INDEX=""
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/vadose \
    && /opt/vadose/bin/pip install --no-cache-dir ${CPU_INDEX:+--index-url "$CPU_INDEX"} "torch>=2.6" \
    && /opt/vadose/bin/pip install --no-cache-dir ".[learn,grib]"

FROM python:3.13-slim
# rasterio's wheels need expat of the system.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --no-install-recommends --yes libexpat1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/vadose /opt/vadose
ENV PATH=/opt/vadose/bin:$PATH HOME=/tmp
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["vadose"]
CMD ["--help"]
