#!/usr/bin/env bash
# The same bits on ARM: under qemu-aarch64 with NEON, every compute kernel's cases give the contents, and networks the
# hashes, of AVX2 and AVX-512.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON="${PYTHON:-.venv/bin/python}"
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v "$tool" >/dev/null || { echo "neon.sh needs $tool: sudo apt-get install g++-aarch64-linux-gnu qemu-user"; exit 1; }
done
BUILD="$(mktemp -d)"
trap 'rm -rf "$BUILD"' EXIT
passed=0

build() {  # name, further options
  local name="$1"
  shift
  "$PYTHON" -m cmake -S . -B "$BUILD/$name" -DFOVEAL_PYTHON=OFF -DFOVEAL_DRIVER=ON "$@" >/dev/null
  "$PYTHON" -m cmake --build "$BUILD/$name" -j2 >"$BUILD/$name.log" 2>&1 || { cat "$BUILD/$name.log"; exit 1; }
}

build here
build arm -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static
"$PYTHON" tests/native/record_cases.py "$BUILD/networks" networks
ISAS="$("$PYTHON" -c 'from foveal.kernels import available_isas; print(*[i for i in available_isas() if i.startswith("avx")])')"
for program in "$BUILD"/networks/*.program; do
  name="$(basename "$program" .program)"
  arm="$(qemu-aarch64 "$BUILD/arm/foveal_driver" --isa neon --threads 2 "$program" | cut -d' ' -f1)"
  for isa in $ISAS; do
    here="$("$BUILD/here/foveal_driver" --isa "$isa" --threads 2 "$program" | cut -d' ' -f1)"
    echo "$name: neon $arm, $isa $here"
    [ "$arm" = "$here" ] || { echo "$name: other bits on neon than on $isa"; exit 1; }
    passed=$((passed + 1))
  done
done
[ "$passed" -gt 0 ]

"$PYTHON" -m pytest -q tests/native/test_kernels.py -k equals_its_definition --record-kernels "$BUILD/kernels" | tail -1
rm "$BUILD"/kernels/softmax_cross_entropy-infinity_shows.*  # the sign of the NaN that is inf - inf is the processor's
for isa in $ISAS; do
  qemu-aarch64 "$BUILD/arm/foveal_driver" --isa neon --threads 2 "$BUILD"/kernels/*."$isa" >"$BUILD/kernels.txt"
  count=$(wc -l <"$BUILD/kernels.txt")
  echo "compute kernels: neon as $isa in $count cases"
  passed=$((passed + count))
done
echo "$passed passed, 0 failed"
