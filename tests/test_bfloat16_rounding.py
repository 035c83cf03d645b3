"""Without this, compiled code could round to bfloat16 wrongly, most likely subnormal numbers."""

from __future__ import annotations

from functools import partial
from unittest import mock

import ml_dtypes
import numpy as np
import pytest

from nr.backends.compiler.emission import emit_kernel
from nr.backends.cpu.target import target
from tests import native_kernels

WAYS = {"by bits": (False, 16), "by the processor": (True, 16), "four vectors": (True, 64)}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def rounded(request):
    """Rounds an array of float32; the bits of the bfloat16s."""
    native, width = request.param
    if native and not target().rounds_bfloat:
        pytest.skip("this processor does not round to bfloat16")
    emit = partial(emit_kernel, rounds_bfloat=native)

    def run(x: np.ndarray) -> np.ndarray:
        with mock.patch.object(native_kernels, "emit_kernel", emit):
            return native_kernels.evaluate(lambda x: x, x, out="bf16", width=width)

    return run


def _numbers(low: int) -> np.ndarray:
    """All upper halves of float32s, with one lower half."""
    return (np.arange(1 << 16, dtype=np.uint32) << 16 | np.uint32(low)).view(np.float32)


@pytest.mark.parametrize("low", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_all_upper_halves_are_rounded_to_nearest_even(rounded, low):
    x = _numbers(low)
    with np.errstate(invalid="ignore"):
        expected = x.astype(ml_dtypes.bfloat16).view(np.uint16)
    got, number = rounded(x).view(np.uint16), ~np.isnan(x)
    np.testing.assert_array_equal(got[number], expected[number])
    # A NaN stays one, with its sign.
    assert ((got[~number] & 0x7FFF) > 0x7F80).all()
    np.testing.assert_array_equal(got[~number] >> 15, expected[~number] >> 15)


def test_a_single_subnormal_of_a_vector_is_kept(rounded):
    x = np.linspace(-3, 3, 16 * 16, dtype=np.float32).reshape(16, 16)
    np.fill_diagonal(x, -(2.0**-130))
    got = rounded(x.reshape(-1)).view(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(got, x.reshape(-1).astype(ml_dtypes.bfloat16))
