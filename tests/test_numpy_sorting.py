"""Without these, sorting, searching and set functions could differ from NumPy's, or in jit."""

import numpy as np
import pytest

import nr
from nr.core.errors import ConcretizationTypeError
from nr.lax.rules import operand
from nr.numpy import sets, sorting

NAN = np.nan


def wrapped(x):
    return operand("test", x)


def same(ours, wanted, dtype=True):
    assert ours.shape == np.shape(wanted)
    if dtype:
        assert ours.dtype == np.asarray(wanted).dtype
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(wanted))


def check(fun, reference, *xs, dtype=True):
    """Eager and jitted results equal the reference."""
    wanted = reference(*xs)
    same(fun(*map(wrapped, xs)), wanted, dtype)
    same(nr.jit(fun)(*map(wrapped, xs)), wanted, dtype)


def samples():
    rng = np.random.default_rng(0)
    floats = rng.integers(-3, 4, size=(4, 5)).astype(np.float32)
    with_nan = floats.copy()
    with_nan[1, 2] = with_nan[3, 0] = NAN
    return {
        "float": floats,
        "nan": with_nan,
        "int": rng.integers(-3, 4, size=(4, 5)).astype(np.int32),
        "bool": rng.random((4, 5)) < 0.5,
        "complex": (floats + 1j * floats[::-1]).astype(np.complex64),
        "empty": np.zeros((0, 3), np.float32),
        "uint8": rng.integers(0, 255, size=(4, 5)).astype(np.uint8),
    }


@pytest.mark.parametrize("kind", samples())
@pytest.mark.parametrize("axis", [-1, 0, None])
def test_sort_and_argsort(kind, axis):
    x = samples()[kind]
    check(lambda a: sorting.sort(a, axis), lambda a: np.sort(a, axis), x)
    order = lambda a: np.argsort(a, axis, kind="stable").astype(np.int32)  # noqa: E731
    check(lambda a: sorting.argsort(a, axis), order, x)
    check(lambda a: sorting.sort(a, axis, descending=True), lambda a: descending(a, axis)[0], x)
    check(lambda a: sorting.argsort(a, axis, descending=True), lambda a: descending(a, axis)[1], x)


def descending(x, axis):
    """The reversed order, in which equal elements keep theirs (NumPy has none)."""
    x, axis = (x.ravel(), 0) if axis is None else (x, axis)
    order = x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, kind="stable")
    order = np.flip(order, axis).astype(np.int32)
    return np.take_along_axis(x, order, axis), order


def test_sort_gradient_and_batching():
    x = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0]])
    weights = np.array([1.0, 10.0, 100.0])

    def total(a):
        return nr.lax.reduce_sum(nr.lax.mul(sorting.sort(a, descending=True), weights), None)

    same(nr.vmap(nr.grad(total))(wrapped(x)), [[1.0, 100.0, 10.0], [10.0, 1.0, 100.0]])


def test_errors():
    x = wrapped(samples()["float"])
    with pytest.raises(ValueError, match="sort: axis 2 is out of bounds"):
        sorting.sort(x, 2)
    with pytest.raises(ValueError, match="sort: kind and order must be None"):
        sorting.sort(x, kind="quicksort")
    with pytest.raises(ValueError, match="partition: kth must lie in"):
        sorting.partition(x, 7)
    with pytest.raises(ValueError, match="searchsorted: a must be a vector"):
        sorting.searchsorted(x, 1.0)
    with pytest.raises(TypeError, match="sort: an array or a number was expected"):
        sorting.sort([2, 1])


def test_lexsort_sort_complex_and_partition():
    x = samples()
    keys = (x["int"], x["nan"], x["float"])
    for axis in (-1, 0):
        wanted = np.lexsort(keys, axis).astype(np.int32)
        check(lambda *k, a=axis: sorting.lexsort(k, a), lambda *k, w=wanted: w, *keys)
    same(sorting.lexsort(wrapped(np.stack(keys))), np.lexsort(keys), dtype=False)
    check(sorting.sort_complex, np.sort_complex, x["float"], dtype=False)
    assert sorting.sort_complex(wrapped(x["float"])).dtype == np.complex64
    for kth in (0, 2, -1):
        part = np.asarray(sorting.partition(wrapped(x["float"]), kth))
        same(wrapped(part[:, kth]), np.sort(x["float"])[:, kth])
        assert (part[:, :kth] <= part[:, [kth]]).all()
        places = np.asarray(sorting.argpartition(wrapped(x["float"]), kth))
        same(wrapped(np.take_along_axis(x["float"], places, -1)[:, kth]), part[:, kth])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 64, 100])
def test_searchsorted(side, n):
    rng = np.random.default_rng(n)
    a = np.sort(rng.integers(-9, 10, size=n)).astype(np.float32)
    v = rng.integers(-11, 12, size=(5, 6)).astype(np.float32)
    v[0, :3] = NAN, np.inf, -np.inf
    if n > 50:
        a[-2:] = NAN
    fun = lambda p, q: sorting.searchsorted(p, q, side)  # noqa: E731
    check(fun, lambda p, q: np.searchsorted(p, q, side).astype(np.int32), a, v)
    rows = nr.vmap(fun, in_axes=(None, 0))(wrapped(a), wrapped(v))
    same(rows, np.searchsorted(a, v, side).astype(np.int32))
    both = nr.vmap(fun)(wrapped(np.stack([a, a - 1])), wrapped(v[1:3]))
    same(both, np.stack([np.searchsorted(a - i, v[1 + i], side) for i in (0, 1)]).astype(np.int32))


def test_searchsorted_of_other_kinds():
    a, v = np.array([2, 0, 1]), np.array([0, 5])
    ours = sorting.searchsorted(wrapped(a), wrapped(v), sorter=wrapped(np.argsort(a)))
    same(ours, np.searchsorted(a, v, sorter=np.argsort(a)), dtype=False)
    z = np.array([1 + 1j, 1 + 2j, 2 - 1j])
    check(sorting.searchsorted, np.searchsorted, z, z[::-1] + 0.5j, dtype=False)
    same(sorting.searchsorted(wrapped(z), 1), np.searchsorted(z, 1), dtype=False)


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("bins", [[0.0, 1.0, 2.5], [2.5, 1.0, 0.0], [1.0], []])
def test_digitize(right, bins):
    x = np.array([[-1.0, 0.0, 0.5], [1.0, 2.5, 3.0]])
    wanted = np.digitize(x, np.array(bins), right).astype(np.int32)
    check(lambda a, b: sorting.digitize(a, b, right), lambda a, b: wanted, x, np.array(bins))


# ---------------------------------------------------------------- sets
ALL = {"return_index": True, "return_inverse": True, "return_counts": True}


@pytest.mark.parametrize("kind", samples())
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_unique(kind, axis):
    x = samples()[kind]
    if axis is not None:
        x = np.concatenate([x, x[:, ::-1]], axis)
    if kind == "nan" and axis is not None:
        pytest.skip("NumPy has no equal_nan along an axis")
    if kind == "empty" and axis is not None:
        pytest.skip("NumPy refuses an axis of an empty array")
    wanted = np.unique(x, axis=axis, **ALL)
    for ours, reference in zip(sets.unique(wrapped(x), axis=axis, **ALL), wanted):
        same(ours, reference, dtype=False)
    if not x.size:
        return
    at = 0 if axis is None else axis
    values, index, inverse, counts = wanted
    for size in (2, 60):
        ours = nr.jit(lambda a, s=size: sets.unique(a, axis=axis, size=s, fill_value=1, **ALL))(x)
        missing = max(size - len(index), 0)
        filled = [(0, missing if d == at else 0) for d in range(values.ndim)]
        same(ours[0], np.pad(values, filled, constant_values=1).take(range(size), at))
        # what is missing has the place of the smallest, and does not occur
        same(ours[1], np.append(index, [index[0]] * missing)[:size], dtype=False)
        same(ours[2], inverse, dtype=False)
        same(ours[3], np.append(counts, [0] * missing)[:size], dtype=False)


def test_unique_of_nan_and_default_fill():
    x = wrapped(np.array([2.0, NAN, 1.0, NAN], np.float32))
    assert sets.unique(x).shape == (3,)
    assert sets.unique(x, equal_nan=False).shape == (4,)
    assert sets.unique_all(x).counts.tolist() == [1, 1, 1, 1]
    assert sets.unique_counts(x).values.shape == (4,)
    assert sets.unique_inverse(x).inverse_indices.tolist() == [1, 2, 0, 3]
    assert sets.unique_values(x).shape == (4,)
    assert sets.unique(x, size=5).tolist()[3:] == [1.0, 1.0]


def test_unique_says_that_jit_needs_a_size():
    x = wrapped(np.array([1, 2]))
    with pytest.raises(ConcretizationTypeError, match="unique: the shape .* size="):
        nr.jit(sets.unique)(x)
    with pytest.raises(ConcretizationTypeError, match="union1d: the shape .* size="):
        nr.jit(sets.union1d)(x, x)
    # under grad the numbers are there
    total = lambda a: nr.lax.reduce_sum(sets.unique(a), None)  # noqa: E731
    same(nr.grad(total)(wrapped(np.array([2.0, 1.0, 2.0]))), [1.0, 1.0, 0.0])


PAIRS = [
    (np.array([3, 1, 2, 3, 7]), np.array([[2, 3], [3, 9]])),
    (np.array([1.5, NAN, 2.0]), np.array([NAN, 2.0])),
    (np.array([1, 2]), np.array([3, 4])),
    (np.array([], np.int32), np.array([1, 1])),
    (np.array([1, 1, 0]), np.array([], np.int32)),
    (np.array([True, False]), np.array([False])),
]


@pytest.mark.parametrize("x, y", PAIRS)
def test_set_operations(x, y):
    for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
        wanted = getattr(np, name)(x, y)
        same(getattr(sets, name)(wrapped(x), wrapped(y)), wanted, dtype=False)
        fun = nr.jit(lambda a, b, n=name: getattr(sets, n)(a, b, size=6, fill_value=1))
        filled = np.concatenate([wanted, np.ones(6 - len(wanted), wanted.dtype)])
        same(fun(x, y), filled, dtype=False)
    check(sets.isin, np.isin, x, y)
    check(lambda a, b: sets.isin(b, a, invert=True), lambda a, b: np.isin(b, a, invert=True), x, y)
    wanted = np.intersect1d(x, y, return_indices=True)
    for ours, reference in zip(
        sets.intersect1d(wrapped(x), wrapped(y), return_indices=True), wanted
    ):
        same(ours, reference, dtype=False)


def test_setdiff_of_unique_keeps_the_order():
    x, y = wrapped(np.array([3, 1, 2])), wrapped(np.array([1]))
    assert sets.setdiff1d(x, y, assume_unique=True).tolist() == [3, 2]


def test_intersection_under_jit_fills_indices_with_the_length():
    fun = nr.jit(lambda a, b: sets.intersect1d(a, b, return_indices=True, size=3))
    values, in_x, in_y = fun(np.array([4, 5]), np.array([9, 5, 5]))
    assert (values.tolist(), in_x.tolist(), in_y.tolist()) == ([5, 5, 5], [1, 2, 2], [1, 3, 3])
