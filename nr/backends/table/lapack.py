"""Kernels of what NumPy has no function for: LAPACK's functions, called for one matrix at a time.

They run on the host, also for CuPy's arrays. Failures give NaNs.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from ._structure import Array, Kernel, on_host

_LETTER = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
_BLOCK = 64  # columns of workspace that LAPACK's blocked code has besides its least

Matrices = tuple[np.ndarray, ...]


def _call(function: str, *arguments: np.ndarray | int | str) -> int:
    """Call a function by its name without the type's letter; give the status, its last argument.

    The first array of numbers says of which type it is. Integers are Fortran's INTEGER, strings
    CHARACTER; arrays are in Fortran's order.
    """
    # Imported when first needed: eager code that needs no LAPACK does not load it.
    from nr.backends.cpu import blas

    arrays = [x for x in arguments if isinstance(x, np.ndarray)]
    dtype = next(x.dtype for x in arrays if x.dtype.kind in "fc")
    status = ctypes.c_int(0)
    pointers, kept = [], []
    for x in arguments:
        if isinstance(x, np.ndarray):
            pointers.append(ctypes.c_void_p(x.ctypes.data))
            continue
        kept.append(ctypes.c_char(x.encode()) if isinstance(x, str) else ctypes.c_int(x))
        pointers.append(ctypes.byref(kept[-1]))  # type: ignore[arg-type]
    lengths = [ctypes.c_size_t(1) for x in arguments if isinstance(x, str)]
    name = f"scipy_{_LETTER[dtype.name]}{function}_"
    getattr(blas.library(), name)(*pointers, ctypes.byref(status), *lengths)
    return status.value


def _room(count: int, like: np.ndarray) -> np.ndarray:
    return np.empty(max(count, 1), like.dtype)


def _real(dtype: np.dtype) -> np.dtype:
    return np.empty(0, dtype).real.dtype


def _over_stack(xp: ModuleType, function: Callable[..., Matrices], ranks: Sequence[int]) -> Kernel:
    """A kernel from a function of matrices and vectors, whose last `ranks` dimensions they have."""

    def kernel(*operands: Array, **params: bool) -> tuple[Array, ...]:
        host = operands if on_host(xp) else [xp.asnumpy(x) for x in operands]
        lead = host[0].shape[: host[0].ndim - ranks[0]]
        count = math.prod(lead)
        if not count:
            like = function(*[np.ones(x.shape[len(lead) :], x.dtype) for x in host], **params)
            return tuple([xp.empty((*lead, *x.shape), x.dtype) for x in like])
        stacks = [x.reshape(count, *x.shape[len(lead) :]) for x in host]
        each = [function(*parts, **params) for parts in zip(*stacks, strict=True)]
        return tuple([
            xp.asarray(np.stack(parts).reshape(*lead, *parts[0].shape))
            for parts in zip(*each, strict=True)
        ])  # fmt: skip

    return kernel


# ---------------------------------------------------------------- one matrix
def _hessenberg(a: np.ndarray) -> Matrices:
    n = len(a)
    x, taus = np.array(a, order="F"), np.zeros(max(n - 1, 0), a.dtype)
    if n > 1:
        work = _room(_BLOCK * n, a)
        _call("gehrd", n, 1, n, x, n, taus, work, work.size)
    return np.ascontiguousarray(x), taus


def _schur(a: np.ndarray, *, compute_vectors: bool) -> Matrices:
    n = len(a)
    x, q = np.array(a, order="F"), np.empty((n, n), a.dtype, "F")
    if n:
        work, eigenvalues = _room(_BLOCK * n, a), _room(2 * n, a)
        unused = np.empty(n, np.int32)
        values = [eigenvalues] if a.dtype.kind == "c" else [eigenvalues[:n], eigenvalues[n:]]
        rest = [np.empty(n, _real(a.dtype))] if a.dtype.kind == "c" else []
        job = "V" if compute_vectors else "N"
        failed = not np.isfinite(a).all() or _call(
            "gees", job, "N", unused, n, x, n, unused, *values, q, n, work, work.size, *rest, unused
        )
        if failed:
            x[...] = q[...] = np.nan
    x = np.ascontiguousarray(x)
    return (x, np.ascontiguousarray(q)) if compute_vectors else (x,)


def _tridiagonal(a: np.ndarray, *, lower: bool) -> Matrices:
    n, real = len(a), _real(a.dtype)
    x, taus = np.array(a, order="F"), np.zeros(n - 1, a.dtype)
    d, e = np.empty(n, real), np.empty(max(n - 1, 1), real)
    work = _room(_BLOCK * n, a)
    function = "hetrd" if a.dtype.kind == "c" else "sytrd"
    _call(function, "L" if lower else "U", n, x, n, d, e, taus, work, work.size)
    return np.ascontiguousarray(x), d, e[: n - 1], taus


def _tridiagonal_solve(
    dl: np.ndarray, d: np.ndarray, du: np.ndarray, b: np.ndarray, *, perturb_singular: bool
) -> Matrices:
    n, columns = b.shape
    x = np.array(b, order="F")
    if x.size == 0:
        return (b,)
    below, diagonal, above = dl[1:].copy(), d.copy(), du[:-1].copy()
    if not perturb_singular:
        if _call("gtsv", n, columns, below, diagonal, above, x, n):
            x[...] = np.nan
        return (np.ascontiguousarray(x),)
    zero, second, exchanged = np.zeros(1, d.dtype), _room(n, d), np.empty(n, np.int32)
    _call("lagtf", n, diagonal, zero, above, below, zero, second, exchanged)
    for column in x.T:
        tolerance = np.zeros(1, d.dtype)
        _call("lagts", -1, n, diagonal, above, below, second, exchanged, column, tolerance)
    return (np.ascontiguousarray(x),)


def _qr_pivots(a: np.ndarray) -> Matrices:
    m, n = a.shape
    if m == 0:
        return (np.arange(n, dtype=np.int32),)
    pivots = np.zeros(n, np.int32)
    if n:
        x, work = np.array(a, order="F"), _room(2 * n + _BLOCK * (n + 1), a)
        rest = [np.empty(2 * n, _real(a.dtype))] if a.dtype.kind == "c" else []
        _call("geqp3", m, n, x, m, pivots, _room(min(m, n), a), work, work.size, *rest)
    return (pivots - 1,)


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """
    tridiagonal_solve = _over_stack(xp, _tridiagonal_solve, (1, 1, 1, 2))
    qr_pivots = _over_stack(xp, _qr_pivots, (2,))
    return {
        "hessenberg": _over_stack(xp, _hessenberg, (2,)),
        "schur": _over_stack(xp, _schur, (2,)),
        "tridiagonal": _over_stack(xp, _tridiagonal, (2,)),
        "tridiagonal_solve": lambda *args, **params: tridiagonal_solve(*args, **params)[0],
        "qr_pivots": lambda a: qr_pivots(a)[0],
    }
