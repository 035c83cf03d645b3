"""Without these, compiled code could write beyond its results, into other arrays' memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.cpu import memory
from tests.cases import ALL_CASES
from tests.util import arrays

_GUARD = 1 << 13  # bytes on either side
_FILL = 0xA5


class _Guarded:
    """Memory between guards."""

    def __init__(self) -> None:
        self.blocks: list[tuple[np.ndarray, int, int]] = []

    def _make(self, nbytes: int, align: int) -> np.ndarray:
        raw = np.full(nbytes + 2 * _GUARD + align, _FILL, np.uint8)
        begin = _GUARD + -(raw.ctypes.data + _GUARD) % align
        self.blocks.append((raw, begin, begin + nbytes))
        return raw[begin : begin + nbytes]

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return self._make(nbytes, 64).view(dtype).reshape(shape)

    def acquire(self, nbytes: int) -> memory.Block:
        block = self._make(nbytes, 4096)
        return memory.Block(block.ctypes.data, nbytes)

    def check(self) -> None:
        assert self.blocks, "nothing ran in this memory"
        for raw, begin, end in self.blocks:
            before, after = raw[:begin] != _FILL, raw[end:] != _FILL
            found = before.sum(), after.sum()
            assert found == (0, 0), f"{end - begin} bytes: {found} before and behind are written"


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Guarded]:
    """All results and temporaries of programs that are made in the test."""
    new = _Guarded()
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "empty", new.empty)
    monkeypatch.setattr(memory, "acquire", new.acquire)
    monkeypatch.setattr(memory, "release", lambda block: None)
    yield new


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case.name}-{dtype}")
        for case in ALL_CASES
        for dtype in dict.fromkeys([case.dtypes[0], case.dtypes[-1]])
    ],
)
def test_operations(case: Any, dtype: str, guarded: _Guarded) -> None:
    (args,) = case.samples(dtype, 1)
    nr.jit(lambda *args: case.fun(*args))(*arrays(args))
    guarded.check()


def _with_gradients(f: Callable, *args: Any) -> Any:
    return nr.jit(lambda *args: (f(*args), nr.vjp(f, *args)[1](f(*args))))(*args)


DTYPES = ["float32", "bfloat16", "float16"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("images", [1, 3, 10, 13, 15, 16, 17, 31])
@pytest.mark.parametrize("groups", [1, 16])
def test_convolutions(images: int, groups: int, dtype: str, guarded: _Guarded) -> None:
    """Of images whose number, and whose lines, are no whole tiles."""
    for size, window, stride in [((3, 9), (3, 3), 1), ((5, 17), (2, 4), 2), ((4, 4), (1, 3), 1)]:
        x, w = jnp.ones((images, *size, 16), dtype), jnp.ones((*window, 16 // groups, 16), dtype)

        def f(x: Any, w: Any, stride: int = stride) -> Any:
            return lax.conv_general_dilated(
                x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=groups,
            )  # fmt: skip

        _with_gradients(f, x, w)
    guarded.check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 15, 17, 50])
def test_products(m: int, dtype: str, guarded: _Guarded) -> None:
    for k, n in [(33, 47), (100, 130), (64, 257)]:
        _with_gradients(lambda a, b: a @ b, jnp.ones((m, k), dtype), jnp.ones((k, n), dtype))
        _with_gradients(lambda a, b: a @ b, jnp.ones((3, m, k), dtype), jnp.ones((3, k, n), dtype))
    guarded.check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 33, 1000])
def test_sorts_scans_and_transforms(n: int, dtype: str, guarded: _Guarded) -> None:
    x = jnp.ones((5, n), dtype)
    for f in (jnp.sort, jnp.argsort, jnp.cumsum, lambda x: lax.top_k(x, min(3, n))):
        nr.jit(f)(x)
    if dtype == "float32":
        nr.jit(jnp.fft.fft)(x)
        nr.jit(jnp.fft.rfft2)(x)
    guarded.check()
