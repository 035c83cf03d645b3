"""ufunc and frompyfunc: reduce, accumulate, outer, at and reduceat of functions of elements."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from nr.core.array import Array
from nr.lax.rules import canonical_axis
from nr.lax.shape import broadcast_in_dim, expand_dims
from nr.numpy import reductions, ufuncs, ufuncs_logic
from nr.numpy.creation import arange
from nr.numpy.manipulation import as_operand, broadcast_to, moveaxis, ravel, reshape
from nr.numpy.selection import where as where_of
from nr.numpy.vectorize import vectorize
from nr.transforms.control_flow import scan
from nr.transforms.make_jaxpr import ShapeDtypeStruct, eval_shape

__all__ = ["frompyfunc", "ufunc"]


class _WithMethods(type):
    """`add` and its like are plain functions that have the methods: they are ufuncs, too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or hasattr(instance, "reduceat")


class ufunc(metaclass=_WithMethods):  # noqa: N801 - NumPy's name
    """A function of elements, with the methods of NumPy's ufuncs; make one with `frompyfunc`.

    Attributes:
        nin, nout, nargs: how many arguments it takes, results it has, and both together.
        identity: what changes nothing as an operand, or None.
    """

    def __init__(self, call: Callable, nin: int, nout: int, identity: Any, name: str) -> None:
        self._call = call
        self.nin = nin
        self.nout = nout
        self.nargs = nin + nout
        self.identity = identity
        self.__name__ = name

    def __call__(self, *args: Any) -> Any:
        """The function of each element of the arguments, broadcast together."""
        if len(args) != self.nin:
            raise TypeError(
                f"{self.__name__}: {self.nin} argument(s) were expected; got {len(args)}."
            )
        return self._call(*args)

    def __repr__(self) -> str:
        return f"<ufunc {self.__name__!r}>"

    def _binary(self, method: str, out: Any = None) -> str:
        op = f"{self.__name__}.{method}"
        if (self.nin, self.nout) != (2, 1):
            raise ValueError(
                f"{op}: a function of two arguments with one result was expected; this one has "
                f"{self.nin} and {self.nout}."
            )
        if out is not None:
            raise NotImplementedError(f"{op}: out must be None. Use the result.")
        return op

    def _operand(self, op: str, a: Any, dtype: Any) -> Array:
        """a in the dtype of the results: that of totals, which the function takes, too."""
        a = _typed(op, a, dtype)
        number = ShapeDtypeStruct((), a.dtype)
        return a.astype(eval_shape(self._call, number, number).dtype)

    def reduce(
        self,
        a: Any,
        axis: int | tuple[int, ...] | None = 0,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Array:
        """The elements along an axis, several, or all (None), combined from the first to the last.

        Example:
            >>> import nr.numpy as jnp
            >>> jnp.subtract.reduce(jnp.array([7, 2, 1]))
            Array(4, dtype=int32)
        """
        op = self._binary("reduce", out)
        a = self._operand(op, a, dtype)
        shape = a.shape
        start = self.identity if initial is None else initial
        if where is not None:
            if start is None:
                raise ValueError(f"{op}: with where, an initial value is needed; got none.")
            where = broadcast_to(as_operand(op, where), shape)
        given = range(a.ndim) if axis is None else axis
        given = given if isinstance(given, (range, tuple)) else (given,)
        axes = tuple([canonical_axis(op, d, a.ndim) for d in given])
        steps = _steps(a, axes)
        if not steps.shape[0] and start is None:
            raise ValueError(f"{op}: there are no elements, and no identity; got {a.aval}.")
        if start is not None:
            first = broadcast_to(as_operand(op, start).astype(a.dtype), steps.shape[1:])
        else:
            first, steps = steps[0], steps[1:]
        chosen = None if where is None else _steps(where, axes)

        def combine(total: Array, step: tuple) -> tuple:
            x, mask = step
            new = self._call(total, x).astype(a.dtype)
            return (new if mask is None else where_of(mask, new, total)), None

        result = scan(combine, first, (steps, chosen))[0]
        if not keepdims:
            return result
        return reshape(result, [1 if d in axes else n for d, n in enumerate(shape)])

    def accumulate(
        self, a: Any, axis: int | None = 0, dtype: Any = None, out: None = None
    ) -> Array:
        """The results of `reduce` up to each element along an axis (None: of all elements)."""
        op = self._binary("accumulate", out)
        a = self._operand(op, a, dtype)
        if axis is None:
            a, axis = ravel(a), 0
        axis = canonical_axis(op, _one_axis(op, axis), a.ndim)
        steps = moveaxis(a, axis, 0)
        if not steps.shape[0]:
            return a

        def combine(total: Array, x: Array) -> tuple:
            total = self._call(total, x).astype(a.dtype)
            return total, total

        rest = scan(combine, steps[0], steps[1:])[1]
        return moveaxis(
            broadcast_in_dim(steps, steps.shape, range(a.ndim)).at[1:].set(rest), 0, axis
        )

    def outer(self, A: Any, B: Any, /) -> Array:  # noqa: N803 - NumPy's names
        """The function of all pairs of an element of A and one of B: ``[*A.shape, *B.shape]``."""
        op = self._binary("outer")
        A, B = as_operand(op, A), as_operand(op, B)
        return self._call(expand_dims(A, range(A.ndim, A.ndim + B.ndim)), B)

    def at(self, a: Any, indices: Any, b: Any = None, /, *, inplace: bool = True) -> Array:
        """a with the function applied at indices, one after another; give ``inplace=False``."""
        op = f"{self.__name__}.at"
        if inplace:
            raise NotImplementedError(f"{op}: arrays are immutable. Pass inplace=False.")
        if (b is None) != (self.nin == 1):
            raise ValueError(f"{op}: a function of {self.nin} argument(s) was given {b!r} for b.")
        a = as_operand(op, a)
        number = ShapeDtypeStruct((), a.dtype)
        others = () if b is None else (ShapeDtypeStruct((), as_operand(op, b).dtype),)
        a = a.astype(eval_shape(self._call, number, *others).dtype)
        places = reshape(arange(a.size), a.shape)[indices]
        values = None
        if b is not None:
            values = ravel(broadcast_to(as_operand(op, b), places.shape))

        def apply(flat: Array, step: tuple) -> tuple:
            place, value = step
            old = flat[place]
            new = self._call(old) if value is None else self._call(old, value)
            return flat.at[place].set(new.astype(flat.dtype)), None

        return reshape(scan(apply, ravel(a), (ravel(places), values))[0], a.shape)

    def reduceat(
        self, a: Any, indices: Any, axis: int = 0, dtype: Any = None, out: None = None
    ) -> Array:
        """The results of `reduce` from each index up to the next one, or of one element where that
        is not larger.
        """
        op = self._binary("reduceat", out)
        a, indices = self._operand(op, a, dtype), as_operand(op, indices)
        if indices.ndim != 1:
            raise ValueError(f"{op}: indices of rank 1 were expected; got {indices.aval}.")
        axis = canonical_axis(op, _one_axis(op, axis), a.ndim)
        steps = moveaxis(a, axis, 0)
        following = broadcast_to(as_operand(op, np.int32(steps.shape[0])), indices.shape)
        following = following.at[:-1].set(indices[1:].astype(np.int32))

        def combine(totals: Array, step: tuple) -> tuple:
            i, x = step
            active = reshape((i > indices) & (i < following), (-1, *[1] * x.ndim))
            return where_of(active, self._call(totals, x).astype(a.dtype), totals), None

        totals, _ = scan(combine, steps[indices], (arange(steps.shape[0]), steps))
        return moveaxis(totals, 0, axis)


def _steps(a: Array, axes: tuple[int, ...]) -> Array:
    """a with some axes as one, in front."""
    a = moveaxis(a, axes, range(len(axes)))
    return reshape(a, (math.prod(a.shape[: len(axes)]), *a.shape[len(axes) :]))


def _one_axis(op: str, axis: Any) -> Any:
    if axis is None or isinstance(axis, tuple):
        raise ValueError(f"{op}: one axis was expected; got {axis!r}.")
    return axis


def _typed(op: str, a: Any, dtype: Any) -> Array:
    a = as_operand(op, a)
    return a if dtype is None else a.astype(dtype)


def frompyfunc(func: Callable, /, nin: int, nout: int, *, identity: Any = None) -> ufunc:
    """A ufunc from a function of numbers that nr can trace.

    Args:
        func: takes `nin` numbers and returns `nout` (a tuple, unless that is 1).
        nin, nout: how many.
        identity: what changes nothing as an operand: the value of an empty `reduce`.

    Example:
        >>> import nr.numpy as jnp
        >>> add = jnp.frompyfunc(lambda x, y: x + y, 2, 1, identity=0)
        >>> add.reduce(jnp.arange(4)), add.outer(jnp.arange(2), jnp.arange(2)).tolist()
        (Array(6, dtype=int32), [[0, 1], [1, 2]])
    """
    if not callable(func):
        raise TypeError(f"frompyfunc: a function was expected; got {func!r}.")
    nin, nout = operator.index(nin), operator.index(nout)
    if nin < 1 or nout < 1:
        raise ValueError(f"frompyfunc: nin and nout must be positive; got {nin} and {nout}.")
    return ufunc(vectorize(func), nin, nout, identity, getattr(func, "__name__", "function"))


# ---------------------------------------------------------------- methods of nr.numpy's functions
def _reduce_by(reduction: Callable, name: str) -> Callable:
    """`reduce` by a reduction that is its own operation."""

    def reduce(
        a: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Array:
        options = {"initial": initial, "where": where}
        given = {key: value for key, value in options.items() if value is not None}
        if out is not None:
            raise NotImplementedError(f"{name}.reduce: out must be None. Use the result.")
        a = _typed(f"{name}.reduce", a, dtype)
        result = reduction(a, axis, keepdims=keepdims, **given)
        return result if dtype is None else result.astype(dtype)

    return reduce


_IDENTITIES: dict[Any, Any] = {
    ufuncs.add: 0,
    ufuncs.multiply: 1,
    ufuncs.subtract: None,
    ufuncs.maximum: None,
    ufuncs.minimum: None,
    ufuncs.logaddexp: -math.inf,
    ufuncs.logaddexp2: -math.inf,
    ufuncs_logic.bitwise_and: -1,
    ufuncs_logic.bitwise_or: 0,
    ufuncs_logic.bitwise_xor: 0,
    ufuncs_logic.logical_and: True,
    ufuncs_logic.logical_or: False,
    ufuncs_logic.logical_xor: False,
}
_REDUCTIONS: dict[Any, Callable] = {
    ufuncs.add: reductions.sum,
    ufuncs.multiply: reductions.prod,
    ufuncs.maximum: reductions.max,
    ufuncs.minimum: reductions.min,
}
_METHODS = ("nin", "nout", "nargs", "identity", "reduce", "accumulate", "outer", "at", "reduceat")


def _give_methods(function: Any, nin: int, identity: Any) -> None:
    methods = ufunc(function, nin, 1, identity, function.__name__)
    for name in _METHODS:
        setattr(function, name, getattr(methods, name))


_give_methods(ufuncs.negative, 1, None)
for _function, _identity in _IDENTITIES.items():
    _give_methods(_function, 2, _identity)
for _function, _reduction in _REDUCTIONS.items():
    _function.reduce = _reduce_by(_reduction, _function.__name__)
