"""Collectives over the named axes of vmap: psum, pmax, all_gather, ppermute ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.avals import ShapedArray
from nr.core.tracing import Primitive, axis_size, typeof
from nr.core.trees import tree_map
from nr.lax.convert import convert_element_type
from nr.lax.dynamic_slice import dynamic_index_in_dim, dynamic_slice_in_dim
from nr.lax.elementwise import div, mul
from nr.lax.gather import index_take
from nr.lax.reduce import reduce_max, reduce_min, reduce_sum
from nr.lax.rules import (
    broadcast_scalar,
    canonical_axis,
    const_like,
    move_dim,
    operand,
    to_front,
    zero_tangent,
    zeros_of,
)
from nr.lax.select import select
from nr.lax.shape import broadcasted_iota

AxisName = Any


def _uses(params: dict[str, Any], name: Any) -> bool:
    return params["axis_name"] == name


def _unbound(*args: Any, axis_name: Any, **params: Any) -> Any:
    axis_size(axis_name)  # raises NameError
    raise AssertionError(f"nr bug: axis {axis_name!r} is in scope but has no trace")


def _collective(
    name: str,
    over_axis: Callable,
    abstract_eval: Callable,
    *,
    jvp: Callable | None = None,
    transpose: Callable | None = None,
) -> Primitive:
    """A collective of one operand; ``over_axis(axis, x, dim, **params) -> (out, dim)`` runs it."""

    def batch(axis: Any, args: Any, dims: Any, *, axis_name: Any, **params: Any) -> Any:
        (x,), (d,) = args, dims
        if axis.name == axis_name:
            return over_axis(axis, x, d, **params)
        return _batch_other(primitive, axis, x, d, axis_name, params)

    def linear_jvp(primals: Any, tangents: Any, **params: Any) -> Any:
        return primitive.bind(*primals, **params), primitive.bind(*tangents, **params)

    primitive = Primitive(
        name,
        abstract_eval=abstract_eval,
        jvp=jvp or linear_jvp,
        transpose=transpose,
        batch=batch,
        evaluate=_unbound,
        uses_axis=_uses,
    )
    return primitive


def _batch_other(
    primitive: Primitive, axis: Any, x: Any, d: int, axis_name: Any, params: dict
) -> Any:
    """Batching over another axis: the collective acts on all lanes alike."""
    x = move_dim(x, d, 0)
    params = {k: v + 1 if k.endswith("dimension") else v for k, v in params.items()}
    return primitive.bind(x, axis_name=axis_name, **params), 0


def _same_aval(x: ShapedArray, *, axis_name: Any, **params: Any) -> ShapedArray:
    axis_size(axis_name)
    return x.strip_weak_type()


# ---------------------------------------------------------------- reductions
def _psum_over(axis: Any, x: Any, d: int | None) -> Any:
    if d is None:
        return mul(x, const_like(x, axis.size)), None
    return reduce_sum(x, (d,)), None


psum_p: Primitive = _collective(
    "psum",
    _psum_over,
    _same_aval,
    transpose=lambda ct, x, *, axis_name: [psum_p.bind(ct, axis_name=axis_name)],
)


def _extremum_jvp(primitive: Callable[[], Primitive]) -> Callable:
    def jvp(primals: Any, tangents: Any, *, axis_name: Any) -> Any:
        """The mean of the tangents of the lanes that attain the extremum."""
        (x,), (t,) = primals, tangents
        out = primitive().bind(x, axis_name=axis_name)
        mask = convert_element_type(Primitive.all["eq"].bind(x, out), typeof(x).dtype)
        total = psum_p.bind(mul(t, mask), axis_name=axis_name)
        return out, div(total, psum_p.bind(mask, axis_name=axis_name))

    return jvp


pmax_p: Primitive = _collective(
    "pmax",
    lambda axis, x, d: (x if d is None else reduce_max(x, (d,)), None),
    _same_aval,
    jvp=_extremum_jvp(lambda: pmax_p),
)
pmin_p: Primitive = _collective(
    "pmin",
    lambda axis, x, d: (x if d is None else reduce_min(x, (d,)), None),
    _same_aval,
    jvp=_extremum_jvp(lambda: pmin_p),
)


def _names(axis_name: AxisName) -> tuple[Any, ...]:
    return tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)


def _reduction(op: str, primitive: Primitive, x: Any, axis_name: AxisName) -> Any:
    def one(leaf: Any) -> Any:
        leaf = operand(op, leaf)
        for name in _names(axis_name):
            leaf = primitive.bind(leaf, axis_name=name)
        return leaf

    return tree_map(one, x)


def _check_groups(op: str, groups: Any) -> None:
    if groups is not None:
        raise NotImplementedError(f"{op}: axis_index_groups is not supported; got {groups!r}.")


def psum(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The sum of x over a named axis, the same in all lanes. x may be a pytree.

    Raises:
        NameError: if the axis name is not in scope.

    Example:
        >>> import nr
        >>> nr.vmap(lambda x: x / nr.lax.psum(x, "i"), axis_name="i")(nr.numpy.array([1., 3.]))
        Array([0.25, 0.75], dtype=float32)
    """
    _check_groups("psum", axis_index_groups)
    if isinstance(x, (int, float)) and not isinstance(x, bool):  # a Python number stays one
        for name in _names(axis_name):
            x = x * axis_size(name)
        return x
    return _reduction("psum", psum_p, tree_map(_counted, x), axis_name)


def _counted(x: Any) -> Any:
    """x as what can be summed: a bool counts as 0 or 1."""
    x = operand("psum", x)
    return convert_element_type(x, dtypes.scalar_dtype(int)) if x.dtype == dtypes.bool_dt else x


def pmean(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The mean of x over a named axis. x may be a pytree."""
    _check_groups("pmean", axis_index_groups)
    n = psum(1, axis_name)
    return tree_map(lambda v: psum(v, axis_name) / n, x)


def pmax(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The maximum of x over a named axis. x may be a pytree."""
    _check_groups("pmax", axis_index_groups)
    return _reduction("pmax", pmax_p, x, axis_name)


def pmin(x: Any, axis_name: AxisName, *, axis_index_groups: Any = None) -> Any:
    """The minimum of x over a named axis. x may be a pytree."""
    _check_groups("pmin", axis_index_groups)
    return _reduction("pmin", pmin_p, x, axis_name)


# ---------------------------------------------------------------- all_gather, ppermute, all_to_all
def _all_gather_aval(x: ShapedArray, *, axis_name: Any, all_gather_dimension: int) -> ShapedArray:
    d = all_gather_dimension
    return ShapedArray((*x.shape[:d], axis_size(axis_name), *x.shape[d:]), x.dtype)


def _all_gather_over(axis: Any, x: Any, d: int | None, *, all_gather_dimension: int) -> Any:
    return move_dim(to_front(x, d, axis.size), 0, all_gather_dimension), None


def _all_gather_transpose(
    ct: Any, x: Any, *, axis_name: Any, all_gather_dimension: int
) -> list[Any]:
    total = psum_p.bind(ct, axis_name=axis_name)
    own = axis_index(axis_name)
    return [dynamic_index_in_dim(total, own, all_gather_dimension, keepdims=False)]


all_gather_p = _collective(
    "all_gather", _all_gather_over, _all_gather_aval, transpose=_all_gather_transpose
)


def all_gather(
    x: Any,
    axis_name: AxisName,
    *,
    axis_index_groups: Any = None,
    axis: int = 0,
    tiled: bool = False,
) -> Any:
    """The values of all lanes, stacked along `axis` (or joined there, if tiled)."""
    _check_groups("all_gather", axis_index_groups)

    def one(leaf: Any) -> Array:
        leaf = operand("all_gather", leaf)
        d = canonical_axis("all_gather", axis, leaf.ndim + (not tiled))
        out = all_gather_p.bind(leaf, axis_name=axis_name, all_gather_dimension=d)
        if not tiled:
            return out
        shape = leaf.shape
        n = out.shape[d] * shape[d]
        return Primitive.all["reshape"].bind(out, new_sizes=(*shape[:d], n, *shape[d + 1 :]))

    return tree_map(one, x)


def _ppermute_over(axis: Any, x: Any, d: int | None, *, perm: tuple) -> Any:
    x = to_front(x, d, axis.size)
    source = np.full(axis.size, axis.size, np.int32)  # lanes that receive nothing take the zeros
    for src, dst in perm:
        source[dst] = src
    zeros = [(0, 1, 0)] + [(0, 0, 0)] * (typeof(x).ndim - 1)
    padded = Primitive.all["pad"].bind(x, const_like(x, 0), padding_config=tuple(zeros))
    return index_take(padded, (source,), (0,)), 0


ppermute_p: Primitive = _collective(
    "ppermute",
    _ppermute_over,
    _same_aval,
    transpose=lambda ct, x, *, axis_name, perm: [
        ppermute_p.bind(ct, axis_name=axis_name, perm=tuple([(dst, src) for src, dst in perm]))
    ],
)


def ppermute(x: Any, axis_name: AxisName, perm: Sequence[tuple[int, int]]) -> Any:
    """Send values between lanes: perm is (source, destination) pairs; others receive zeros.

    Raises:
        ValueError: if a source or a destination occurs twice.
    """
    perm = tuple([(int(a), int(b)) for a, b in perm])
    for side in (0, 1):
        lanes = [pair[side] for pair in perm]
        if len(set(lanes)) != len(lanes):
            raise ValueError(
                f"ppermute: sources and destinations must be distinct; got perm={perm}."
            )
    return tree_map(
        lambda leaf: ppermute_p.bind(operand("ppermute", leaf), axis_name=axis_name, perm=perm), x
    )


def pbroadcast(x: Any, axis_name: AxisName, source: int) -> Any:
    """The value of one lane, in all lanes. x may be a pytree.

    Example:
        >>> import nr
        >>> nr.vmap(lambda x: nr.lax.pbroadcast(x, "i", 1), axis_name="i")(nr.numpy.arange(3))
        Array([1, 1, 1], dtype=int32)
    """
    chosen = Primitive.all["eq"].bind(axis_index(axis_name), np.int32(source))

    def one(leaf: Any) -> Any:
        leaf = operand("pbroadcast", leaf)
        which = broadcast_scalar(chosen, leaf.shape)
        return psum(select(which, leaf, zeros_of(leaf.aval.strip_weak_type())), axis_name)

    return tree_map(one, x)


def pshuffle(x: Any, axis_name: AxisName, perm: Sequence[int]) -> Any:
    """Lane i receives the value of lane perm[i]."""
    return ppermute(x, axis_name, [(source, i) for i, source in enumerate(perm)])


def all_to_all(
    x: Any, axis_name: AxisName, split_axis: int, concat_axis: int, *, tiled: bool = False
) -> Any:
    """Slice j along split_axis goes to lane j; what arrives is stacked at concat_axis."""

    def one(leaf: Any) -> Array:
        leaf = operand("all_to_all", leaf)
        n = axis_size(axis_name)
        if leaf.shape[split_axis] != n and not tiled:
            raise ValueError(
                f"all_to_all: split_axis must have the size of the named axis, {n}; got "
                f"{leaf.aval} for axis {split_axis}."
            )
        gathered = all_gather(leaf, axis_name, axis=0)
        own = axis_index(axis_name)
        if tiled:
            block = leaf.shape[split_axis] // n
            mine = dynamic_slice_in_dim(
                gathered, mul(own, own.dtype.type(block)), block, axis=split_axis + 1
            )
            pieces = [
                Primitive.all["squeeze"].bind(
                    Primitive.all["slice"].bind(
                        mine,
                        start_indices=(i, *[0] * leaf.ndim),
                        limit_indices=(i + 1, *mine.shape[1:]),
                        strides=None,
                    ),
                    dimensions=(0,),
                )
                for i in range(n)
            ]
            return Primitive.all["concatenate"].bind(*pieces, dimension=concat_axis)
        mine = dynamic_index_in_dim(gathered, own, split_axis + 1, keepdims=False)
        return move_dim(mine, 0, concat_axis)

    return tree_map(one, x)


def pswapaxes(x: Any, axis_name: AxisName, axis: int, *, axis_index_groups: Any = None) -> Any:
    """The named axis and an axis of x, of the same size, exchanged. x may be a pytree.

    Example:
        >>> import nr
        >>> x = nr.numpy.arange(4).reshape(2, 2)
        >>> nr.vmap(lambda x: nr.lax.pswapaxes(x, "i", 0), axis_name="i")(x)
        Array([[0, 2],
               [1, 3]], dtype=int32)
    """
    _check_groups("pswapaxes", axis_index_groups)
    return all_to_all(x, axis_name, axis, axis)


def psum_scatter(
    x: Any,
    axis_name: AxisName,
    *,
    scatter_dimension: int = 0,
    axis_index_groups: Any = None,
    tiled: bool = False,
) -> Any:
    """The sum of x over a named axis, of which lane i keeps slice i. x may be a pytree.

    Args:
        x: array(s).
        axis_name: the axis to sum over.
        scatter_dimension: the dimension whose slices are given to the lanes.
        axis_index_groups: not supported.
        tiled: whether a lane's slice is a block that keeps the dimension; if not, the dimension has
            the size of the named axis, and goes away.

    Raises:
        ValueError: if the dimension can't be divided among the lanes.

    Example:
        >>> import nr
        >>> x = nr.numpy.arange(4).reshape(2, 2)
        >>> nr.vmap(lambda x: nr.lax.psum_scatter(x, "i"), axis_name="i")(x)
        Array([2, 4], dtype=int32)
    """
    _check_groups("psum_scatter", axis_index_groups)
    own, n = axis_index(axis_name), axis_size(axis_name)

    def one(leaf: Any) -> Array:
        leaf = operand("psum_scatter", leaf)
        d = canonical_axis("psum_scatter", scatter_dimension, leaf.ndim)
        size = leaf.shape[d]
        if size % n if tiled else size != n:
            wanted = "a multiple of" if tiled else "equal to"
            raise ValueError(
                f"psum_scatter: dimension {d} must be {wanted} the size of the named axis, {n}; "
                f"got {leaf.aval}."
            )
        total = psum(leaf, axis_name)
        if not tiled:
            return dynamic_index_in_dim(total, own, d, keepdims=False)
        block = size // n
        return dynamic_slice_in_dim(total, mul(own, own.dtype.type(block)), block, axis=d)

    return tree_map(one, x)


# ---------------------------------------------------------------- axis_index
def _axis_index_aval(*, axis_name: Any) -> ShapedArray:
    axis_size(axis_name)
    return ShapedArray((), np.int32)


axis_index_p = Primitive(
    "axis_index",
    abstract_eval=_axis_index_aval,
    batch=lambda axis, args, dims, *, axis_name: (
        broadcasted_iota(np.int32, (axis.size,), 0),
        0,
    ),
    evaluate=_unbound,
    uses_axis=_uses,
)
axis_index_p.jvp = lambda primals, tangents, **params: (
    axis_index_p.bind(**params),
    zero_tangent(axis_index_p.bind(**params)),
)


def axis_index(axis_name: AxisName) -> Array:
    """The lane's position along a named axis, i32[]."""
    names = _names(axis_name)
    index = axis_index_p.bind(axis_name=names[0])
    for name in names[1:]:
        size = index.dtype.type(axis_size(name))
        index = Primitive.all["add"].bind(mul(index, size), axis_index_p.bind(axis_name=name))
    return index


__all__ = [
    "all_gather",
    "all_to_all",
    "axis_index",
    "axis_size",
    "pbroadcast",
    "pmax",
    "pmean",
    "pmin",
    "ppermute",
    "pshuffle",
    "psum",
    "psum_scatter",
    "pswapaxes",
]
