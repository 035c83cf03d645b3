"""Linear systems with tridiagonal matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.tracing import Primitive, typeof
from nr.lax.elementwise import add, mul, neg
from nr.lax.linalg.matrices import along, check_matrices, matrix_batch
from nr.lax.rules import add_tangents, operand, zero_tangent
from nr.lax.shape import pad


def _solve_aval(
    dl: ShapedArray, d: ShapedArray, du: ShapedArray, b: ShapedArray, *, perturb_singular: bool
) -> ShapedArray:
    op = "tridiagonal_solve"
    check_matrices(op, b, "b")
    got = f'{dl} for "dl", {d} for "d", {du} for "du" and {b} for "b"'
    if not (dl.dtype == d.dtype == du.dtype == b.dtype):
        raise TypeError(
            f"{op}: operands must have the same dtype; got {got}. Convert them with .astype(...)."
        )
    if not (dl.shape == d.shape == du.shape == b.shape[:-1]):
        raise ValueError(
            f'{op}: shapes [..., n] for the diagonals and [..., n, k] for "b" were expected, with '
            f"the same leading dimensions; got {got}."
        )
    if perturb_singular and b.dtype in dtypes.COMPLEX:
        raise NotImplementedError(
            f"{op}: with perturb_singular=True, the dtype must be f32 or f64; got {b}."
        )
    return b.strip_weak_type()


def _moved(x: Any, by: int, axis: int) -> Any:
    """x moved by one along an axis, a zero coming in."""
    config = [(0, 0, 0)] * typeof(x).ndim
    config[axis] = (by, -by, 0)
    return pad(x, typeof(x).dtype.type(0), config)


def _times(dl: Any, d: Any, du: Any, x: Any) -> Any:
    """The product of a tridiagonal matrix, some of whose diagonals may be zero, with x."""
    total: Any = None
    shape = typeof(x).shape
    for diagonal, by in ((dl, 1), (d, 0), (du, -1)):
        if type(diagonal) is not Zero:
            term = mul(along(diagonal, shape, -2), _moved(x, by, len(shape) - 2) if by else x)
            total = term if total is None else add(total, term)
    return total


def _solve_jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: bool) -> Any:
    *diagonals, b = primals
    dl_dot, d_dot, du_dot, right = tangents
    x = tridiagonal_solve_p.bind(*diagonals, b, **params)
    term = _times(dl_dot, d_dot, du_dot, x)  # A x' = b' - A' x
    if term is not None:
        right = add_tangents(right, neg(term))
    if type(right) is Zero:
        return x, zero_tangent(x)
    return x, tridiagonal_solve_p.bind(*diagonals, right, **params)


def _solve_transpose(ct: Any, dl: Any, d: Any, du: Any, b: Any, **params: bool) -> list[Any]:
    assert UndefinedPrimal not in map(type, (dl, d, du)), "nr bug: linear in b only"
    axis = typeof(d).ndim - 1
    below, above = _moved(du, 1, axis), _moved(dl, -1, axis)
    return [None, None, None, tridiagonal_solve_p.bind(below, d, above, ct, **params)]


tridiagonal_solve_p: Primitive = Primitive(
    "tridiagonal_solve",
    abstract_eval=_solve_aval,
    jvp=_solve_jvp,
    transpose=_solve_transpose,
    batch=matrix_batch("tridiagonal_solve"),
)


def tridiagonal_solve(dl: Any, d: Any, du: Any, b: Any, *, perturb_singular: bool = False) -> Array:
    """Solve ``A x = b`` with tridiagonal matrices, by Gaussian elimination with row exchanges.

    Args:
        dl: what is below the diagonal, ``[..., n]``: ``A[i, i - 1]``; the first is not read.
        d: the diagonal ``[..., n]``.
        du: what is above it, ``[..., n]``: ``A[i, i + 1]``; the last is not read.
        b: ``[..., n, k]``.
        perturb_singular: change pivots near zero a little, so that x is finite for singular
            matrices too. Real dtypes only.

    Returns:
        x in the shape of b; NaNs where A is singular.

    Raises:
        TypeError: if dtypes differ, or are other than f32, f64, c64 and c128.
        ValueError: if shapes don't fit.
        NotImplementedError: for perturb_singular and complex dtypes.

    Example:
        >>> import nr
        >>> one, two = nr.numpy.ones(3), nr.numpy.full(3, 2.0)
        >>> nr.lax.linalg.tridiagonal_solve(one, two, one, nr.numpy.array([[3.], [4.], [3.]]))
        Array([[1.],
               [1.],
               [1.]], dtype=float32)
    """
    args = [operand("tridiagonal_solve", x) for x in (dl, d, du, b)]
    perturb = bool(perturb_singular)
    _solve_aval(*[x.aval for x in args], perturb_singular=perturb)
    return tridiagonal_solve_p.bind(*args, perturb_singular=perturb)
