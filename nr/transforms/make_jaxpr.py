"""Looking at programs without running them: make_jaxpr, eval_shape, ShapeDtypeStruct."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Jaxpr, trace_to_jaxpr
from nr.core.source_info import api_boundary, function_name, wraps
from nr.core.tracing import bound_axis, current_trace, typeof
from nr.core.trees import tree_flatten, tree_map, tree_unflatten
from nr.transforms.flat_fun import FlatFun, argument_names, signature_of


class ShapeDtypeStruct:
    """The shape and dtype of an array that is not there; the device is kept, not used."""

    __slots__ = ("shape", "dtype", "weak_type", "sharding")

    def __init__(
        self,
        shape: Sequence[int],
        dtype: Any,
        *,
        sharding: Any = None,
        weak_type: bool = False,
    ) -> None:
        if dtype is None:
            raise ValueError("ShapeDtypeStruct: a dtype was expected; got None.")
        self.shape = tuple(shape)
        self.dtype = dtypes.canonicalize(dtype)
        self.weak_type = weak_type
        self.sharding = sharding

    @classmethod
    def like(cls, x: Any) -> ShapeDtypeStruct:
        """That of an array or a number.

        Example:
            >>> import nr
            >>> nr.ShapeDtypeStruct.like(nr.numpy.zeros((2, 3)))
            ShapeDtypeStruct(shape=(2, 3), dtype=float32)
        """
        aval = aval_of(x)
        sharding = getattr(x, "sharding", None)
        return cls(aval.shape, aval.dtype, sharding=sharding, weak_type=aval.weak_type)

    def update(self, **changes: Any) -> ShapeDtypeStruct:
        """A copy in which some of its attributes are others."""
        kept = {name: getattr(self, name) for name in self.__slots__}
        return ShapeDtypeStruct(**(kept | changes))

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
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name}{weak})"


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
    given = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    @wraps(fun)
    @api_boundary
    def jaxpr_f(*args: Any, **kwargs: Any) -> Any:
        statics = {i % len(args) if i < 0 else i for i in given}
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

    jaxpr_f.__name__ = f"make_jaxpr({function_name(fun)})"
    return jaxpr_f


@api_boundary
def eval_shape(fun: Callable, *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of what a function returns, without running it.

    What the function returns may itself be `ShapeDtypeStruct`.

    Example:
        >>> import nr
        >>> nr.eval_shape(nr.numpy.dot, nr.ShapeDtypeStruct((2, 3), "float32"), nr.numpy.ones(3))
        ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    from nr.transforms.compiled_function import JitFunction

    if isinstance(fun, JitFunction):  # knows which of its arguments are static
        return fun.eval_shape(*args, **kwargs)
    leaves, in_tree = tree_flatten((args, kwargs))

    def with_arrays(*args: Any, **kwargs: Any) -> Any:
        arg = current_trace().new_arg  # type: ignore[attr-defined]
        return tree_map(
            lambda x: arg(aval_of(x)) if isinstance(x, ShapeDtypeStruct) else x,
            fun(*args, **kwargs),
        )

    flat = FlatFun(with_arrays, in_tree, "eval_shape")
    jaxpr, _ = trace_to_jaxpr(flat, [aval_of(x) for x in leaves], name=function_name(fun))
    shapes = [ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type) for a in jaxpr.out_avals]
    return tree_unflatten(flat.out_tree, shapes)
