"""The op case: one use of an operation, from which four suites make their tests; and samplers."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nr.core.dtypes import DTYPES

FLOATS = ("float32", "float64", "bfloat16")
INTS = ("int32", "int64", "int8", "uint8")
BOOL = ("bool",)
COMPLEX = ("complex64", "complex128")

# Every sample is drawn from this; NR_TEST_SEED draws others.
SEED = int(os.environ.get("NR_TEST_SEED", "0"))


@dataclass(frozen=True)
class OpCase:
    """One use of an operation.

    Args:
        name: unique; the test's id.
        fun: what is tested, a function of arrays that gives arrays.
        args: ``(rng, dtype) -> args``, NumPy arrays; called anew for each lane of a batch.
        reference: the same function in NumPy. It may compute in a wider dtype of the kind.
        dtypes: names of the dtypes to test.
        grad: whether to check derivatives: with respect to all floating arguments, or to those
            whose positions are given.
        tol: relative and absolute tolerance by dtype name, where the usual one does not fit.
        batch: whether to check vmap.
        primitive: the primitive that the case is about.
    """

    name: str
    fun: Callable[..., Any]
    args: Callable[[np.random.Generator, np.dtype], tuple]
    reference: Callable[..., Any]
    dtypes: tuple[str, ...]
    grad: bool | tuple[int, ...] = True
    tol: Mapping[str, float] = field(default_factory=dict)
    batch: bool = True
    primitive: str | None = None

    def samples(self, dtype: str, count: int) -> list[tuple]:
        """Several tuples of arguments, always the same ones for a case and a dtype."""
        rng = np.random.default_rng([SEED, zlib.crc32(f"{self.name} {dtype}".encode())])
        return [tuple(np.asarray(x) for x in self.args(rng, DTYPES[dtype])) for _ in range(count)]


# ---------------------------------------------------------------- samplers
def normal(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers, complex ones for complex dtypes."""
    x = np.asarray(rng.standard_normal(shape))
    if np.dtype(dtype).kind == "c":
        x = x + 1j * np.asarray(rng.standard_normal(shape))
    return np.asarray(x).astype(dtype)


def positive(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between 1/4 and 5/2."""
    return np.asarray(rng.uniform(0.25, 2.5, shape)).astype(dtype)


def unit(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers between -1 and 1."""
    return np.asarray(rng.uniform(-1, 1, shape)).astype(dtype)


def integers(
    rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], low: int, high: int
) -> np.ndarray:
    """Integers from low to high, without high."""
    return np.asarray(rng.integers(low, high, shape)).astype(dtype)


def booleans(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """False and True, equally often."""
    return np.asarray(rng.integers(0, 2, shape)).astype(bool)


def distinct(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of either sign at least 1/4 apart, exact in every floating dtype."""
    count = int(np.prod(shape))
    return ((rng.permutation(count) - count // 2) * 0.25).reshape(shape).astype(dtype)
