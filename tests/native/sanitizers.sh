#!/usr/bin/env bash
# Every compute kernel's cases and small networks under AddressSanitizer and UBSan; the thread pool and whole networks
# under ThreadSanitizer. Both by driver.cc.
set -euo pipefail
cd "$(dirname "$0")/../.."
PYTHON="${PYTHON:-.venv/bin/python}"
BUILD="$(mktemp -d)"
trap 'rm -rf "$BUILD"' EXIT
passed=0

build() {  # name, sanitizers
  "$PYTHON" -m cmake -S . -B "$BUILD/$1" -DFOVEAL_PYTHON=OFF -DFOVEAL_DRIVER=ON -DFOVEAL_SANITIZE="$2" >/dev/null
  "$PYTHON" -m cmake --build "$BUILD/$1" -j2 >"$BUILD/$1.log" 2>&1 || { cat "$BUILD/$1.log"; exit 1; }
}

"$PYTHON" -m pytest -q tests/native/test_kernels.py -k equals_its_definition --record-kernels "$BUILD/kernels" | tail -1
"$PYTHON" tests/native/record_cases.py "$BUILD/cases" cases
"$PYTHON" tests/native/record_cases.py "$BUILD/networks" networks
ISAS="$("$PYTHON" -c 'from foveal.kernels import available_isas; print(*available_isas()[:-1])')"

export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:exitcode=66
build memory address,undefined
for isa in $ISAS; do
  "$BUILD/memory/foveal_driver" --isa "$isa" --threads 2 "$BUILD"/kernels/*."$isa" "$BUILD"/cases/*.program \
    >"$BUILD/memory-$isa.txt"
  count=$(wc -l <"$BUILD/memory-$isa.txt")
  echo "ASan and UBSan, $isa: $count programs clean"
  passed=$((passed + count))
done

build threads thread
for isa in $ISAS; do
  "$BUILD/threads/foveal_driver" --isa "$isa" --threads 3 "$BUILD"/networks/*.program >"$BUILD/threads-$isa.txt"
  count=$(wc -l <"$BUILD/threads-$isa.txt")
  echo "TSan, 3 threads, $isa: $count programs clean"
  passed=$((passed + count))
done
echo "$passed passed, 0 failed"
