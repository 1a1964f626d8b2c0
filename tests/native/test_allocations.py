"""A training step allocates nothing: calls of the C library's allocator and of mmap are counted while steps run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/mman.h>
static long calls;
long allocations(void) { return __atomic_load_n(&calls, __ATOMIC_SEQ_CST); }
#define COUNT __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST)
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
void *malloc(size_t n) { COUNT; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { COUNT; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { COUNT; return __libc_realloc(p, n); }
void *aligned_alloc(size_t a, size_t n) { COUNT; return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) { COUNT; *p = __libc_memalign(a, n); return *p ? 0 : 12; }
void *mmap(void *a, size_t n, int p, int f, int d, off_t o) {
  COUNT;
  return ((void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap"))(a, n, p, f, d, o);
}
"""

STEPS = """
import ctypes, sys
import numpy as np
import foveal as fv
from foveal.models import build

count = ctypes.CDLL(None).allocations
count.restype = ctypes.c_long
count()  # the first call of anything through ctypes allocates
for name in ("lenet", "vgg", "resnet"):
    net = build(name, 10, input_shape=(3, 32, 32), width=0.25)
    plan = fv.Plan(net, (3, 32, 32), 8, fv.Momentum(), threads=2)
    x, y = np.zeros((8, 3, 32, 32), np.float32), np.arange(8)
    plan.train_step(x, y, 0.01)
    run, steps = plan._training._native.run, len(plan._training.steps)
    arguments = (0, steps, 2, 8, 0.01, 1, 0, 0, 0)
    for _ in range(3):
        run(*arguments)
    before = count()
    for _ in range(20):
        run(*arguments)
    print(name, count() - before)
before = count()
np.zeros(1 << 20)
print("an array", count() - before)
"""


def test_a_step_allocates_nothing(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("g++")
    assert compiler, "a C compiler is needed, as for foveal itself"
    source, library = tmp_path / "count.c", tmp_path / "count.so"
    source.write_text(COUNTER)
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    done = subprocess.run([sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=True)
    found = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert {name: int(found[name]) for name in ("lenet", "vgg", "resnet")} == {"lenet": 0, "vgg": 0, "resnet": 0}
    assert int(found["an array"]) > 0  # what is counted
