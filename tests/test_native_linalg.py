"""Without this, linear algebra in compiled programs could run in Python, or give wrong numbers."""

import math

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.backends.compiler.loops import Buffer
from nr.backends.compiler.lowering.linalg import _qr, _solve
from nr.backends.cpu import blas, lapack
from nr.core.jaxprs import Literal
from nr.lax.linalg.determinants import pivot_columns_p

LINALG = nr.lax.linalg
TYPES = ("float32", "float64", "complex64", "complex128")
REAL = {"float32": "float32", "float64": "float64", "complex64": "float32", "complex128": "float64"}
# Small ones are written out for a few matrices, others for stacks; 9 and 33 are LAPACK's.
EXTENTS = (1, 3, 6, 9, 33)
STACKS = ((), (3,), (2, 20))


def eps(dtype):
    return float(np.finfo(dtype).eps)


def normal(dtype, *shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def regular(dtype, *shape, seed=0):
    """Matrices with condition numbers below some tens, whose rows have to be exchanged."""
    x = normal(dtype, *shape, seed=seed) / (3 * math.sqrt(max(shape[-1], 1)))
    return (x + 2 * np.eye(*shape[-2:])[::-1]).astype(dtype)


def definite(dtype, *shape, seed=0):
    x = normal(dtype, *shape, seed=seed) / (3 * math.sqrt(max(shape[-1], 1)))
    return (x @ adjoint(x) + np.eye(shape[-1])).astype(dtype)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def wide(x):
    """In double precision."""
    return np.asarray(x, np.result_type(np.asarray(x).dtype, np.float64))


def compiled(function, *args):
    """Results of the compiled function, none of which was computed in Python."""
    jitted = nr.jit(function)
    assert "everything is compiled" in jitted.lower(*args).compile().as_text("report")
    return [np.asarray(x) for x in nr.tree.leaves(jitted(*args))]


def close(got, want, dtype, *, times):
    """Within `times` epsilons of the largest number; NaNs and infinities at the same places."""
    want = np.asarray(want)
    assert got.shape == want.shape
    scale = np.abs(want[np.isfinite(want)]).max(initial=1e-30)
    np.testing.assert_allclose(got, want, rtol=0, atol=times * eps(dtype) * scale)


# ---------------------------------------------------------------- values
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", EXTENTS)
@pytest.mark.parametrize("stack", STACKS)
def test_factors_and_solutions(stack, n, dtype):
    a, b = regular(dtype, *stack, n, n), normal(dtype, *stack, n, 2, seed=1)
    (x,) = compiled(LINALG.solve, a, b)
    close(x, np.linalg.solve(wide(a), wide(b)), dtype, times=200 * n)
    factors, pivots, order = compiled(lambda a: LINALG.lu(a), a)
    lower, upper = np.tril(wide(factors), -1) + np.eye(n), np.triu(wide(factors))
    close(np.take_along_axis(wide(a), order[..., None], -2), lower @ upper, dtype, times=20 * n)
    want = LINALG.lu(jnp.asarray(a))
    assert np.array_equal(pivots, want[1])
    assert np.array_equal(order, want[2])
    (det,) = compiled(LINALG.det, a)
    close(det, np.linalg.det(wide(a)), dtype, times=300 * n)
    sign, logdet = compiled(LINALG.slogdet, a)
    want = np.linalg.slogdet(wide(a))
    close(sign, want[0], dtype, times=100 * n)
    np.testing.assert_allclose(logdet, want[1], atol=100 * n * eps(dtype))
    assert (sign.dtype, logdet.dtype) == (np.dtype(dtype), np.dtype(REAL[dtype]))
    p = definite(dtype, *stack, n, n)
    (low,) = compiled(lambda p: LINALG.cholesky(p, symmetrize_input=False), p)
    close(low, np.linalg.cholesky(wide(p)), dtype, times=10 * n)
    assert not np.triu(low, 1).any()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 5, 3), (2, 3, 7), (70, 40)])
def test_orthogonal_factors(shape, dtype):
    a = normal(dtype, *shape)
    m, n = shape[-2:]
    k = min(m, n)
    for full in (True, False):
        q, r = compiled(lambda a, full=full: LINALG.qr(a, full_matrices=full), a)
        assert q.shape[-1] == (m if full else k)
        close(wide(q) @ wide(r), a, dtype, times=50)
        inner = adjoint(wide(q)) @ wide(q)
        close(inner, np.broadcast_to(np.eye(q.shape[-1]), inner.shape), dtype, times=50)
        assert not np.tril(r, -1).any()
        u, s, vh = compiled(lambda a, full=full: LINALG.svd(a, full_matrices=full), a)
        close(wide(u[..., :k] * s[..., None, :]) @ wide(vh[..., :k, :]), a, dtype, times=50)
        close(s, np.linalg.svd(wide(a), compute_uv=False), dtype, times=50)
        for x in (adjoint(wide(u)) @ wide(u), wide(vh) @ adjoint(wide(vh))):
            close(x, np.broadcast_to(np.eye(x.shape[-1]), x.shape), dtype, times=50)
    (values,) = compiled(lambda a: LINALG.svd(a, compute_uv=False), a)
    close(values, s, dtype, times=50)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 4, 4), (50, 50)])
def test_eigenvalues(shape, dtype):
    n = shape[-1]
    p = definite(dtype, *shape)
    for lower in (True, False):
        half = np.tril(p) if lower else np.triu(p)
        v, w = compiled(lambda x: LINALG.eigh(x, lower=lower, symmetrize_input=False), half)  # noqa: B023
        close(w, np.linalg.eigvalsh(wide(p)), dtype, times=20 * n)
        close(wide(v * w[..., None, :]) @ adjoint(wide(v)), p, dtype, times=20 * n)
    a = normal(dtype, *shape, seed=2)
    w, v = compiled(lambda a: LINALG.eig(a, compute_left_eigenvectors=False), a)
    assert np.iscomplexobj(w)
    assert np.iscomplexobj(v)
    close(wide(a) @ v, v * w[..., None, :], dtype, times=100 * n)
    np.testing.assert_allclose(np.linalg.norm(wide(v), axis=-2), 1, rtol=50 * eps(dtype))
    (values,) = compiled(
        lambda a: LINALG.eig(a, compute_left_eigenvectors=False, compute_right_eigenvectors=False),
        a,
    )
    near = np.abs(values[..., :, None] - w[..., None, :]).min(axis=-1)
    assert near.max() <= 1000 * n * eps(dtype) * np.abs(w).max()


@pytest.mark.parametrize("stack", [(), (3,), (40,)])
@pytest.mark.parametrize("n", [2, 7])
@pytest.mark.parametrize("left", [True, False])
def test_triangles(left, n, stack):
    a = (regular("complex128", *stack, n, n)[..., ::-1]).copy()
    for k in (1, 3, 50):
        b = normal("complex128", *stack, *((n, k) if left else (k, n)))
        for number in range(16):
            lower, transpose, conjugate, unit = [bool(number >> i & 1) for i in range(4)]
            params = {
                "left_side": left, "lower": lower, "transpose_a": transpose,
                "conjugate_a": conjugate, "unit_diagonal": unit,
            }  # fmt: skip
            (x,) = compiled(lambda a, b: LINALG.triangular_solve(a, b, **params), a, b)  # noqa: B023
            matrix = np.tril(a, -unit) if lower else np.triu(a, unit)
            matrix = matrix + np.eye(n) * unit
            matrix = np.conj(matrix) if conjugate else matrix
            matrix = np.swapaxes(matrix, -1, -2) if transpose else matrix
            close(matrix @ x if left else x @ matrix, b, "complex128", times=1000)


@pytest.mark.parametrize("n", [3, 6, 9])
@pytest.mark.parametrize("stack", [1, 4, 40])
@pytest.mark.parametrize("k", [1, 3, 41])
def test_right_hand_sides(k, stack, n):
    a, b = regular("float64", stack, n, n), normal("float64", stack, n, k)
    (x,) = compiled(LINALG.solve, a, b)
    close(x, np.linalg.solve(a, b), "float64", times=1000)


@pytest.mark.parametrize("n", [4, 12])
def test_orders_of_columns_and_permutations(n):
    a = normal("float64", 5, n, n)
    got = compiled(lambda a: tuple(pivot_columns_p.bind(a)), a)
    want = nr.tree.leaves(tuple(pivot_columns_p.bind(jnp.asarray(a))))
    assert all(np.array_equal(g, w) for g, w in zip(got, want, strict=True))
    pivots = np.array(LINALG.lu(jnp.asarray(a))[1])
    (order,) = compiled(lambda p: LINALG.lu_pivots_to_permutation(p, n + 2), pivots)
    assert np.array_equal(order, LINALG.lu_pivots_to_permutation(jnp.asarray(pivots), n + 2))


# ---------------------------------------------------------------- exceptional matrices
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [2, 6, 20])
@pytest.mark.parametrize("stack", [3, 40])
def test_indefinite_matrices_give_nans(stack, n, dtype):
    p = definite(dtype, stack, n, n)
    p[1, n - 1, n - 1] = -1
    (low,) = compiled(lambda p: LINALG.cholesky(p, symmetrize_input=False), p)
    assert np.isnan(low[1][np.tri(n, dtype=bool)]).all()
    assert not np.triu(low[1], 1).any()
    rest = [i for i in range(stack) if i != 1]
    close(low[rest], np.linalg.cholesky(wide(p[rest])), dtype, times=50 * n)


@pytest.mark.parametrize("n", [3, 6, 12])
@pytest.mark.parametrize("stack", [2, 40])
def test_singular_matrices(stack, n):
    a = regular("float32", stack, n, n)
    a[1, :, 1] = 0
    b = np.ones((stack, n, 1), np.float32)
    with np.errstate(all="ignore"):
        (x,) = compiled(LINALG.solve, a, b)
        want = np.asarray(LINALG.solve(jnp.asarray(a), jnp.asarray(b)))
    assert np.array_equal(np.isfinite(x), np.isfinite(want))
    assert not np.isfinite(x[1]).all()
    assert compiled(LINALG.det, a)[0][1] == 0
    sign, logdet = compiled(LINALG.slogdet, a)
    assert (sign[1], logdet[1]) == (0, -math.inf)
    assert np.abs(sign[[0]]) == 1
    upper = np.triu(regular("float32", stack, n, n)[..., ::-1])
    upper[1, 0, 0] = 0
    (x,) = compiled(lambda a, b: LINALG.triangular_solve(a, b, left_side=True), upper, b)
    assert not np.isfinite(x[1, 0, 0])
    assert np.isfinite(x[1, 1:]).all()


@pytest.mark.parametrize("n", [3, 8, 20])
def test_nans_stay_in_their_matrix(n):
    a = definite("float32", 40, n, n)
    a[1, 1, 0] = a[1, 0, 1] = math.nan
    functions = [
        lambda a: LINALG.solve(a, a),
        lambda a: LINALG.lu(a)[0],
        LINALG.det,
        LINALG.slogdet,
        lambda a: LINALG.cholesky(a, symmetrize_input=False),
        lambda a: LINALG.qr(a),
        lambda a: LINALG.eigh(a),
        lambda a: LINALG.svd(a),
        lambda a: LINALG.eig(a, compute_left_eigenvectors=False),
    ]
    for function in functions:
        outs = compiled(function, a)
        assert any([np.isnan(x[1]).any() for x in outs])
        assert all([np.isfinite(np.delete(x, 1, axis=0)).all() for x in outs])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [3, 20])
def test_iterations_end_with_infinities(n, dtype):
    a = definite(dtype, 3, n, n)
    a[1, 1, 0] = math.inf
    functions = [
        lambda a: LINALG.svd(a),
        lambda a: LINALG.svd(a, compute_uv=False),
        lambda a: LINALG.eig(a, compute_left_eigenvectors=False),
    ]
    for function in functions:
        for x, eager in zip(
            compiled(function, a), nr.tree.leaves(function(jnp.asarray(a))), strict=True
        ):
            assert np.isnan(x[1]).all()
            assert np.isfinite(x[[0, 2]]).all()
            assert np.array_equal(np.isnan(x), np.isnan(eager))
    for lower in (True, False):  # the other triangle is not read
        v, w = compiled(lambda a: LINALG.eigh(a, lower=lower, symmetrize_input=False), a)  # noqa: B023
        assert np.isfinite(v[1]).all() != lower
        assert np.isfinite(w[1]).all() != lower


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0), (3, 0), (0, 3), (0, 9, 9), (2, 0, 5)])
def test_empty_matrices(shape):
    a = jnp.zeros(shape)
    functions = [lambda a: tuple(LINALG.lu(a))]
    for full in (True, False):
        functions.append(lambda a, full=full: LINALG.qr(a, full_matrices=full))
        functions.append(lambda a, full=full: LINALG.svd(a, full_matrices=full))
    if shape[-1] == shape[-2]:
        functions += [
            LINALG.det, LINALG.slogdet, LINALG.cholesky, LINALG.eigh, LINALG.eig,
            lambda a: tuple(pivot_columns_p.bind(a)),
            lambda a: LINALG.solve(a, a),
            lambda a: LINALG.triangular_solve(a, a),
        ]  # fmt: skip
    for function in functions:
        for got, want in zip(compiled(function, a), nr.tree.leaves(function(a)), strict=True):
            assert got.dtype == want.dtype
            assert np.array_equal(got, want)


# ---------------------------------------------------------------- programs
@pytest.mark.parametrize(("stack", "n"), [(3, 2), (40, 3), (40, 6), (2, 12)])
def test_gradients(stack, n):
    a, b = regular("float64", stack, n, n), normal("float64", stack, n, 2)

    def loss(a, b):
        return (
            jnp.sum(jnp.sin(jnp.linalg.solve(a, b)))
            + jnp.sum(jnp.linalg.det(a))
            + jnp.sum(jnp.linalg.cholesky(a @ jnp.matrix_transpose(a)))
        )

    eager = nr.grad(loss, argnums=(0, 1))(a, b)
    for got, want in zip(compiled(nr.grad(loss, argnums=(0, 1)), a, b), eager, strict=True):
        close(got, want, "float64", times=10_000)


def test_factors_inside_a_loop():
    p = definite("float32", 5, 12, 12)

    def step(total, x):
        low = LINALG.cholesky(x)
        return total + low, LINALG.solve(x, low)

    got = compiled(lambda p: nr.lax.scan(step, jnp.zeros((12, 12), jnp.float32), p), p)
    low = np.linalg.cholesky(p)
    close(got[0], low.sum(0), "float32", times=50)
    close(got[1], np.linalg.solve(p, low), "float32", times=500)


@pytest.mark.parametrize("n", [3, 12])
def test_results_do_not_depend_on_threads(n):
    a = definite("float32", 300, n, n)

    @nr.jit
    def everything(a):
        return LINALG.solve(a, a), LINALG.cholesky(a), LINALG.svd(a), LINALG.slogdet(a)

    outs = []
    for threads in (1, 2, 3):
        with nr.num_threads(threads):
            outs.append([np.asarray(x).tobytes() for x in nr.tree.leaves(everything(a))])
    assert outs[0] == outs[1] == outs[2]


class _Eqn:
    """An eqn of one stack of matrices, and right-hand sides."""

    def __init__(self, stack, m, n, **params):
        shapes = ((stack, m, n), (stack, n, 2))
        self.invars = [Literal(np.zeros(s, np.float32)) for s in shapes]
        self.params = params


def test_one_text_serves_all_sizes():
    def texts(stack, m, n):
        buffers = [Buffer(name, "f32", stack * m * n) for name in "abcd"]
        steps = _solve(_Eqn(stack, n, n), buffers[:2], buffers[2:], 64)
        steps += _qr(_Eqn(stack, m, n, full_matrices=True), buffers[:1], buffers[2:], 64)
        return [step.text for step in steps]

    assert texts(2, 20, 20) == texts(7, 33, 12)


def test_openblas_is_loaded_for_those_who_call_it_alone():
    loads = blas.library.cache_info()
    assert lapack.imports(["declare ptr @memcpy(ptr, ptr, i64)", "define void @kernel()"]) == {}
    assert blas.library.cache_info() == loads
    found = lapack.imports(["declare void @openblas_spotrf_(ptr, ptr, ptr, ptr, ptr, i64)"])
    assert list(found) == ["openblas_spotrf_"]
    assert found["openblas_spotrf_"]
