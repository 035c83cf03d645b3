"""Without these tests products of half floats on a matrix unit could go wrong at rests of tiles,
for transposed operands, in batches or at borders, and nobody would see which way they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler import convolution as convolutions
from nr.backends.compiler import matmul
from nr.backends.compiler.lowering.amx import DOT, is_worth
from nr.backends.compiler.plan import Target
from nr.backends.cpu import llvm, program

rng = np.random.default_rng(0)
IMAGES = ("NHWC", "HWIO", "NHWC")
# Half an ulp of the result, and of each of the sums of float32 that it is made of.
HALF_ULP = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24}
FORMS = {
    "ab": (((1,), (0,)), "mk", "kn"), "aTb": (((0,), (0,)), "km", "kn"),
    "abT": (((1,), (1,)), "mk", "nk"), "aTbT": (((0,), (1,)), "km", "nk"),
}  # fmt: skip


def half(*shape: int, dtype: str = "bfloat16") -> Any:
    return jnp.asarray(rng.standard_normal(shape).astype(np.float32)).astype(dtype)


def exact(x: Any) -> np.ndarray:
    """An array's numbers in float64."""
    return np.asarray(x.astype("float32")).astype(np.float64)


def uses_matrix_unit(f: Any, *args: Any) -> bool:
    return " product(" in f.lower(*args).as_text("loops")


def has_matrix_unit(dtype: str, k: int, columns: int) -> bool:
    """Whether the processor has one that is faster than its products of float32."""
    name = {"bfloat16": "bf16", "float16": "f16"}[dtype]
    instruction = program.target().matrix_types.get(name)
    return instruction is not None and is_worth(instruction, k, columns)


def assert_product(out: Any, a: np.ndarray, b: np.ndarray) -> None:
    """A product that is added up in float32 and rounded once."""
    k = a.shape[-1]
    size = np.abs(a) @ np.abs(b)
    dtype = str(out.dtype)
    sums = (k + 1) * 2 * HALF_ULP["float32"] * size
    rounding = HALF_ULP[dtype] * np.abs(a @ b) if dtype != "float32" else 0
    least = 2.0**-24 if dtype == "float16" else 2.0**-120
    assert (np.abs(exact(out) - a @ b) <= sums + rounding + least).all()


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    m=st.sampled_from([1, 15, 16, 17, 33, 64, 101]),
    n=st.sampled_from([1, 16, 31, 32, 47, 65, 300]),
    k=st.sampled_from([0, 1, 16, 31, 32, 64, 97, 160]),
    out=st.sampled_from(["bfloat16", "float32"]),
)
def test_products_of_all_forms(form: str, m: int, n: int, k: int, out: str) -> None:
    contracted, left, right = FORMS[form]
    extents = {"m": m, "n": n, "k": k}
    a, b = [half(*[extents[d] for d in dims]) for dims in (left, right)]
    f = nr.jit(
        lambda a, b: lax.dot_general(a, b, (contracted, ((), ())), preferred_element_type=out)
    )
    x = exact(a) if left == "mk" else exact(a).T
    y = exact(b) if right == "kn" else exact(b).T
    assert_product(f(a, b), x, y)
    if min(m, n, k) >= 15 and m * n * k >= 1 << 16:
        assert uses_matrix_unit(f, a, b) == has_matrix_unit("bfloat16", k, n)


def test_float16() -> None:
    a, b = half(70, 90, dtype="float16"), half(90, 50, dtype="float16")
    f = nr.jit(jnp.matmul)
    assert uses_matrix_unit(f, a, b) == has_matrix_unit("float16", *b.shape)
    assert_product(f(a, b), exact(a), exact(b))


@pytest.mark.parametrize("shapes", [
    ((3, 40, 70), (3, 70, 50)), ((2, 3, 40, 64), (2, 3, 64, 48)), ((2, 1, 40, 64), (1, 3, 64, 48)),
    ((5, 33, 64), (64, 33)), ((40, 64), (4, 64, 48)), ((2, 3, 5, 32, 32), (2, 3, 5, 32, 32)),
])  # fmt: skip
def test_batches(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = half(*shapes[0]), half(*shapes[1])
    assert_product(nr.jit(jnp.matmul)(a, b), exact(a), exact(b))


def test_transposed_results_and_views() -> None:
    a, b = half(4, 64, 3, 32), half(4, 80, 3, 32)
    f = nr.jit(lambda a, b: jnp.einsum("bqhd,bkhd->bhkq", a, b[:, 16:]))
    expected = np.einsum("bqhd,bkhd->bhkq", exact(a), exact(b)[:, 16:])
    np.testing.assert_allclose(exact(f(a, b)), expected, rtol=2.0**-7, atol=2.0**-6)
    g = nr.jit(lambda a, b: jnp.einsum("bhkq,bkhd->bqhd", f(a, b), b[:, 16:]))
    expected = np.einsum("bhkq,bkhd->bqhd", exact(f(a, b)), exact(b)[:, 16:])
    np.testing.assert_allclose(exact(g(a, b)), expected, rtol=2.0**-6, atol=2.0**-2)


def test_where_an_operand_lies_does_not_change_the_result() -> None:
    a, b = half(64, 128), half(128, 512)
    plain, moved = nr.jit(jnp.matmul), nr.jit(lambda a, b: (-a) @ (-b))
    shifted = nr.jit(lambda a, b: jnp.concatenate([a[:1], a])[1:] @ b)
    for f in (moved, shifted):
        assert (exact(plain(a, b)) == exact(f(a, b))).all()


def test_nans_and_infinities_stay_in_their_rows_and_columns() -> None:
    x, y = rng.standard_normal((2, 50, 50)).astype(np.float32)
    x[3, 7], x[20, 49], y[49, 11], y[8, 30] = np.nan, np.inf, -np.inf, np.nan
    a, b = [jnp.asarray(v).astype("bfloat16") for v in (x, y)]
    with np.errstate(invalid="ignore"):
        expected = np.asarray(a.astype("float32")) @ np.asarray(b.astype("float32"))
    out = exact(nr.jit(jnp.matmul)(a, b))
    assert (np.isnan(out) == np.isnan(expected)).all()
    assert (np.isposinf(out) == np.isposinf(expected)).all()
    assert (np.isneginf(out) == np.isneginf(expected)).all()


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    a, b = half(300, 1000), half(1000, 333)
    x, w = half(8, 30, 30, 64), half(3, 3, 64, 64)

    def conv(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=IMAGES)

    f = nr.jit(lambda a, b, x, w: (a @ b, *nr.vjp(conv, x, w)[1](x)))
    results = []
    for count in (1, 2, 5):
        with nr.num_threads(count):
            results.append([exact(v) for v in f(a, b, x, w)])
    for other in results[1:]:
        assert all([(u == v).all() for u, v in zip(results[0], other, strict=True)])


def test_gradients_of_products() -> None:
    a, b, c = half(48, 96), half(96, 64), half(48, 64)
    f = nr.jit(lambda a, b, c: nr.vjp(jnp.matmul, a, b)[1](c))
    left, right = f(a, b, c)
    assert_product(left, exact(c), exact(b).T)
    assert_product(right, exact(a).T, exact(c))


def test_products_within_a_loop() -> None:
    w, h = half(64, 64) * jnp.asarray(0.1, dtype="bfloat16"), half(64, 64)
    f = nr.jit(lambda h, w: lax.scan(lambda h, _: (h @ w, None), h, None, length=3)[0])
    expected = exact(h)
    for _ in range(3):
        expected = exact(jnp.asarray((expected @ exact(w)).astype(np.float32)).astype("bfloat16"))
    np.testing.assert_allclose(exact(f(h, w)), expected, rtol=0.02, atol=0.02)


def test_other_machines_take_other_ways(monkeypatch: Any) -> None:
    """Products of half floats are of float32 where there is no matrix unit."""
    monkeypatch.setattr(program, "target", lambda: Target(64))
    a, b = half(64, 64), half(64, 64)
    f = nr.jit(lambda a, b: a @ b)
    assert not uses_matrix_unit(f, a, b)
    assert_product(f(a, b), exact(a), exact(b))


# ------------------------------------------------------------------------------ convolutions
# images, height, width, features; results; window; strides; dilation; padding
CONVOLUTIONS = {
    "pixels": ((2, 32, 32, 64), 64, (3, 3), 1, 1, "SAME"),
    "rests": ((3, 9, 21, 40), 33, (3, 2), 1, 1, "SAME"),
    "strides": ((2, 17, 20, 32), 48, (3, 3), 2, 1, "SAME"),
    "short lines": ((1, 7, 5, 64), 64, (3, 3), 1, 1, "SAME"),
    "images side by side": ((33, 7, 7, 64), 32, (3, 3), 1, 1, "SAME"),
    "fewer images than a tile has rows": ((11, 5, 7, 32), 32, (3, 3), 1, 1, "SAME"),
    "images and strides": ((40, 8, 8, 16), 16, (3, 3), 2, 1, "SAME"),
    "dilation": ((2, 30, 18, 32), 32, (3, 3), 1, 2, "SAME"),
    "all at once": ((2, 33, 31, 16), 17, (5, 4), 2, 3, ((2, 5), (0, 3))),
    "cropped": ((2, 24, 24, 32), 32, (3, 3), 1, 1, ((-1, 2), (0, -2))),
    "one pixel": ((4, 16, 16, 64), 64, (1, 1), 2, 1, "VALID"),
    "a product": ((4, 16, 16, 64), 64, (1, 1), 1, 1, "VALID"),
}


def convolution(case: str, dims: Any = IMAGES, out: str | None = None) -> tuple[Any, Any, Any]:
    shape, results, window, stride, spread, padding = CONVOLUTIONS[case]
    x, w = half(*shape), half(*window, shape[-1], results)

    def f(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (stride,) * 2, padding, rhs_dilation=(spread,) * 2, dimension_numbers=dims,
            preferred_element_type=out,
        )  # fmt: skip

    return f, x, w


def wide(*arrays: Any) -> list[Any]:
    return [a.astype("float32") for a in arrays]


def assert_close(out: Any, expected: Any, f: Any, *args: Any) -> None:
    """Results of half floats beside those of float32; `f` of magnitudes tells how long sums are."""
    size = np.asarray(f(*[abs(a) for a in wide(*args)]))
    rounding = HALF_ULP[str(out.dtype)] * np.abs(np.asarray(expected))
    assert (np.abs(exact(out) - np.asarray(expected)) <= rounding + 2.0**-18 * size).all()


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case: str) -> None:
    f, x, w = convolution(case)
    g = nr.jit(f)
    assert uses_matrix_unit(g, x, w) == has_matrix_unit("bfloat16", *w.shape[2:])
    assert_close(g(x, w), nr.jit(f)(*wide(x, w)), nr.jit(f), x, w)
    f, x, w = convolution(case, out="float32")
    assert_close(nr.jit(f)(x, w), nr.jit(f)(*wide(x, w)), nr.jit(f), x, w)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_gradients_of_convolutions(case: str) -> None:
    f, x, w = convolution(case)
    y = half(*nr.eval_shape(f, x, w).shape)

    def of_images(y: Any, w: Any) -> Any:
        return nr.vjp(lambda x: f(x, w), x.astype(w.dtype))[1](y)[0]

    def of_weights(y: Any, x: Any) -> Any:
        return nr.vjp(lambda w: f(x, w), w.astype(x.dtype))[1](y)[0]

    for g, other in ((of_images, w), (of_weights, x)):
        compiled = nr.jit(g)
        assert_close(compiled(y, other), compiled(*wide(y, other)), compiled, y, other)


@pytest.mark.parametrize("case", ["rests", "images side by side", "strides"])
def test_other_layouts(case: str) -> None:
    f, x, w = convolution(case)
    g, *_ = convolution(case, ("NCHW", "OIHW", "NCHW"))
    out = nr.jit(g)(x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1)).transpose(0, 2, 3, 1)
    assert (exact(out) == exact(nr.jit(f)(x, w))).all()


@pytest.mark.parametrize("case", ["rests", "short lines", "images side by side"])
def test_a_nan_stays_in_its_windows(case: str) -> None:
    f, x, w = convolution(case)
    x = x.at[0, 4, 3, 2].set(np.nan)
    assert (np.isnan(exact(nr.jit(f)(x, w))) == np.isnan(exact(nr.jit(f)(*wide(x, w))))).all()


def test_dot_products_of_pairs(monkeypatch: Any) -> None:
    """What processors without tiles have gives what tiles give, but for the order of sums."""
    if "+avx512bf16" not in llvm.host().features:
        pytest.skip("the processor has no dot products of bfloat16")
    assert [is_worth(DOT, *sizes) for sizes in ((16, 16), (32, 16), (40, 40), (48, 48))] == [
        False, True, False, True,
    ]  # fmt: skip
    monkeypatch.setattr(program, "target", lambda: Target(64, {"bf16": DOT}))
    for module in (matmul, convolutions):  # even where float32 would be faster
        monkeypatch.setattr(module, "is_worth", lambda *args: True)
    for m, n, k in ((64, 64, 64), (33, 47, 65), (7, 300, 129), (100, 5, 200)):
        a, b, c = half(m, k), half(k, n), half(n, k)
        f, g = nr.jit(lambda a, b: a @ b), nr.jit(lambda a, c: a @ c.T)
        assert uses_matrix_unit(f, a, b)
        assert_product(f(a, b), exact(a), exact(b))
        assert_product(g(a, c), exact(a), exact(c).T)
    for case in ("rests", "images side by side", "strides"):
        conv, x, w = convolution(case)
        assert_close(nr.jit(conv)(x, w), nr.jit(conv)(*wide(x, w)), nr.jit(conv), x, w)
