"""Without this, ufunc methods and fits of polynomials could differ from JAX's."""

import functools

import numpy as np
import pytest

import nr
import nr.numpy as jnp

jax = pytest.importorskip("jax")
RNG = np.random.default_rng(0)
TOL = 2e-5  # eigenvalues and least squares of small systems in float32


def same(f, *args, tol=TOL):
    """f of a numpy module gives what JAX's gives."""
    got, want = nr.tree.leaves(f(jnp)(*args)), jax.tree.leaves(f(jax.numpy)(*args))
    assert len(got) == len(want)
    for a, b in zip(map(np.asarray, got), map(np.asarray, want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, tol, tol)


# ---------------------------------------------------------------- ufuncs
BINARY = ["add", "multiply", "subtract", "maximum", "minimum", "logaddexp", "logaddexp2"]
LOGICAL = ["logical_and", "logical_or", "logical_xor"]
BITWISE = ["bitwise_and", "bitwise_or", "bitwise_xor"]


def _sample(name):
    if name in BINARY:
        return RNG.standard_normal((3, 4)).astype(np.float32)
    return RNG.integers(0, 2, (3, 4)).astype(bool if name in LOGICAL else np.int32)


@pytest.mark.parametrize("name", [*BINARY, *LOGICAL, *BITWISE])
def test_methods_of_functions(name):
    x = _sample(name)
    for options in ({}, {"axis": 1}, {"axis": -1, "keepdims": True}, {"initial": x.dtype.type(1)}):
        same(lambda m, options=options: lambda x: getattr(m, name).reduce(x, **options), x)
    same(lambda m: lambda x: getattr(m, name).accumulate(x, axis=1), x)
    same(lambda m: lambda x: getattr(m, name).outer(x, x[0]), x)
    places = np.array([2, 0, 2])
    same(lambda m: lambda x: getattr(m, name).at(m.asarray(x), places, x[:1, 0], inplace=False), x)
    same(
        lambda m: lambda x: getattr(m, name).reduceat(m.asarray(x), np.array([0, 2, 1]), axis=1), x
    )
    ours, theirs = getattr(jnp, name), getattr(jax.numpy, name)
    assert (ours.nin, ours.nout, ours.nargs) == (theirs.nin, theirs.nout, 3)  # as in NumPy
    assert isinstance(ours, jnp.ufunc)
    assert not isinstance(jnp.sum, jnp.ufunc)


def test_reductions_with_masks():
    x = _sample("add")
    mask = x > 0
    same(lambda m: lambda x: m.add.reduce(x, where=mask), x)
    same(lambda m: lambda x: m.maximum.reduce(x, where=mask, initial=-9.0), x)
    same(lambda m: lambda x: m.logaddexp.reduce(x, axis=1, where=mask), x)
    same(lambda m: lambda x: m.add.reduce(x, axis=None, keepdims=True), x)
    same(lambda m: lambda x: m.negative.at(m.asarray(x), np.array([0, 0, 1]), inplace=False), x)
    with pytest.raises(ValueError, match="subtract.reduce: with where, an initial value is needed"):
        jnp.subtract.reduce(x, where=mask)
    with pytest.raises(ValueError, match="there are no elements, and no identity"):
        jnp.subtract.reduce(x[:0])
    with pytest.raises(NotImplementedError, match="Pass inplace=False"):
        jnp.add.at(x, 0, 1.0)
    with pytest.raises(ValueError, match="a function of two arguments"):
        jnp.negative.reduce(x)


def test_functions_of_numbers():
    x = RNG.standard_normal(5).astype(np.float32)

    def power_sum(m):
        return m.frompyfunc(lambda a, b: a * a + b, 2, 1, identity=0)

    for method in ("reduce", "accumulate"):
        same(lambda m, method=method: lambda x: getattr(power_sum(m), method)(x), x)
    same(lambda m: lambda x: power_sum(m).outer(x, x[:2]), x)
    same(lambda m: lambda x: power_sum(m)(x, 2), x)
    same(lambda m: lambda x: m.frompyfunc(lambda a, b: (a + b, a * b), 2, 2)(x, 2), x)
    np.testing.assert_allclose(nr.jit(power_sum(jnp).reduce)(x), power_sum(jnp).reduce(x), TOL)
    nr.grad(lambda x: power_sum(jnp).reduce(x))(x)
    with pytest.raises(TypeError, match="frompyfunc: a function was expected"):
        jnp.frompyfunc(3, 1, 1)
    with pytest.raises(ValueError, match="nin and nout must be positive"):
        jnp.frompyfunc(abs, 0, 1)
    with pytest.raises(TypeError, match="2 argument"):
        power_sum(jnp)(x)


# ---------------------------------------------------------------- polynomials
def test_division_of_polynomials():
    for u, v in (([1, 5, 6], [1, 2]), ([0, 1, 5, 7], [2, 2]), ([1], [1, 2]), ([3], [2])):
        u, v = np.array(u, np.float32), np.array(v, np.float32)
        same(lambda m: m.polydiv, u, v)
        same(lambda m: functools.partial(m.polydiv, trim_leading_zeros=True), u, v)


@pytest.mark.parametrize(
    "p", [[1, -3, 2], [0, 0, 1, -3, 2, 0], [1], [], [0, 0], [2, 0, 8], [1, -6, 11, -6]]
)
def test_zeros_of_polynomials(p):
    p = np.array(p, np.float32)
    got, want = np.asarray(jnp.roots(p)), np.asarray(jax.numpy.roots(p))
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(np.sort_complex(got), np.sort_complex(want), atol=1e-4)
    found = nr.jit(lambda p: jnp.roots(p, strip_zeros=False))(p)
    assert found.shape == (max(len(p) - 1, 0),)
    finite = np.asarray(found)[np.isfinite(np.asarray(found))]
    if p.any():
        np.testing.assert_allclose(np.sort_complex(finite), np.sort_complex(want), atol=1e-4)


def test_fits():
    x = np.arange(7, dtype=np.float32)
    y = (x**2 - 3 * x + RNG.standard_normal(7)).astype(np.float32)
    same(lambda m: lambda x, y: m.polyfit(x, y, 2), x, y, tol=1e-3)
    same(lambda m: lambda x, y: m.polyfit(x, y, 2, w=np.ones(7) / 2), x, y, tol=1e-3)
    same(lambda m: lambda x, y: m.polyfit(x, y, 1, cov=True), x, y, tol=1e-3)
    same(lambda m: lambda x, y: m.polyfit(x, y, 1, cov="unscaled"), x, y, tol=1e-3)
    same(lambda m: lambda x, y: m.polyfit(x, m.stack([y, -y], 1), 2), x, y, tol=1e-3)
    ours, theirs = jnp.polyfit(x, y, 2, full=True), jax.numpy.polyfit(x, y, 2, full=True)
    for a, b in zip(ours[:4], theirs[:4], strict=True):
        np.testing.assert_allclose(a, b, 1e-3, 1e-3)
    assert nr.jit(lambda y: jnp.polyfit(x, y, 1))(y).shape == (2,)
    for args, error in (((x, y, -1), ValueError), ((x[:, None], y, 1), TypeError),
                        ((x[:0], y, 1), TypeError), ((x, y[:2], 1), TypeError)):  # fmt: skip
        with pytest.raises(error, match="polyfit"):
            jnp.polyfit(*args)


def test_polynomials_side_by_side():
    p, x = RNG.standard_normal((3, 4)).astype(np.float32), np.arange(4, dtype=np.float32)
    same(lambda m: m.polyval, p, x)
    same(lambda m: m.polyval, p, np.float32(2))
    with pytest.raises(ValueError, match="dstack: at least one array was expected"):
        jnp.dstack(jnp.ones((0, 2)))


# ---------------------------------------------------------------- corners that JAX has
def test_corners():
    same(lambda m: m.bitwise_count, np.array([True, False]))
    same(lambda m: m.lexsort, np.array([3.0, 1.0]))
    same(lambda m: m.poly, np.array([[1.0, 2.0], [-3.0, 4.0]], np.float32))
    same(lambda m: m.linalg.matrix_rank, np.array([0.0, 1.0], np.float32))
    same(lambda m: functools.partial(m.linalg.slogdet, method="qr"), np.eye(2, dtype="f4"))
    matrix = jnp.array([[3.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    part = jnp.linalg.svd(matrix, full_matrices=False, subset_by_index=(1, 2))
    assert part.U.shape == (2, 1) and part.S.tolist() == [2.0] and part.Vh.shape == (1, 3)
    with pytest.raises(NotImplementedError, match="hermitian takes no subset_by_index"):
        jnp.linalg.svd(jnp.eye(2), hermitian=True, subset_by_index=(0, 1))
    with pytest.raises(ValueError, match='method must be "lu" or "qr"; got \'svd\''):
        jnp.linalg.slogdet(jnp.eye(2), method="svd")
    holes = np.array([[1.0, np.nan, 3.0], [2.0, 5.0, 7.0]], np.float32)
    for name in ("nanvar", "nanstd", "nanmean", "nansum"):
        f = lambda m, name=name: lambda x: getattr(m, name)(x, axis=0).sum()  # noqa: E731
        got = nr.grad(f(jnp))(holes[:, [0, 2]])
        np.testing.assert_allclose(nr.grad(f(jnp))(holes)[:, [0, 2]], got, TOL)
        np.testing.assert_allclose(got, jax.grad(f(jax.numpy))(holes[:, [0, 2]]), TOL, TOL)
    assert nr.grad(jnp.i0)(0.0) == 0 and nr.grad(nr.grad(jnp.i0))(0.0) == 0.5
    assert nr.grad(jnp.cbrt)(0.0) == np.inf
    assert nr.grad(lambda x: jnp.frexp(x)[0])(6.0) == 0.125
    parts = np.array([[0.3, 1.5], [-0.2, 0.0]], np.float32)  # True, but for 0
    for name in ("sum", "prod", "cumsum", "cumprod"):
        same(lambda m, name=name: functools.partial(getattr(m, name), dtype=bool, axis=1), parts)
    ends = {"mode": "linear_ramp", "end_values": (5, -4)}
    same(lambda m: functools.partial(m.pad, **ends), np.array([2, 3], np.uint8), (2, 3))
    mask = np.array([[True, False, False], [False, False, True]])
    same(lambda m: functools.partial(m.pad, mode="mean"), mask, 1)
    mask = np.array([[True, False, True], [True, True, False]])
    same(lambda m: m.select, mask, np.arange(6, dtype=np.float32).reshape(2, 3))
    with pytest.raises(TypeError, match="fabs: the dtype must be floating"):
        jnp.fabs(1j)
    for name in ("add", "hypot", "equal", "power", "logical_and"):
        for m in (jnp, jax.numpy):
            with pytest.raises(ValueError, match="Incompatible shapes for broadcasting"):
                getattr(m, name)(np.ones((3, 4)), np.ones(3))


# ---------------------------------------------------------------- place, and names
def test_place():
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    for vals in ([1.0], [7.0, 9.0], np.arange(10)):
        vals = np.asarray(vals)
        same(lambda m, vals=vals: lambda x: m.place(x, x > 1, vals, inplace=False), x)
        np.testing.assert_array_equal(
            nr.jit(lambda x, vals=vals: jnp.place(x, x > 1, vals))(x), jnp.place(x, x > 1, vals)
        )
    with pytest.raises(ValueError, match="place: one value or more was expected"):
        jnp.place(x, x > 1, np.zeros(0))
    with pytest.raises(ValueError, match="place: the mask must have 6 elements"):
        jnp.place(x, np.ones(3, bool), 1.0)


def test_names_of_kinds():
    for name in ("character", "flexible", "object_", "ComplexWarning"):
        assert getattr(jnp, name) is getattr(jax.numpy, name)
