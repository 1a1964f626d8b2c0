"""The compute kernels: the one list (`native/kernels.def`), the instruction sets they exist for, and the machine."""

from foveal.kernels.catalog import KERNELS, Field, KernelSpec, kernel_names, native_program
from foveal.kernels.machine import REFERENCE, available_isas, default_threads, resolve_isa, resolve_threads

__all__ = [
    "KERNELS",
    "REFERENCE",
    "Field",
    "KernelSpec",
    "available_isas",
    "default_threads",
    "kernel_names",
    "native_program",
    "resolve_isa",
    "resolve_threads",
]
