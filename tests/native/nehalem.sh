#!/usr/bin/env bash
# The wheel on a processor without AVX: a training under qemu-x86_64 -cpu Nehalem, with no illegal instruction.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON="${PYTHON:-.venv/bin/python}"
command -v qemu-x86_64 >/dev/null || { echo "nehalem.sh needs qemu-x86_64: sudo apt-get install qemu-user"; exit 1; }
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT

"$PYTHON" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$WORK" .
WHEEL="$(ls "$WORK"/foveal-*.whl)"
echo "wheel: $(du -k "$WHEEL" | cut -f1) KB"
"$PYTHON" -m venv "$WORK/venv"
"$WORK/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$WHEEL"
du -sm "$WORK"/venv/lib/python*/site-packages/* | sort -rn | head -8
ROOT="$PWD"
cd "$WORK"
REAL="$(readlink -f venv/bin/python)"
run() { PYTHONPATH="$(echo "$WORK"/venv/lib/python*/site-packages)" qemu-x86_64 -cpu Nehalem "$REAL" -S -m foveal "$@"; }
run info >info.txt
head -2 info.txt
run train digits --lr 0.02 --steps 3 --out run
test -s run/model.safetensors
cd "$ROOT"
echo "1 passed, 0 failed"
