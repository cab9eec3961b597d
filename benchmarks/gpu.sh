#!/usr/bin/env bash
# Training, forecasts, 100 m maps and filling on a GPU, in under eight minutes: one table in docs/gpu.md.
# Figures a second, memory on the GPU, share of its measured peak, each beside plain PyTorch on it.
#
#   bash benchmarks/gpu.sh
#   bash benchmarks/gpu.sh --device cpu --quick --out /tmp/gpu.md   (to see that all runs)
#
# Wants vadose installed (make .venv/ready, with a torch for CUDA).
set -euo pipefail
cd "$(dirname "$0")/.."
ROWS=(convlstm-training mmnet-training long-memory-training conus-day maps fill-station)
timeout 470 "${PYTHON:-.venv/bin/python}" -m benchmarks.speed --device cuda --only "${ROWS[@]}" --out docs/gpu.md "$@"
