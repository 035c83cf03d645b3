"""Without this, x[index] and x.at[index] could differ from NumPy, or lose derivatives or checks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nr
import nr.numpy as jnp
from nr import lax
from nr.core.errors import ConcretizationTypeError, NonConcreteBooleanIndexError

SHAPE = (5, 3, 4)
ITEMS = [
    0,
    -1,
    np.array(2),
    slice(None),
    slice(1, 3),
    slice(None, None, -1),
    slice(3, 0, -2),
    slice(0, 4, 2),
    slice(2, 2),
    None,
    Ellipsis,
    True,
    False,
    np.array([0, 2, 1]),
    np.array([[1], [-1]]),
    np.array([], np.int64),
    np.array([True, False, True, True, False]),
    np.array([2, 0], np.uint8),
]
# Products are the same numbers in the same order; sums and products of float64 may differ by ulps.
EXACT = {"rtol": 1e-15}


def _forms():
    rng = np.random.default_rng(0)
    longer = [tuple(ITEMS[k] for k in rng.integers(0, len(ITEMS), n)) for n in (3, 4) * 60]
    probe = np.empty(SHAPE)
    for index in [*[(i,) for i in ITEMS], *itertools.product(ITEMS, repeat=2), *longer]:
        try:
            probe[index]
        except IndexError:
            continue
        yield index


FORMS = list(_forms())


def _is_array(item):
    return isinstance(item, np.ndarray) and item.dtype != bool


def _with_traced_arrays(f, index):
    """f(index, *args) as a jitted function of args, the integer arrays of the index traced."""
    arrays = [jnp.asarray(item) for item in index if _is_array(item)]

    def rebuilt(arrays, *args):
        it = iter(arrays)
        return f(tuple(next(it) if _is_array(item) else item for item in index), *args)

    return lambda *args: nr.jit(rebuilt)(arrays, *args)


def test_reading_is_numpys():
    assert len(FORMS) > 250
    x = np.random.default_rng(0).normal(size=SHAPE)
    nx = jnp.asarray(x)
    for i, index in enumerate(FORMS):
        np.testing.assert_array_equal(nx[index], x[index], err_msg=str(index), strict=True)
        if i % 4 == 0:
            got = _with_traced_arrays(lambda index, x: x[index], index)(nx)
            np.testing.assert_array_equal(got, x[index], err_msg=str(index), strict=True)


@pytest.mark.parametrize(
    "method, ufunc",
    [("set", None), ("add", np.add), ("multiply", np.multiply), ("max", np.maximum)],
)
def test_writing_is_numpys(method, ufunc):
    rng = np.random.default_rng(1)
    x = rng.normal(size=SHAPE)
    nx = jnp.asarray(x)
    for i, index in enumerate(FORMS):
        v = rng.normal(size=x[index].shape)
        want = x.copy()
        if ufunc is None:
            want[index] = v
        else:
            ufunc.at(want, index, v)
        got = getattr(nx.at[index], method)(jnp.asarray(v))
        np.testing.assert_allclose(got, want, err_msg=str(index), **EXACT)
        if i % 8 == 0:
            update = _with_traced_arrays(lambda ix, x, v: getattr(x.at[ix], method)(v), index)
            np.testing.assert_allclose(update(nx, jnp.asarray(v)), want, **EXACT)
    np.testing.assert_array_equal(nx, x)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_basic_or_integer_index(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    kinds = st.one_of(
        hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True),
        hnp.integer_array_indices(shape),
    )
    index = data.draw(kinds)
    x = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(jnp.asarray(x)[index], x[index], strict=True)
    want = x.copy()
    want[index] = -1
    np.testing.assert_array_equal(jnp.asarray(x).at[index].set(-1), want)


def test_iteration_gives_slices():
    x = np.arange(6.0).reshape(3, 2)
    for got in ([*jnp.asarray(x)], nr.jit(lambda x: [*x])(jnp.asarray(x))):
        np.testing.assert_array_equal(np.stack([np.asarray(row) for row in got]), x)
    with pytest.raises(TypeError, match="rank 1 or more"):
        iter(jnp.asarray(1.0))


# ---------------------------------------------------------------- out of range, and other errors
X = np.arange(5.0)
FAR = np.array([7, -9, -1, 2])


@pytest.mark.parametrize(
    "mode, read, written",
    [
        ("clip", [4, 0, 4, 2], [9, 1, 9, 3, 9]),
        ("fill", [-1, -1, 4, 2], [0, 1, 9, 3, 9]),
        ("drop", [-1, -1, 4, 2], [0, 1, 9, 3, 9]),
    ],
)
def test_modes_of_traced_indices(mode, read, written):
    x, far = jnp.asarray(X), jnp.asarray(FAR)
    get = nr.jit(lambda x, i: x.at[i].get(mode=mode, fill_value=-1))
    put = nr.jit(lambda x, i: x.at[i].set(9.0, mode=mode))
    np.testing.assert_array_equal(get(x, far), read)
    np.testing.assert_array_equal(put(x, far), written)
    # A mode also lets known indices be out of range.
    np.testing.assert_array_equal(x.at[far].get(mode=mode, fill_value=-1), read)
    np.testing.assert_array_equal(x.at[far].set(9.0, mode=mode), written)
    np.testing.assert_array_equal(x.at[7].get(mode=mode, fill_value=-1), read[0])


OUT = r"^index: index {} is out of bounds for axis {} with size {}\.$"


@pytest.mark.parametrize(
    "f, error, message",
    [
        (lambda x, y: x[7], IndexError, OUT.format(7, 0, 5)),
        (lambda x, y: x[-6], IndexError, OUT.format(-6, 0, 5)),
        (lambda x, y: y[1:, 4], IndexError, OUT.format(4, 1, 3)),
        (lambda x, y: y[:, FAR], IndexError, OUT.format(7, 1, 3)),
        (lambda x, y: x[jnp.asarray(FAR)], IndexError, OUT.format(7, 0, 5)),
        (lambda x, y: x.at[9].set(1.0), IndexError, OUT.format(9, 0, 5)),
        (lambda x, y: x.at[FAR].add(1.0), IndexError, OUT.format(7, 0, 5)),
        (lambda x, y: x[1, 2], IndexError, r"too many indices.*got indices for 2"),
        (lambda x, y: y[..., ...], IndexError, r"single ellipsis"),
        (lambda x, y: x[np.array([True])], IndexError, r"mask.*b1\[1\] for dimensions \(0,\)"),
        (lambda x, y: y[np.arange(2), np.arange(3)], ValueError, r"broadcast.*\(2,\), \(3,\)"),
        (lambda x, y: x[[1, 2]], TypeError, r"a list is no index; got \[1, 2\]"),
        (lambda x, y: x["a"], TypeError, r"expected; got 'a'"),
        (lambda x, y: x[1.5], TypeError, r"integer type or bool; got 1\.5"),
        (lambda x, y: x[X], TypeError, r"integer type or bool; got f64\[5\]"),
        (lambda x, y: x[:2.5], TypeError, r"ends of a slice must be integers; got 2\.5"),
        (lambda x, y: x[::0], ValueError, r"step of a slice must not be 0"),
        (lambda x, y: x.at[1:3].set(X), ValueError, r"the shape \(2,\).*got f64\[5\]"),
        (lambda x, y: x.at[0].set(1.0, mode="zip"), ValueError, r"expected; got 'zip'"),
    ],
)
def test_errors_of_known_indices(f, error, message):
    args = jnp.asarray(X), jnp.asarray(np.ones((2, 3)))
    with pytest.raises(error, match=message):
        f(*args)
    with pytest.raises(error, match=message):
        nr.jit(f)(*args)


@pytest.mark.parametrize(
    "f, error, message",
    [
        (lambda i, m: X_[m], NonConcreteBooleanIndexError, r"argument `m`.*nr.numpy.where\(mask"),
        (lambda i, m: X_[i:], IndexError, r"static integers; got a traced i32\[\].*dynamic_slice"),
        (lambda i, m: X_.at[m].set(X), IndexError, r"under a traced mask.*got f64\[5\]"),
        (lambda i, m: jnp.nonzero(m), ConcretizationTypeError, r"argument `m`.*size=\.\.\."),
        (lambda i, m: X_.at[i].get(mode="error"), IndexError, r"index 9 is out of bounds"),
    ],
)
def test_errors_of_traced_indices(f, error, message):
    with pytest.raises(error, match=message):
        nr.jit(f)(9, jnp.asarray(X > 2))


X_ = jnp.asarray(X)


def test_traced_mask_updates():
    mask = jnp.asarray(X > 2)
    f = nr.jit(lambda x, m: (x.at[m].set(-1.0), x.at[m].add(1.0), x.at[m].multiply(2.0)))
    for got, want in zip(f(X_, mask), ([0, 1, 2, -1, -1], [0, 1, 2, 4, 5], [0, 1, 2, 6, 8])):
        np.testing.assert_array_equal(got, want)


def test_values_take_the_arrays_dtype():
    x = jnp.asarray(np.arange(4, dtype=np.int8))
    out = x.at[1].set(2.7)
    assert out.dtype == np.int8 and out.tolist() == [0, 2, 2, 3]
    assert x.at[np.array([1, 1])].add(1).tolist() == [0, 3, 2, 3]


def test_values_may_be_nested_lists():
    x = jnp.zeros((2, 2))
    assert x.at[0].set([1, 2.5]).tolist() == [[1, 2.5], [0, 0]]
    assert x.at[0, :].add((1, 2)).tolist() == x.at[[0, 0], [0, 1]].set([1, 2]).tolist()
    assert x.at[0].subtract([1, 2]).tolist() == [[-1, -2], [0, 0]]
    jitted = nr.jit(lambda a: x.at[1].set([a, a + 1]).at[1].multiply([2, a]))
    assert jitted(3).tolist() == [[0, 0], [6, 12]]


def test_lists_in_tuples_are_arrays():
    x = np.arange(24).reshape(2, 3, 4)
    for index in ((slice(None), [[1], [2]]), ((0, 1), [1, 2]), (0, []), (slice(None), [True] * 3)):
        got = jnp.asarray(x)[index]
        want = x[tuple([np.asarray(i, int) if i == [] else i for i in index])]
        np.testing.assert_array_equal(got, want)
    traced = nr.jit(lambda i: jnp.asarray(x)[:, [i, i + 1]])(1)
    np.testing.assert_array_equal(traced, x[:, [1, 2]])


def test_integers_and_fractions_meet_as_fractions():
    x = jnp.arange(3)
    assert x.at[jnp.array([0, 0])].add(0.6).tolist() == [1, 1, 2]
    assert x.at[2].multiply(1.5).tolist() == [0, 1, 3]
    assert x.at[1].max(1.5).dtype == np.int32


def test_integers_minus_fractions_are_rounded_once():
    assert jnp.arange(3).at[1:].subtract(1.5).tolist() == [0, 0, 0]


# ---------------------------------------------------------------- derivatives
def _numeric(f, x, v, eps=1e-6):
    return (np.asarray(f(jnp.asarray(x + eps * v))) - np.asarray(f(jnp.asarray(x - eps * v)))) / (
        2 * eps
    )


# Central differences with eps 1e-6 in float64 of functions of order one.
DIFFERENCES = {"rtol": 1e-5, "atol": 1e-7}


def _check_derivatives(f, x, rng):
    v = rng.normal(size=x.shape)
    want = _numeric(f, x, v)
    out, tangent = nr.jvp(f, (jnp.asarray(x),), (jnp.asarray(v),))
    np.testing.assert_allclose(tangent, want, **DIFFERENCES)
    ct = rng.normal(size=out.shape)
    (grad,) = nr.vjp(f, jnp.asarray(x))[1](jnp.asarray(ct))
    np.testing.assert_allclose((np.asarray(grad) * v).sum(), (ct * want).sum(), **DIFFERENCES)


REPEATED = np.array([0, 2, 2, 3])


@pytest.mark.parametrize("mode", [None, "clip", "drop"])
@pytest.mark.parametrize("method", ["set", "add", "multiply", "min", "max", "divide", "power"])
def test_update_derivatives_with_repeated_indices(method, mode):
    rng = np.random.default_rng(2)
    x, v = rng.uniform(0.5, 2, 5), rng.uniform(0.5, 2, 4)
    index = REPEATED if mode is None else np.array([0, 2, 2, 7])

    def update(x, v):
        return getattr(x.at[index], method)(v, mode=mode)

    _check_derivatives(lambda x: update(x, jnp.asarray(v)), x, rng)
    _check_derivatives(lambda v: update(jnp.asarray(x), v), v, rng)


def test_set_sends_cotangents_to_the_last_of_repeated_updates():
    grad = nr.grad(lambda v: X_.at[REPEATED].set(v).sum())(jnp.asarray(np.ones(4)))
    assert grad.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("v", [[1.0, 2, 0, 3], [0.5, 0, 0, 2], [0.0, 1, 3, 0]])
def test_multiply_derivative_at_zeros(v):
    x = jnp.asarray(X + 1)
    _check_derivatives(lambda v: x.at[REPEATED].multiply(v), np.array(v), np.random.default_rng(3))


def test_max_shares_ties():
    x, v = jnp.asarray(np.ones(2)), jnp.asarray(np.ones(2))
    index = np.array([0, 0])
    gx, gv = nr.grad(lambda x, v: x.at[index].max(v).sum(), argnums=(0, 1))(x, v)
    np.testing.assert_allclose(gx, [1 / 3, 1])
    np.testing.assert_allclose(gv, [1 / 3, 1 / 3])


@pytest.mark.parametrize("i", range(0, len(FORMS), 13))
def test_indexing_derivatives(i):
    rng = np.random.default_rng(i)
    x = rng.normal(size=SHAPE)
    _check_derivatives(lambda x: x[FORMS[i]], x, rng)


# ---------------------------------------------------------------- batching
@pytest.mark.parametrize("in_axes", list(itertools.product([None, 0, 1], repeat=3))[1:])
@pytest.mark.parametrize("method", ["set", "add", "max", "get"])
def test_vmap_is_a_loop(method, in_axes):
    rng = np.random.default_rng(4)

    def batch(x, axis):
        return x if axis is None else np.stack([rng.permutation(x) for _ in range(3)], axis)

    args = [
        batch(x, a)
        for x, a in zip((rng.normal(size=(5, 2)), REPEATED, rng.normal(size=(4, 2))), in_axes)
    ]

    def f(x, i, v):
        return x.at[i].get() + v if method == "get" else getattr(x.at[i], method)(v)

    lanes = [
        f(*[jnp.asarray(x if a is None else x.take(k, a)) for x, a in zip(args, in_axes)])
        for k in range(3)
    ]
    got = nr.vmap(f, in_axes=in_axes)(*map(jnp.asarray, args))
    np.testing.assert_array_equal(got, np.stack([np.asarray(lane) for lane in lanes]))


def test_vmap_of_dynamic_slices():
    x = np.arange(20.0).reshape(4, 5)
    starts = np.array([[0, 1], [3, 9], [-2, -1]])
    read = nr.vmap(lambda s: lax.dynamic_slice(jnp.asarray(x), (s[0], s[1]), (2, 2)))
    want = np.stack([x[i : i + 2, j : j + 2] for i, j in ((0, 1), (2, 3), (2, 3))])
    np.testing.assert_array_equal(read(jnp.asarray(starts)), want)
    write = nr.vmap(lambda s: lax.dynamic_update_slice(jnp.asarray(x), np.zeros((2, 2)), s))
    want = np.stack([x] * 3)
    for k, (i, j) in enumerate(((0, 1), (2, 3), (2, 3))):
        want[k, i : i + 2, j : j + 2] = 0
    np.testing.assert_array_equal(write(jnp.asarray(starts)), want)


# ---------------------------------------------------------------- functions
A = np.random.default_rng(5).normal(size=(4, 5))
ORDER = np.argsort(A, 1)
FAR2 = np.array([9, -7, 3])


@pytest.mark.parametrize(
    "got, want",
    [
        (lambda: jnp.take(A, FAR2, mode="wrap"), np.take(A, FAR2, mode="wrap")),
        (lambda: jnp.take(A, FAR2, 1, mode="clip"), np.take(A, FAR2, 1, mode="clip")),
        (lambda: jnp.take(A, ORDER[:2], 1), np.take(A, ORDER[:2], 1)),
        (lambda: jnp.take_along_axis(A, ORDER, 1), np.take_along_axis(A, ORDER, 1)),
        (lambda: jnp.take_along_axis(A, ORDER[:1], 1), np.take_along_axis(A, ORDER[:1], 1)),
        (lambda: jnp.compress(np.array([True, False, True]), A, 0), np.compress([1, 0, 1], A, 0)),
        (lambda: jnp.extract(A > 0, A), np.extract(A > 0, A)),
        (lambda: jnp.choose(np.array([1, 0]), [A[0, :2], 7]), np.array([7, A[0, 1]])),
        (lambda: jnp.diagonal(A, 1), np.diagonal(A, 1)),
        (lambda: jnp.diag(A[0], -2), np.diag(A[0], -2)),
        (lambda: jnp.diag(A[0, :0], 2), np.diag(A[0, :0], 2)),
        (lambda: jnp.argwhere(A > 0), np.argwhere(A > 0)),
        (lambda: A[tuple(map(np.asarray, jnp.ix_([0, 2], [1, 4])))], A[np.ix_([0, 2], [1, 4])]),
        (lambda: jnp.tril_indices(3, -1, 4)[1], np.tril_indices(3, -1, 4)[1]),
        (lambda: jnp.unravel_index(np.array([3, -1]), (4, 5))[0], np.array([0, 3])),
        (
            lambda: jnp.ravel_multi_index([np.array([1, 3]), np.array([2, 0])], (4, 5)),
            np.array([7, 15]),
        ),
    ],
)
def test_functions_are_numpys(got, want):
    np.testing.assert_array_equal(got(), want)
    assert np.shape(got()) == want.shape


def test_in_place_functions_return_the_result():
    want = A.copy()
    np.put_along_axis(want, ORDER[:, :1], 0.0, 1)
    got = jnp.put_along_axis(jnp.asarray(A), ORDER[:, :1], 0.0, 1)
    np.testing.assert_array_equal(got, want)
    want = A.copy()
    np.put(want, [3, -1, 4], [1.0, 2.0])
    got = jnp.put(jnp.asarray(A), np.array([3, -1, 4]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(got, want)
    for shape, wrap in (((9, 3), True), ((9, 3), False), ((3, 3, 3), False)):
        want = np.zeros(shape)
        np.fill_diagonal(want, [1.0, 2.0], wrap)
        got = jnp.fill_diagonal(jnp.asarray(np.zeros(shape)), np.array([1.0, 2.0]), wrap)
        np.testing.assert_array_equal(got, want)
    with pytest.raises(ValueError, match="arrays are immutable"):
        jnp.put(A, 0, 1.0, inplace=True)


@pytest.mark.parametrize("size", [0, 3, 30])
def test_nonzero_with_a_size(size):
    found = np.nonzero(A > 0)
    want = [np.append(places, [-1] * 30)[:size] for places in found]
    f = nr.jit(lambda m: jnp.nonzero(m, size=size, fill_value=-1))
    for got in (f(jnp.asarray(A > 0)), jnp.nonzero(A > 0, size=size, fill_value=-1)):
        np.testing.assert_array_equal(np.stack([np.asarray(g) for g in got]), want)


def test_take_out_of_range():
    with pytest.raises(IndexError, match=OUT.format(9, 1, 5)):
        jnp.take(A, FAR2, 1)
    with pytest.raises(IndexError, match="index 9 is out of bounds for axis 1 with size 5, at"):
        nr.jit(lambda i: jnp.take(A, i, 1))(jnp.asarray(FAR2))
    got = nr.jit(lambda i: jnp.take(A, i, 1, mode="fill"))(jnp.asarray(FAR2))
    np.testing.assert_array_equal(np.isnan(got).all(0), [True, True, False])


# ---------------------------------------------------------------- lax: what abstract_eval refuses
def _gather(dims, sizes, indices=None):
    dims = lax.GatherDimensionNumbers(*dims)
    indices = np.zeros((2, 1), np.int32) if indices is None else indices
    return lambda: lax.gather(A, indices, dims, sizes)


def _scatter(dims, updates, indices=None):
    dims = lax.ScatterDimensionNumbers(*dims)
    indices = np.zeros((2, 1), np.int32) if indices is None else indices
    return lambda: lax.scatter_add(jnp.asarray(A), indices, updates, dims)


@pytest.mark.parametrize(
    "f, message",
    [
        (_gather(((1,), (0,), (0,)), (1, 6)), "slice_sizes must"),
        (_gather(((1,), (0,), (0,)), (2, 5)), "slice sizes must be 1 along"),
        (_gather(((), (0,), (0,)), (1, 5)), "offset_dims must name the 1"),
        (_gather(((1,), (0,), (0, 1)), (1, 5)), "the 2 entries of start_index_map"),
        (_gather(((1,), (0,), (0,)), (1, 5), np.zeros((2, 1))), r"integer type; got f64\[2,1\]"),
        (_gather(((1,), (0,), (2,)), (1, 5)), r"start_index_map must be distinct and in \[0, 2\)"),
        (_gather(((), (1,), (1,), (0,), (0,)), (1, 1)), "pair up with equal extents"),
        (_scatter(((1,), (0,), (0,)), np.zeros((2, 6))), "windows must fit"),
        (_scatter(((1,), (0,), (0,)), np.zeros((3, 5))), "must have the indices' dimensions"),
        (_scatter(((1,), (0,), (0,)), np.zeros((2, 5), np.int32)), "one dtype; got f64.* i32"),
        (lambda: lax.dynamic_slice(A, (0, 0), (5, 1)), r"fit into it; got sizes \(5, 1\)"),
        (lambda: lax.dynamic_slice(A, (0,), (1, 1)), "a start a dimension"),
        (lambda: lax.dynamic_slice(A, (0, 0.5), (1, 1)), "integers of rank 0; got f32"),
        (lambda: lax.dynamic_update_slice(A, np.zeros((1, 1), np.int32), (0, 0)), "one dtype"),
    ],
)
def test_lax_errors_are_the_same_under_jit(f, message):
    with pytest.raises(TypeError, match=message):
        f()
    with pytest.raises(TypeError, match=message):
        nr.jit(f)()


@pytest.mark.parametrize("f", [lambda f: f, nr.jit])
def test_no_indices_into_no_elements(f):
    x = jnp.zeros((0, 20, 3))
    block = jnp.zeros((0, 4), jnp.int32)
    assert f(lambda x, i: x[np.arange(0)[:, None], i])(x, block).shape == (0, 4, 3)
    assert f(lambda x, i: x[i])(x, block).shape == (0, 4, 20, 3)
    assert f(lambda x, i: x[:, i, :2])(jnp.zeros((2, 0, 3), "int8"), block).dtype == "int8"
    lines = f(lambda x, i: jnp.take_along_axis(x, i, 0))(jnp.zeros((0, 4), "int8"), block)
    assert lines.shape == (0, 4) and lines.dtype == "int8"


def test_apply_counts_repeated_indices():
    x = np.array([1.0, 2.0, 3.0], np.float32)
    index = np.array([0, 2, 2])
    got = jnp.asarray(x).at[index].apply(jnp.square)
    np.testing.assert_array_equal(got, [1.0, 2.0, 81.0])
    got = nr.jit(lambda x: x.at[index].apply(jnp.square))(x)
    np.testing.assert_array_equal(got, [1.0, 2.0, 81.0])


def test_updates_of_nothing_have_gradients():
    none = np.zeros(0, np.int32)
    f = lambda x, y: (x.at[none].set(y) ** 2).sum()  # noqa: E731
    dx, dy = nr.grad(f, (0, 1))(jnp.zeros((0, 3)), jnp.zeros((0, 3)))
    assert dx.shape == dy.shape == (0, 3)
    with pytest.raises(ValueError, match="arrays used as indices must have shapes that broadcast"):
        jnp.zeros((3, 4))[np.array([0, 1]), np.array([0, 1, 2])]


@pytest.mark.parametrize("f", [lambda f: f, nr.jit])
def test_negative_indices_out_of_range(f):
    index, options = np.array([0, -1], np.int8), {"mode": "drop", "wrap_negative_indices": False}
    for i in (index, jnp.asarray(index), (index,)):
        got = f(lambda x, i: x.at[i].add(2.0, **options))(jnp.zeros(3), i)
        np.testing.assert_array_equal(got, [2.0, 0.0, 0.0])
    x = jnp.arange(3.0)
    options = {"mode": "fill", "fill_value": 7.0, "wrap_negative_indices": False}
    np.testing.assert_array_equal(f(lambda x: x.at[-1].get(**options))(x), 7.0)
    got = f(lambda x, i: jnp.take_along_axis(x, i, **options))(x, index)
    np.testing.assert_array_equal(got, [0.0, 7.0])
    got = f(lambda x, i: jnp.take_along_axis(x, i, mode="one_hot"))(x, np.array([-1, 3]))
    np.testing.assert_array_equal(got, [2.0, 0.0])
