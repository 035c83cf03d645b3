"""Looking at programs without running them: make_jaxpr, eval_shape, ShapeDtypeStruct."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr, trace_to_jaxpr
from nr.core.source_info import api_boundary, function_name
from nr.core.tracing import bound_axis, typeof
from nr.core.trees import tree_flatten, tree_unflatten
from nr.transforms.flat_fun import FlatFun, argument_names, signature_of


class ShapeDtypeStruct:
    """The shape and dtype of an array that is not there."""

    __slots__ = ("shape", "dtype", "weak_type")

    def __init__(self, shape: Sequence[int], dtype: Any, weak_type: bool = False) -> None:
        self.shape = tuple(shape)
        self.dtype = dtypes.canonicalize(dtype)
        self.weak_type = weak_type

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len: a shape of rank 1 or more was expected; got rank 0.")
        return self.shape[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and (self.shape, self.dtype) == (
            other.shape,
            other.dtype,
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name})"


def aval_of(x: Any) -> ShapedArray:
    """The aval of an array, number, or anything with shape and dtype."""
    if isinstance(x, ShapeDtypeStruct) or (
        hasattr(x, "shape") and hasattr(x, "dtype") and not hasattr(x, "__array__")
    ):
        return ShapedArray(x.shape, dtypes.canonicalize(x.dtype), getattr(x, "weak_type", False))
    return typeof(x)


def make_jaxpr(
    fun: Callable,
    static_argnums: int | Sequence[int] = (),
    axis_env: Sequence[tuple[Any, int]] | None = None,
    return_shape: bool = False,
) -> Callable:
    """A function that gives the jaxpr of `fun` for given arguments.

    Args:
        fun: the function.
        static_argnums: arguments that are Python values.
        axis_env: names and sizes of axes that collectives in the function may refer to.
        return_shape: whether to give the pytree of the results' shapes and dtypes, too.

    Example:
        >>> import nr
        >>> nr.make_jaxpr(nr.numpy.sin)(1.0)
        { lambda ; a:f32[] . let
            b:f32[] = sin a
          in (b,) }
    """
    if not callable(fun):
        raise TypeError(f"make_jaxpr: a function was expected; got {fun!r}.")
    signature = signature_of(fun)
    statics = {static_argnums} if isinstance(static_argnums, int) else set(static_argnums)

    @functools.wraps(fun)
    @api_boundary
    def jaxpr_f(*args: Any, **kwargs: Any) -> Any:
        dynamic = tuple([x for i, x in enumerate(args) if i not in statics])

        def f(*given: Any, **options: Any) -> Any:
            rest = iter(given)
            return fun(
                *[args[i] if i in statics else next(rest) for i in range(len(args))], **options
            )

        leaves, in_tree = tree_flatten((dynamic, kwargs))
        flat = FlatFun(f, in_tree, "make_jaxpr")
        with ExitStack() as axes:
            for axis, size in axis_env or ():
                axes.enter_context(bound_axis(axis, size))
            jaxpr, operands = trace_to_jaxpr(
                flat,
                [aval_of(x) for x in leaves],
                name=function_name(fun),
                arg_names=argument_names(signature, args, kwargs),
            )
        if operands:
            jaxpr = Jaxpr(
                [*jaxpr.constvars, *jaxpr.invars[: len(operands)]],
                [*jaxpr.consts, *operands],
                jaxpr.invars[len(operands) :],
                jaxpr.eqns,
                jaxpr.outvars,
            )
        if not return_shape:
            return jaxpr
        shapes = [ShapeDtypeStruct(a.shape, a.dtype) for a in jaxpr.out_avals]
        return jaxpr, tree_unflatten(flat.out_tree, shapes)

    return jaxpr_f


@api_boundary
def eval_shape(fun: Callable, *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of what a function returns, without running it.

    Example:
        >>> import nr
        >>> nr.eval_shape(nr.numpy.dot, nr.ShapeDtypeStruct((2, 3), "float32"), nr.numpy.ones(3))
        ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    leaves, in_tree = tree_flatten((args, kwargs))
    flat = FlatFun(fun, in_tree, "eval_shape")
    jaxpr, _ = trace_to_jaxpr(flat, [aval_of(x) for x in leaves], name=function_name(fun))
    shapes = [ShapeDtypeStruct(a.shape, a.dtype, a.weak_type) for a in jaxpr.out_avals]
    return tree_unflatten(flat.out_tree, shapes)
