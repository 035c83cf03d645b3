"""Constructors of primitives whose rules follow from their kind, and helpers that rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array, ArrayImpl
from nr.core.avals import ShapedArray, UndefinedPrimal, Zero
from nr.core.tracing import PYTHON_SCALARS, Primitive, typeof

Accepts = frozenset[np.dtype]


# ---------------------------------------------------------------- operands
def operand(op: str, x: Any) -> Any:
    """x as an operand of a primitive; Python scalars become weak, NumPy arrays are copied.

    Raises:
        TypeError: if x is no array and no number.
    """
    if isinstance(x, Array):
        return x
    kind = type(x)
    if kind in PYTHON_SCALARS:
        return ArrayImpl(np.asarray(x, dtypes.scalar_dtype(kind)), None, kind is not bool)
    if isinstance(x, (np.ndarray, np.generic)):
        refuse_mask(op, x)
        return ArrayImpl(np.array(x, dtypes.canonicalize(x.dtype)))
    if isinstance(x, PYTHON_SCALARS):
        return operand(op, next(base(x) for base in PYTHON_SCALARS if isinstance(x, base)))
    if hasattr(x, "__jax_array__"):
        return x.__jax_array__()
    if hasattr(x, "__array__"):
        return operand(op, np.asarray(x))
    raise TypeError(
        f"{op}: an array or a number was expected; got {_short(x)} of type {type(x).__name__}. "
        f"Convert it with nr.numpy.asarray."
    )


def refuse_mask(op: str, x: Any) -> None:
    """Raise ValueError for NumPy's masked arrays, whose mask would be lost."""
    if isinstance(x, np.ma.MaskedArray):
        raise ValueError(
            f"{op}: an array without a mask was expected; got a masked one of {x.dtype}"
            f"{list(x.shape)}. Use .filled() to give the masked elements values."
        )


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 40 else text[:37] + "..."


def operand_of(op: str, x: Any, accepts: Accepts) -> Any:
    """x as an operand whose dtype is one of a set; NumPy would convert others."""
    if not isinstance(x, Array):
        x = operand(op, x)
    if x.dtype not in accepts:
        check_dtype(op, typeof(x), accepts)
    return x


def operands(op: str, *xs: Any, accepts: Accepts | None = None) -> Sequence[Any]:
    """Operands of one dtype (one of a set), and of one shape or rank 0.

    Python scalars take the dtype of the arrays that they meet; among arrays of one rank, extents of
    1 are stretched. Mismatches are found here and not left to NumPy, which would promote or
    broadcast.
    """
    strong = False  # arrays, and NumPy scalars beside them, which stay what they are
    for x in xs:
        if isinstance(x, Array) and not x.weak_type:
            strong = True
        elif not isinstance(x, np.generic):
            strong = False
            break
    if not strong:
        xs = one_dtype(op, *xs)  # type: ignore[assignment]
    first = xs[0]
    for x in xs[1:]:
        if x.dtype != first.dtype or (x.shape != first.shape and x.shape and first.shape):
            xs = _stretched(op, xs)  # type: ignore[assignment]
            break
        if not first.shape:
            first = x
    if accepts is not None and first.dtype not in accepts:
        check_dtype(op, typeof(first), accepts)
    return xs


def _stretched(op: str, xs: Sequence[Any]) -> Sequence[Any]:
    """Operands of one rank (or rank 0) and dtype, with extents of 1 stretched to the others'."""
    avals = [typeof(x) for x in xs]
    shapes = [a.shape for a in avals if a.shape]
    columns = [{n for n in column if n != 1} for column in zip(*shapes, strict=False)]
    if (
        len({a.dtype for a in avals}) > 1
        or len({len(shape) for shape in shapes}) > 1
        or any(len(wide) > 1 for wide in columns)
    ):
        _common(op, avals)
    shape = tuple([wide.pop() if wide else 1 for wide in columns])
    stretch = Primitive.all["broadcast_in_dim"]
    return [
        stretch.bind(x, shape=shape, broadcast_dimensions=tuple(range(len(shape))))
        if a.shape not in ((), shape)
        else x
        for x, a in zip(xs, avals, strict=True)
    ]


def one_dtype(op: str, *xs: Any) -> Sequence[Any]:
    """Operands, Python scalars in the dtype of the arrays that they meet; shapes are free."""
    strong = [x for x in xs if type(x) not in PYTHON_SCALARS and not getattr(x, "weak_type", False)]
    if not strong:
        out = [operand(op, x) for x in xs]
        if not out:
            return out
        dtype, _ = dtypes.promote([(x.dtype, x.weak_type) for x in out])
        return [cast_weak(op, x, dtype) for x in out]
    dtype = typeof(operand(op, strong[0])).dtype
    return [cast_weak(op, x, dtype) for x in xs]


_KIND_ORDER = {"b": 0, "u": 1, "i": 1, "f": 2, "V": 2, "c": 3}


def cast_weak(op: str, x: Any, dtype: np.dtype) -> Any:
    """A Python scalar, or an array of weak type, in the dtype that it meets; others unchanged."""
    kind = type(x)
    if kind in PYTHON_SCALARS:
        if _KIND_ORDER[dtypes.scalar_dtype(kind).kind] > _KIND_ORDER[dtype.kind]:
            return operand(op, x)
        return np.asarray(x).astype(dtype)[()] if dtype.kind != "u" or x >= 0 else dtype.type(x)
    x = operand(op, x)
    if x.weak_type and x.dtype != dtype and _KIND_ORDER[x.dtype.kind] <= _KIND_ORDER[dtype.kind]:
        return convert_weak(x, dtype)
    return x


def convert_weak(x: Any, dtype: np.dtype) -> Any:
    """A scalar in a dtype, as a weak one; other arrays in that dtype."""
    out = Primitive.all["convert_element_type"].bind(x, new_dtype=dtype, weak_type=True)
    return mark_weak(out)


def weak_where(flags: Iterable[bool], xs: Sequence[Any]) -> list[Any]:
    """Values, of which those that are flagged are weak if their rank is 0."""
    return [
        convert_weak(x, x.dtype) if weak and _is_strong_scalar(x) else x
        for weak, x in zip(flags, xs, strict=True)
    ]


def _is_strong_scalar(x: Any) -> bool:
    return isinstance(x, Array) and not x.shape and not x.weak_type


def mark_weak(out: Any, *operands: Any) -> Any:
    """An eager result of rank 0, weak if all the operands it depends on are."""
    if type(out) is ArrayImpl and not out.shape and all([typeof(x).weak_type for x in operands]):
        return ArrayImpl(out.data, out.committed, True)
    return out


def const_like(x: Any, value: Any) -> Any:
    """A Python number in the dtype of x, and weak as x is, for use beside x in a rule."""
    aval = typeof(x)
    number = aval.dtype.type(value)
    return ArrayImpl(np.asarray(number), None, True) if aval.weak_type else number


def zeros_of(aval: ShapedArray) -> Any:
    """An array of zeros of the aval (rank 0: a scalar)."""
    zero = np.zeros((), aval.dtype)[()]
    if not aval.shape or aval.dtype == dtypes.float0:
        return np.zeros(aval.shape, aval.dtype)
    return Primitive.all["broadcast_in_dim"].bind(zero, shape=aval.shape, broadcast_dimensions=())


def instantiate(t: Any) -> Any:
    """A tangent or cotangent as an array, also where it is a symbolic zero."""
    return zeros_of(t.aval) if type(t) is Zero else t


def float0_array(aval: ShapedArray) -> np.ndarray:
    """The array of float0 that users get: it holds nothing, and is NumPy's."""
    return np.zeros(aval.shape, dtypes.float0)


def as_users_get_it(x: Any) -> Any:
    """What leaves a transformation, arrays of float0 being NumPy's."""
    aval = typeof(x)
    return float0_array(aval) if aval.dtype == dtypes.float0 else x


def add_tangents(a: Any, b: Any) -> Any:
    """The sum of two tangents or cotangents, symbolic zeros staying symbolic."""
    if type(a) is Zero:
        return b
    if type(b) is Zero:
        return a
    return Primitive.all["add"].bind(a, b)


def zero_tangent(out: Any) -> Zero:
    return Zero(typeof(out).to_tangent())


def broadcast_scalar(x: Any, shape: tuple[int, ...]) -> Any:
    """A rank-0 value broadcast to a shape (others must have it already)."""
    if typeof(x).shape == shape:
        return x
    return Primitive.all["broadcast_in_dim"].bind(x, shape=shape, broadcast_dimensions=())


def unbroadcast(ct: Any, aval: ShapedArray) -> Any:
    """The cotangent of an operand that a rank-0 broadcast may have widened."""
    if aval.ndim == 0 and typeof(ct).ndim:
        return Primitive.all["reduce_sum"].bind(ct, axes=tuple(range(typeof(ct).ndim)))
    return ct


# ---------------------------------------------------------------- batching helpers
def move_dim(x: Any, source: int, to: int) -> Any:
    """x with one dimension moved."""
    if source == to:
        return x
    order = [i for i in range(typeof(x).ndim) if i != source]
    order.insert(to, source)
    return Primitive.all["transpose"].bind(x, permutation=tuple(order))


def broadcast_batch(x: Any, size: int, to: int = 0) -> Any:
    """x repeated along a new dimension."""
    if type(x) in PYTHON_SCALARS:  # NumPy would make 64 bits of it
        x = operand("vmap", x)
    shape = typeof(x).shape
    return Primitive.all["broadcast_in_dim"].bind(
        x,
        shape=(*shape[:to], size, *shape[to:]),
        broadcast_dimensions=tuple(i + (i >= to) for i in range(len(shape))),
    )


def to_front(x: Any, dim: int | None, size: int) -> Any:
    """x with its batch dimension in front, made by broadcasting where it has none."""
    return broadcast_batch(x, size) if dim is None else move_dim(x, dim, 0)


def elementwise_batch(primitive_name: str) -> Callable:
    """Batching of operations whose operands have one shape, or rank 0."""

    def batch(axis: Any, args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        primitive = Primitive.all[primitive_name]
        shapes = [typeof(x).shape for x in args]
        ranks = [len(s) - (d is not None) for s, d in zip(shapes, dims, strict=True)]
        rank = max(ranks)
        scalars = [d is None and r == 0 for d, r in zip(dims, ranks, strict=True)]
        full = {d for d, r, s in zip(dims, ranks, scalars, strict=True) if r == rank and not s}
        if len(full) == 1 and all(
            d is None for d, r in zip(dims, ranks, strict=True) if r < rank
        ):  # one layout, and what is not of full rank is a plain scalar
            dim = next(iter(full))
            if dim is not None:
                return primitive.bind(*args, **params), dim
        moved = []
        for x, d, r in zip(args, dims, ranks, strict=True):
            if d is None and r == 0:
                moved.append(x)
            elif r < rank:  # a batch of scalars beside arrays
                shape = next(
                    (s[:e] + s[e + 1 :] if e is not None else s)
                    for s, e, q in zip(shapes, dims, ranks, strict=True)
                    if q == rank
                )
                moved.append(
                    Primitive.all["broadcast_in_dim"].bind(
                        x, shape=(axis.size, *shape), broadcast_dimensions=(0,)
                    )
                )
            else:
                moved.append(to_front(x, d, axis.size))
        return primitive.bind(*moved, **params), 0

    return batch


# ---------------------------------------------------------------- shape and dtype checks
def check_dtype(op: str, aval: ShapedArray, accepts: Accepts) -> None:
    if aval.dtype not in accepts:
        raise TypeError(
            f"{op}: the dtype must be {_describe(accepts)}; got {aval}. "
            f"Convert it with .astype(...)."
        )


_NAMED_SETS = [
    (dtypes.BOOL, "bool"),
    (dtypes.FLOATING, "floating"),
    (dtypes.COMPLEX, "complex"),
    (dtypes.INTEGER, "an integer type"),
    (dtypes.INEXACT, "floating or complex"),
    (dtypes.REAL, "real"),
    (dtypes.NUMERIC, "numeric"),
    (dtypes.INTEGER | dtypes.BOOL, "an integer type or bool"),
    (dtypes.REAL | dtypes.BOOL, "real or bool"),
]


def _describe(accepts: Accepts) -> str:
    for known, name in _NAMED_SETS:
        if accepts == known:
            return name
    return "one of " + ", ".join(sorted(dtypes.short_name(d) for d in accepts))


def elementwise_aval(op: str, accepts: Accepts, result: Callable | None = None) -> Callable:
    """The aval rule of operations whose operands have one dtype, and one shape or rank 0."""

    def rule(*avals: ShapedArray, **params: Any) -> ShapedArray:
        aval = avals[0]
        for other in avals[1:]:
            if other is not aval:
                aval = _common(op, avals)
                break
        if aval.dtype not in accepts:
            check_dtype(op, aval, accepts)
        return aval if result is None else ShapedArray(aval.shape, result(aval.dtype))

    return rule


def _common(op: str, avals: Sequence[ShapedArray]) -> ShapedArray:
    if len({a.dtype for a in avals}) > 1:
        got = " and ".join(map(str, avals))
        raise TypeError(
            f"{op}: operands must have the same dtype; got {got}. "
            f"Convert one with .astype(...), or use nr.numpy, which promotes."
        )
    shapes = {a.shape for a in avals if a.shape}
    if len(shapes) > 1:
        got = " and ".join(map(str, avals))
        raise TypeError(
            f"{op}: operands must have the same shape (or rank 0); got {got}. "
            f"Broadcast one with nr.numpy.broadcast_to, or use nr.numpy, which broadcasts."
        )
    weak = all([a.weak_type for a in avals])
    return ShapedArray(shapes.pop() if shapes else (), avals[0].dtype, weak)


# ---------------------------------------------------------------- constructors
def elementwise(
    name: str,
    accepts: Accepts,
    *derivatives: Callable | None,
    result: Callable | None = None,
    transpose: Callable | None = None,
    abstract_eval: Callable | None = None,
) -> Primitive:
    """An operation element by element.

    Args:
        accepts: dtypes of the operands.
        derivatives: one an operand: ``(t, out, *operands, **params)`` gives the tangent that
            operand's tangent t contributes; None where it contributes nothing.
        result: dtype of the result from that of the operands, where they differ.
        transpose: where it is linear in operands.
        abstract_eval: where the usual aval rule does not fit.
    """
    primitive = Primitive(
        name,
        abstract_eval=abstract_eval or elementwise_aval(name, accepts, result),
        batch=elementwise_batch(name),
        transpose=transpose,
        keeps_weak=result in (None, dtypes.to_real),
    )

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        shape = out.shape
        total = None
        for t, derivative in zip(tangents, derivatives, strict=True):
            if type(t) is not Zero and derivative is not None:
                term = derivative(t, out, *primals, **params)
                if term.shape != shape:
                    term = broadcast_scalar(term, shape)
                total = term if total is None else add_tangents(total, term)
        return out, zero_tangent(out) if total is None else total

    primitive.jvp = jvp if derivatives else no_derivative(primitive)
    return primitive


def no_derivative(primitive: Primitive) -> Callable:
    """The jvp rule of what is piecewise constant, or integer."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        if primitive.multiple_results:
            return out, [zero_tangent(x) for x in out]
        return out, zero_tangent(out)

    return jvp


def linear(
    name: str, *, abstract_eval: Callable, transpose: Callable, batch: Callable
) -> Primitive:
    """An operation linear in its first operand and differentiable in no other.

    ``transpose(ct, x, *others, **params)`` gives the cotangent of x.
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        if type(tangents[0]) is Zero:
            return out, zero_tangent(out)
        return out, primitive.bind(tangents[0], *primals[1:], **params)

    def transpose_first(ct: Any, *args: Any, **params: Any) -> list[Any]:
        return [transpose(ct, *args, **params), *[None] * (len(args) - 1)]

    primitive = Primitive(
        name, abstract_eval=abstract_eval, jvp=jvp, transpose=transpose_first, batch=batch
    )
    return primitive


def bilinear(
    name: str,
    *,
    abstract_eval: Callable,
    transpose_lhs: Callable,
    transpose_rhs: Callable,
    batch: Callable,
) -> Primitive:
    """An operation linear in each of two operands.

    ``transpose_lhs(ct, x, y, **params)`` gives the cotangent of x (then `UndefinedPrimal`).
    """

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        (x, y), (x_dot, y_dot) = primals, tangents
        out = primitive.bind(x, y, **params)
        out_dot: Any = zero_tangent(out)
        if type(x_dot) is not Zero:
            out_dot = primitive.bind(x_dot, y, **params)
        if type(y_dot) is not Zero:
            out_dot = add_tangents(out_dot, primitive.bind(x, y_dot, **params))
        return out, out_dot

    def transpose(ct: Any, x: Any, y: Any, **params: Any) -> list[Any]:
        if type(x) is UndefinedPrimal:
            return [transpose_lhs(ct, x, y, **params), None]
        return [None, transpose_rhs(ct, x, y, **params)]

    primitive = Primitive(
        name, abstract_eval=abstract_eval, jvp=jvp, transpose=transpose, batch=batch
    )
    return primitive


def nondifferentiable(
    name: str, *, abstract_eval: Callable, batch: Callable, multiple_results: bool = False
) -> Primitive:
    """An operation whose tangents are always zero."""
    primitive = Primitive(
        name, abstract_eval=abstract_eval, batch=batch, multiple_results=multiple_results
    )
    primitive.jvp = no_derivative(primitive)
    return primitive


# ---------------------------------------------------------------- axes
def canonical_axis(op: str, axis: Any, ndim: int) -> int:
    """A non-negative axis; where it is out of range, NumPy's error: a ValueError and IndexError."""
    try:
        axis = axis.__index__()
    except AttributeError:
        raise TypeError(f"{op}: axis must be an integer; got {axis!r}.") from None
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(
            f"{op}: axis {axis} is out of bounds for array of dimension {ndim}; "
            f"it must lie in [{-ndim}, {ndim})."
        )
    return axis + ndim if axis < 0 else axis


def sequence_of_axes(axes: Any) -> Any:
    """One axis as a sequence; several (also those in an array) as they are."""
    if isinstance(axes, (tuple, list, range)) or getattr(axes, "ndim", 0) == 1:
        return axes
    return (axes,)


def canonical_axes(op: str, axes: Any, ndim: int) -> tuple[int, ...]:
    """Non-negative, distinct axes, in a sequence or an array of them; None means all."""
    if axes is None:
        return tuple(range(ndim))
    result = tuple([canonical_axis(op, axis, ndim) for axis in sequence_of_axes(axes)])
    if len(set(result)) != len(result):
        raise ValueError(f"{op}: duplicate value in axis; got {tuple(axes)} for rank {ndim}.")
    return result
