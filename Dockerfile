# One image for magms_predict, magms_serve and the other commands; see docs/container.md.
# TORCH_INDEX: the package index of the torch build to take, as PyTorch's installation page names it; empty: pip's
# default, which on Linux is a CUDA build that brings its own libraries.
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/magms \
    && /opt/magms/bin/pip install -c constraints.txt ${TORCH_INDEX:+--no-deps --index-url "$TORCH_INDEX"} torch
COPY . .
RUN /opt/magms/bin/pip install -c constraints.txt ".[serve,dicom]"

FROM python:3.11-slim-bookworm
COPY --from=build /opt/magms /opt/magms
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin magms
# Nothing is written but results and what lies in /tmp, so that the root file system can be read-only.
ENV PATH=/opt/magms/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /tmp
EXPOSE 8000
CMD ["magms_doctor"]
