"""Protects vectors that hold several small groups, whose lanes share what they read: without it,
repeated elements and convolutions with few features a group are slow, or read their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from tests.util import check_compiled

DTYPES = ["float32", "float64", "bfloat16", "float16", "int8", "int32", "bool", "complex64"]


def array(*shape: int, dtype: str = "float32") -> Any:
    """Small whole numbers, of which sums and products are exact."""
    return jnp.asarray(np.random.default_rng(len(shape)).integers(-2, 3, shape), dtype)


def text(f: Callable, *args: Any) -> str:
    return nr.jit(f).lower(*args).as_text("loops")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("times", [2, 3, 4, 5, 6, 7, 8, 12, 16, 32])
def test_repeated_elements(times: int, dtype: str) -> None:
    for n in (1, 5, 16, 33, 200, 240):
        x = array(n, dtype=dtype)
        check_compiled(lambda x: jnp.repeat(x, times), x)
        check_compiled(lambda x: jnp.repeat(x[::-1], times)[3:] * x[0], x)


@pytest.mark.parametrize("times", [2, 4])
def test_repeated_elements_share_a_vector(times: int) -> None:
    lowered = nr.jit(lambda x: jnp.repeat(x, times) + 1).lower(array(1000))
    assert f"in0[(i0 // {times})]" in lowered.as_text("loops")
    assert "gather" not in lowered.as_text("llvm")


def test_repeated_complex_numbers_of_double_precision() -> None:
    with nr.enable_x64(True):
        x = array(40, dtype="complex128") * (1 + 2j)
        for times in (2, 4):
            check_compiled(lambda x, times=times: jnp.repeat(x, times) * 2, x)


def test_repeated_elements_beside_others() -> None:
    """Reads of the whole, guarded reads, and sums over what is repeated."""
    x, y = array(60), array(240)
    check_compiled(lambda x, y: jnp.repeat(x, 4) * y + jnp.pad(jnp.repeat(x, 2), (100, 20)), x, y)
    check_compiled(lambda x, y: (jnp.repeat(x, 4) * y).sum(), x, y)
    check_compiled(nr.grad(lambda x, y: (jnp.repeat(x, 4) * y).sum(), (0, 1)), x, y)
    check_compiled(lambda x, y: jnp.repeat(x, 4)[y.astype(int) + 2], x, y)
    check_compiled(lambda x: jnp.repeat(jnp.repeat(x.reshape(6, 10), 2, 0), 2, 1), x)


@pytest.mark.parametrize("times", [2, 3, 4, 7, 8])
def test_conditions_that_differ_within_a_group(times: int) -> None:
    """An element is read for all lanes of its group of which one is within the condition."""
    x = array(61)
    for move in (1, 3, -5):
        check_compiled(lambda x, move=move: jnp.roll(jnp.repeat(x, times), move) * 2, x)
        check_compiled(lambda x, move=move: jnp.pad(jnp.repeat(x, times), (move % 7, 2))[1:], x)
    a = array(61)[::-1]
    check_compiled(lambda x, a: jnp.stack([x, a], 1).reshape(-1) + 1, x, a)
    lhs, rhs = array(3, 2, 11, 13), array(4, 2, 3, 4)
    check_compiled(
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), [(2, 2), (1, 2)], lhs_dilation=(1, 2)),
        lhs, rhs,
    )  # fmt: skip


def convolved(groups: int, **options: Any) -> Callable:
    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, padding="SAME", feature_group_count=groups,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), **{"window_strides": (1, 1), **options},
        )  # fmt: skip

    return f


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    ("each", "results"),
    [(2, 2), (4, 4), (2, 4), (4, 2), (3, 3), (2, 3), (3, 6), (6, 3), (5, 5), (6, 6), (8, 8)],
)
def test_convolutions_of_small_groups(each: int, results: int, dtype: str) -> None:
    for groups in (4, 9, 16):
        x = array(2, 12, 17, groups * each, dtype=dtype)
        w = array(3, 3, each, groups * results, dtype=dtype)
        f = convolved(groups)
        check_compiled(f, x, w)
        if dtype != "bfloat16":  # sums of more than 256 are rounded

            def both(x: Any, w: Any, f: Callable = f) -> Any:
                return nr.grad(lambda x, w: (f(x, w) * 2).sum(), (0, 1))(x, w)

            check_compiled(both, x, w)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (2, 2)},
        {"window_strides": (2, 1), "rhs_dilation": (1, 2)},
        {"padding": [(3, 0), (-1, 2)]},
    ],
)
def test_small_groups_with_strides_and_padding(options: dict) -> None:
    f = convolved(8)
    if "padding" in options:

        def f(x: Any, w: Any) -> Any:
            return lax.conv_general_dilated(
                x, w, (1, 1), options["padding"], feature_group_count=8,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )  # fmt: skip
    else:
        f = convolved(8, **options)
    x, w = array(3, 14, 15, 32), array(3, 3, 4, 32)
    check_compiled(f, x, w)
    check_compiled(nr.grad(lambda x, w: (f(x, w) * f(x, w)).sum(), (0, 1)), x, w)


def test_small_groups_share_vectors() -> None:
    """On any machine of 8 lanes or more; those that do not divide a vector leave some of it."""
    loops = text(convolved(16), array(4, 32, 32, 32), array(3, 3, 2, 32))
    assert "(i3 // 2)" in loops, loops
    lowered = nr.jit(lambda x: jnp.repeat(x, 3) + 1).lower(array(240))
    assert "(i0i // 3)" in lowered.as_text("loops"), lowered.as_text("loops")
    assert "gather" not in lowered.as_text("llvm")
