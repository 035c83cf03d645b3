"""Op cases of nr.lax.linalg."""

import numpy as np

import nr
from nr.lax.linalg.determinants import pivot_columns_p
from tests.cases.base import OpCase, normal

LINALG = nr.lax.linalg
TYPES = ("float32", "complex64", "float64", "complex128")
REAL = ("float32", "float64")
# The samples' condition numbers are below 100: that many times the usual tens of epsilon.
TOL = {"float32": 5e-4, "complex64": 5e-4, "float64": 5e-12, "complex128": 5e-12}


# ---------------------------------------------------------------- samples
def apart(rng, dt, shape):
    """Matrices whose eigenvalues, singular values and pivots are well apart, rows exchanged."""
    x = 0.3 * normal(rng, dt, shape)
    m, n = shape[-2:]
    diagonal = np.zeros((m, n))
    diagonal[range(min(m, n)), range(min(m, n))] = 1.5 * np.arange(1, min(m, n) + 1)
    return (x + diagonal[::-1]).astype(dt)


def hermitian(rng, dt, shape):
    """Hermitian matrices, positive definite, with eigenvalues well apart."""
    x = 0.3 * normal(rng, dt, shape)
    x = x + np.conj(np.swapaxes(x, -1, -2)) + np.diag(2.0 * np.arange(1, shape[-1] + 1))
    return x.astype(dt)


def triangular(rng, dt, shape):
    """Matrices of which both triangles are good ones."""
    return (0.3 * normal(rng, dt, shape) + np.diag(np.linspace(2, 3, shape[-1]))).astype(dt)


def squared(x):
    """|x|^2: what the phases that vectors are free to have leave alone."""
    return nr.numpy.real(x * nr.numpy.conj(x))


def _squared(x):
    return (x * np.conj(x)).real


# ---------------------------------------------------------------- references
def _solve_reference(a, b, left_side, lower, transpose_a, conjugate_a, unit_diagonal):
    a = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        a = a - a * np.eye(a.shape[-1], dtype=a.dtype) + np.eye(a.shape[-1], dtype=a.dtype)
    a = np.conj(a) if conjugate_a else a
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    if left_side:
        return np.linalg.solve(a, b)
    return np.swapaxes(np.linalg.solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)


def _lu_reference(a):
    """Gaussian elimination of one matrix, step by step; LAPACK's choice of complex pivots."""
    a, permutation, pivots = a.copy(), np.arange(len(a), dtype=np.int32), []
    for j in range(min(a.shape)):
        p = j + int(np.argmax(abs(a[j:, j].real) + abs(a[j:, j].imag)))
        pivots.append(p)
        a[[j, p]], permutation[[j, p]] = a[[p, j]], permutation[[p, j]]
        a[j + 1 :, j] /= a[j, j]
        a[j + 1 :, j + 1 :] -= np.outer(a[j + 1 :, j], a[j, j + 1 :])
    return a, np.array(pivots, np.int32), permutation


# ---------------------------------------------------------------- cases
def _case(name, fun, args, reference, primitive, dtypes=TYPES, **options):
    return OpCase(name, fun, args, reference, dtypes, tol=TOL, primitive=primitive, **options)


def _triangular(**params):
    b = (2, 3, 2) if params["left_side"] else (2, 2, 3)
    flags = " ".join(name for name, on in params.items() if on)
    return _case(
        f"triangular_solve {flags}",
        lambda x, y: LINALG.triangular_solve(x, y, **params),
        lambda rng, dt: (triangular(rng, dt, (2, 3, 3)), normal(rng, dt, b)),
        lambda x, y: _solve_reference(x, y, **params),
        "triangular_solve",
        TYPES if params["conjugate_a"] else REAL,
    )


NAMES = ("left_side", "lower", "transpose_a", "conjugate_a", "unit_diagonal")
FLAGS = ["10000", "11000", "10100", "11110", "11001", "00000", "01000", "00110", "01011", "00101"]
SYSTEMS = [
    *[_triangular(**{n: f == "1" for n, f in zip(NAMES, flags, strict=True)}) for flags in FLAGS],
    _case(
        "solve (2, 3, 3)",
        LINALG.solve,
        lambda rng, dt: (apart(rng, dt, (2, 3, 3)), normal(rng, dt, (2, 3, 2))),
        np.linalg.solve,
        "solve",
    ),
]


def _determinant(name, n, reference):
    return _case(
        f"{name} (2, {n}, {n})",
        getattr(LINALG, name),
        lambda rng, dt: (0.7 * apart(rng, dt, (2, n, n)),),
        reference,
        name,
        TYPES if n in (3, 4) else REAL,
    )


DETERMINANTS = [
    *[_determinant("det", n, np.linalg.det) for n in (1, 2, 3, 4)],
    *[_determinant("slogdet", n, lambda x: tuple(np.linalg.slogdet(x))) for n in (1, 3, 4)],
]

LU = [
    _case(
        f"lu {shape}",
        lambda x: LINALG.lu(x),
        lambda rng, dt, shape=shape: (apart(rng, dt, shape),),
        _lu_reference,
        "lu",
    )
    for shape in ((3, 3), (4, 2), (2, 4))
]


def _permutation_reference(pivots):
    permutation = np.arange(4, dtype=np.int32)
    for i, p in enumerate(pivots):
        permutation[[i, p]] = permutation[[p, i]]
    return permutation


def _diagonal(rng, dt, shape):
    """Diagonal matrices with distinct entries."""
    return np.diag(rng.permutation(np.arange(1.0, shape[-1] + 1))).astype(dt)


def _column_reference(x):
    """Of a diagonal matrix: the columns by falling entries, and the sign of that order."""
    order = np.argsort(-np.abs(np.diag(x))).astype(np.int32)
    return order, np.round(np.linalg.det(np.eye(len(order))[order])).astype(np.int32)


PIVOTS = [
    OpCase(
        "lu_pivots_to_permutation",
        lambda pivots: LINALG.lu_pivots_to_permutation(pivots, 4),
        lambda rng, dt: (np.array([rng.integers(i, 4) for i in range(3)], dt),),
        _permutation_reference,
        ("int32",),
        grad=False,
        primitive="lu_pivots_to_permutation",
    ),
    OpCase(
        "pivot_columns of a diagonal matrix",
        lambda x: tuple(pivot_columns_p.bind(x)),
        lambda rng, dt: (_diagonal(rng, dt, (4, 4)),),
        _column_reference,
        REAL,
        grad=False,
        primitive="pivot_columns",
    ),
]


def _svd(x):
    u, s, vh = LINALG.svd(x, full_matrices=False)
    return squared(u), s, squared(vh)


def _svd_reference(x):
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return _squared(u), s, _squared(vh)


def _eigh(x):
    v, w = LINALG.eigh(x)
    return squared(v), w


def _eig(x):
    w, v = LINALG.eig(x, compute_left_eigenvectors=False)
    return w, squared(v)


def _pivoted_qr_reference(x):
    """The largest column first, then the largest of what is left of the others, ..."""
    order, rest = list(range(x.shape[1])), x.copy()
    for j in range(min(x.shape)):
        p = j + int(np.argmax(np.linalg.norm(rest[:, order[j:]], axis=0)))
        order[j], order[p] = order[p], order[j]
        column = rest[:, order[j]] / np.linalg.norm(rest[:, order[j]])
        rest = rest - np.outer(column, column.conj() @ rest)
    return *np.linalg.qr(x[:, order]), np.array(order, np.int32)


FACTORIZATIONS = [
    _case(
        "cholesky (2, 3, 3)",
        LINALG.cholesky,
        lambda rng, dt: (hermitian(rng, dt, (2, 3, 3)),),
        np.linalg.cholesky,
        "cholesky",
    ),
    _case(
        "cholesky (3, 3) of the lower triangle",
        lambda x: LINALG.cholesky(x, symmetrize_input=False),
        lambda rng, dt: (np.tril(hermitian(rng, dt, (3, 3))),),
        np.linalg.cholesky,
        "cholesky",
        REAL,
    ),
    *[
        _case(
            f"qr {shape} full_matrices={full}",
            lambda x, full=full: LINALG.qr(x, full_matrices=full),
            lambda rng, dt, shape=shape: (apart(rng, dt, shape),),
            lambda x, full=full: tuple(np.linalg.qr(x, "complete" if full else "reduced")),
            "qr",
        )
        for shape, full in (
            ((2, 3, 3), True),
            ((2, 4, 2), False),
            ((2, 4), True),
            ((2, 4, 2), True),
        )
    ],
    *[
        _case(
            f"qr {shape} pivoting",
            lambda x: LINALG.qr(x, pivoting=True, full_matrices=False),
            lambda rng, dt, shape=shape: (apart(rng, dt, shape),),
            lambda x: _pivoted_qr_reference(x),
            "qr_pivots",
        )
        for shape in ((3, 3), (4, 2), (2, 4))
    ],
    *[
        _case(
            f"svd {shape}",
            _svd,
            lambda rng, dt, shape=shape: (apart(rng, dt, shape),),
            _svd_reference,
            "svd",
        )
        for shape in ((2, 3, 3), (4, 2), (2, 4))
    ],
    _case(
        "svd (2, 3, 4) compute_uv=False",
        lambda x: LINALG.svd(x, compute_uv=False),
        lambda rng, dt: (apart(rng, dt, (2, 3, 4)),),
        lambda x: np.linalg.svd(x, compute_uv=False),
        "svd",
    ),
    _case(
        "eigh (2, 3, 3)",
        _eigh,
        lambda rng, dt: (hermitian(rng, dt, (2, 3, 3)),),
        lambda x: (_squared(np.linalg.eigh(x)[1]), np.linalg.eigh(x)[0]),
        "eigh",
    ),
    _case(
        "eigh (3, 3) of the upper triangle",
        lambda x: LINALG.eigh(x, lower=False, symmetrize_input=False)[1],
        lambda rng, dt: (np.triu(hermitian(rng, dt, (3, 3))),),
        lambda x: np.linalg.eigvalsh(x, "U"),
        "eigh",
        REAL,
    ),
    _case(
        "eig (2, 3, 3)",
        _eig,
        lambda rng, dt: (apart(rng, dt, (2, 3, 3))[..., ::-1],),
        lambda x: (
            np.linalg.eig(x)[0].astype(np.result_type(x, np.complex64)),
            _squared(np.linalg.eig(x)[1]),
        ),
        "eig",
    ),
]


def _rebuilt(packed, middle, taus):
    """Q @ middle @ Q^H, Q being the product of reflectors that leave the first row alone."""
    jnp, n = nr.numpy, packed.shape[-1]
    inner = LINALG.householder_product(packed[..., 1:, : n - 1], taus)
    q = jnp.broadcast_to(jnp.eye(n, dtype=packed.dtype), packed.shape).at[..., 1:, 1:].set(inner)
    return q @ middle @ jnp.conj(jnp.swapaxes(q, -1, -2))


def _from_hessenberg(x):
    packed, taus = LINALG.hessenberg(x)
    return _rebuilt(packed, nr.numpy.triu(packed, -1), taus)


def _tridiagonal_matrix(d, e):
    jnp = nr.numpy
    below = jnp.pad(e, [(0, 0)] * (e.ndim - 1) + [(0, 1)])[..., None, :]
    low = below * jnp.eye(d.shape[-1], k=-1, dtype=e.dtype)
    return d[..., None, :] * jnp.eye(d.shape[-1], dtype=d.dtype) + low + jnp.swapaxes(low, -1, -2)


def _from_tridiagonal(x):
    packed, d, e, taus = LINALG.tridiagonal(x)
    return _rebuilt(packed, _tridiagonal_matrix(d, e).astype(x.dtype), taus)


def _from_schur(x):
    t, q = LINALG.schur(x)
    return q @ t @ nr.numpy.conj(nr.numpy.swapaxes(q, -1, -2))


def _dense(dl, d, du):
    return np.diag(dl[1:], -1) + np.diag(d) + np.diag(du[:-1], 1)


REDUCTIONS = [
    *[
        _case(
            f"hessenberg {shape}",
            _from_hessenberg,
            lambda rng, dt, shape=shape: (normal(rng, dt, shape),),
            lambda x: x,
            "hessenberg",
            grad=False,
        )
        for shape in ((2, 4, 4), (1, 1))
    ],
    _case(
        "tridiagonal (2, 4, 4)",
        _from_tridiagonal,
        lambda rng, dt: (hermitian(rng, dt, (2, 4, 4)),),
        lambda x: x,
        "tridiagonal",
        grad=False,
    ),
    _case(
        "tridiagonal (3, 3) of the upper triangle: its eigenvalues",
        lambda x: LINALG.eigh(_tridiagonal_matrix(*LINALG.tridiagonal(x, lower=False)[1:3]))[1],
        lambda rng, dt: (np.triu(hermitian(rng, dt, (3, 3))),),
        lambda x: np.linalg.eigvalsh(x, "U"),
        "tridiagonal",
        grad=False,
    ),
    *[
        _case(
            f"schur {shape}",
            _from_schur,
            lambda rng, dt, shape=shape: (normal(rng, dt, shape),),
            lambda x: x,
            "schur",
            grad=False,
        )
        for shape in ((2, 4, 4), (1, 1))
    ],
    *[
        _case(
            f"tridiagonal_solve {n} by {columns}",
            LINALG.tridiagonal_solve,
            lambda rng, dt, n=n, columns=columns: (
                normal(rng, dt, (n,)),
                3 + normal(rng, dt, (n,)) / 4,
                normal(rng, dt, (n,)),
                normal(rng, dt, (n, columns)),
            ),
            lambda dl, d, du, b: np.linalg.solve(_dense(dl, d, du), b),
            "tridiagonal_solve",
        )
        for n, columns in ((4, 2), (1, 1))
    ],
]


def _reflected_reference(a, taus, columns):
    q = np.eye(len(a), dtype=a.dtype)
    for j, tau in enumerate(taus):
        v = np.concatenate([np.zeros(j), [1.0], a[j + 1 :, j]]).astype(a.dtype)
        q = q - tau * np.outer(q @ v, v.conj())
    return q[:, :columns]


def _ormqr_reference(a, taus, c, left, transpose):
    q = _reflected_reference(a, taus, len(a))
    q = q.conj().T if transpose else q
    return q @ c if left else c @ q


PRODUCTS = [
    _case(
        "householder_product (4, 3)",
        LINALG.householder_product,
        lambda rng, dt: (normal(rng, dt, (4, 3)), 1 + normal(rng, dt, (2,)) / 4),
        lambda a, taus: _reflected_reference(a, taus, 3),
        None,
    ),
    *[
        _case(
            f"ormqr left={left} transpose={transpose}",
            lambda a, taus, c, left=left, transpose=transpose: LINALG.ormqr(
                a, taus, c, left=left, transpose=transpose
            ),
            lambda rng, dt, left=left: (
                normal(rng, dt, (4, 2)),
                1 + normal(rng, dt, (2,)) / 4,
                normal(rng, dt, (4, 3) if left else (3, 4)),
            ),
            lambda a, taus, c, left=left, transpose=transpose: _ormqr_reference(
                a, taus, c, left, transpose
            ),
            None,
            grad=left or not transpose,
        )
        for left in (True, False)
        for transpose in (True, False)
    ],
    _case(
        "symmetric_product (2, 3, 2)",
        lambda a, c: LINALG.symmetric_product(a, c, alpha=2.0, beta=0.5, symmetrize_output=True),
        lambda rng, dt: (normal(rng, dt, (2, 3, 2)), np.tril(normal(rng, dt, (2, 3, 3)))),
        lambda a, c: (
            2 * a @ np.swapaxes(a, -1, -2) + (np.tril(c) + np.swapaxes(np.tril(c, -1), -1, -2)) / 2
        ),
        None,
    ),
]

CASES = [*SYSTEMS, *DETERMINANTS, *LU, *PIVOTS, *FACTORIZATIONS, *REDUCTIONS, *PRODUCTS]
