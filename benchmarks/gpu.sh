#!/usr/bin/env bash
# Every figure of a GPU in one call of under ten minutes: training of both networks, forecasts of CONUS (network, and cube to store), 100 m maps.
# Prints Markdown tables.
#
#   bash benchmarks/gpu.sh > gpu.md
#
# Wants vadose installed (make .venv/ready, with a torch for CUDA) and says so on standard error where there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
if ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "torch $("$PYTHON" -c 'import torch; print(torch.__version__)') finds no CUDA device: not measured" >&2
    exit 2
fi
"$PYTHON" -c 'import torch; print("#", torch.cuda.get_device_name(), "torch", torch.__version__)'
run() {
    printf '\n    %s\n\n' "$*"
    timeout 115 "$PYTHON" "$@"
}
run benchmarks/convlstm_training.py --device cuda --batch 32 --steps 20 --compile
run benchmarks/convlstm_training.py --device cuda --batch 1024 --steps 10 --compile
run benchmarks/full_map.py --device cuda --conus --tile 512 --ways whole tiles --steps 3
run benchmarks/conus_day.py --ways tiles --precisions float32 bfloat16
run benchmarks/downscaling_speed.py --device cuda --edge 2048 --compile
run benchmarks/mmnet_training.py --steps 100
