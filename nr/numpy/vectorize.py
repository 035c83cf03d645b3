"""Functions of single elements or lines made functions of arrays, by `nr.vmap`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from nr.core.array import Array
from nr.core.source_info import wraps
from nr.core.trees import tree_map
from nr.lax.rules import canonical_axis, operand
from nr.lax.shape import broadcast_shapes, expand_dims
from nr.numpy.creation import asarray
from nr.transforms.vmap import vmap

__all__ = ["apply_along_axis", "apply_over_axes", "vectorize"]

_NAME = r"\w+"
_DIMS = rf"\((?:{_NAME}(?:,{_NAME})*)?\)"
_LIST = rf"(?:{_DIMS}(?:,{_DIMS})*)"
_SIGNATURE = re.compile(rf"^({_LIST}?)->({_LIST})$")

CoreDims = list[tuple[str, ...]]


def _parse(signature: str) -> tuple[CoreDims, CoreDims]:
    """The names of core dimensions of arguments and results, as in "(n,m),(m)->(n)"."""
    match = _SIGNATURE.match(signature.replace(" ", ""))
    if match is None:
        raise ValueError(
            f"vectorize: a signature like '(n,m),(m)->(n)' was expected; got {signature!r}."
        )
    sides = []
    for side in match.groups():
        groups = [text[1:-1] for text in re.findall(_DIMS, side)]
        sides.append([tuple(text.split(",")) if text else () for text in groups])
    return sides[0], sides[1]


def vectorize(
    pyfunc: Callable, *, excluded: Collection[int | str] = frozenset(), signature: str | None = None
) -> Callable:
    """A function that maps `pyfunc` over the leading dimensions of arrays, broadcast together.

    Args:
        pyfunc: a function of arrays of the core dimensions; of numbers without a signature.
        excluded: positions or names of arguments that are passed on as they are.
        signature: the core dimensions, as in ``"(n,m),(m)->(n)"``.

    Example:
        >>> import nr.numpy as jnp
        >>> dot = jnp.vectorize(lambda x, y: jnp.sum(x * y), signature="(n),(n)->()")
        >>> dot(jnp.ones((2, 3)), jnp.array([1., 2., 3.]))
        Array([6., 6.], dtype=float32)
    """
    if any([not isinstance(e, (int, str)) for e in excluded]):
        raise TypeError(f"vectorize: excluded must hold positions and names; got {excluded!r}.")
    if any([isinstance(e, int) and e < 0 for e in excluded]):
        raise ValueError(f"vectorize: positions must not be negative; got excluded={excluded!r}.")
    parsed = None if signature is None else _parse(signature)

    @wraps(pyfunc)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        mapped = [i for i, x in enumerate(args) if i not in excluded and x is not None]
        names = [name for name in kwargs if name not in excluded] if parsed is None else []

        def over(*values: Any) -> Any:
            full = list(args)
            for i, value in zip(mapped, values, strict=False):
                full[i] = value
            named = dict(zip(names, values[len(mapped) :], strict=True))
            return pyfunc(*full, **{**kwargs, **named})

        given = [args[i] for i in mapped] + [kwargs[name] for name in names]
        given = [asarray(x) if isinstance(x, list) else operand("vectorize", x) for x in given]
        return _map_over(over, given, parsed)

    return wrapped


def _map_over(fun: Callable, args: list[Any], parsed: tuple[CoreDims, CoreDims] | None) -> Any:
    inputs = [()] * len(args) if parsed is None else parsed[0]
    if len(inputs) != len(args):
        raise TypeError(
            f"vectorize: the signature has {len(inputs)} arguments that are not excluded; "
            f"got {len(args)}."
        )
    sizes: dict[str, int] = {}
    loops = []
    for x, dims in zip(args, inputs, strict=True):
        if x.ndim < len(dims):
            raise ValueError(
                f"vectorize: an argument with core dimensions ({','.join(dims)}) was expected; "
                f"got {x.aval}."
            )
        core = x.shape[x.ndim - len(dims) :]
        _check_sizes(sizes, dims, core)
        loops.append(x.shape[: x.ndim - len(dims)])
    loop = broadcast_shapes(*loops) if loops else ()
    if parsed is not None:
        fun = _checked(fun, sizes, parsed[1])
    # Extents of 1 are not mapped, but left out: their argument is the same in every lane.
    squeezed = []
    axes: list[list[int | None]] = [[] for _ in loop]
    for x, own in zip(args, loops, strict=True):
        lead = len(loop) - len(own)
        for d in range(len(loop)):
            axes[d].append(0 if d >= lead and own[d - lead] != 1 else None)
        kept = tuple([n for n in own if n != 1])
        squeezed.append(x.reshape(kept + x.shape[len(own) :]))  # typed keys, too
    for d in reversed(range(len(loop))):
        if all([axis is None for axis in axes[d]]):
            fun = _with_leading_one(fun)
        else:
            fun = vmap(fun, in_axes=tuple(axes[d]))
    return fun(*squeezed)


def _check_sizes(sizes: dict[str, int], dims: tuple[str, ...], core: tuple[int, ...]) -> None:
    for name, n in zip(dims, core, strict=True):
        known = sizes.setdefault(name, int(name) if name.isdigit() else n)
        if known != n:
            raise ValueError(
                f"vectorize: core dimension {name} must have one extent; got {known} and {n}."
            )


def _checked(fun: Callable, sizes: dict[str, int], outputs: CoreDims) -> Callable:
    """fun, with the core dimensions of what it returns checked."""

    @wraps(fun)
    def checked(*args: Any) -> Any:
        out = fun(*args)
        many = isinstance(out, (tuple, list))
        values = list(out) if many else [out]
        if len(outputs) != len(values) or many != (len(outputs) > 1):
            raise TypeError(
                f"vectorize: {len(outputs)} result(s) were expected by the signature; "
                f"got {len(values)}{' in a sequence' if many else ''}."
            )
        values = [operand("vectorize", value) for value in values]
        for value, dims in zip(values, outputs, strict=True):
            if value.ndim != len(dims):
                raise ValueError(
                    f"vectorize: a result with core dimensions ({','.join(dims)}) was expected; "
                    f"got {value.aval}."
                )
            _check_sizes(dict(sizes), dims, value.shape)
        return tuple(values) if many else values[0]

    return checked


def _with_leading_one(fun: Callable) -> Callable:
    def widened(*args: Any) -> Any:
        return tree_map(lambda x: operand("vectorize", x)[None], fun(*args))

    return widened


def apply_along_axis(func1d: Callable, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Array:
    """A function of rank-1 arrays on every line along an axis.

    Args:
        func1d: ``(line, *args, **kwargs) -> array``.
        axis: the axis; the dimensions of what the function returns take its place.
        arr: an array.
        *args: passed on.
        **kwargs: passed on.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.apply_along_axis(jnp.sum, 1, jnp.ones((2, 3)))
        Array([3., 3.], dtype=float32)
    """
    arr = operand("apply_along_axis", arr)
    axis = canonical_axis("apply_along_axis", axis, arr.ndim)

    def fun(line: Any) -> Any:
        return func1d(line, *args, **kwargs)

    for d in range(1, arr.ndim - axis):
        fun = vmap(fun, in_axes=d, out_axes=-1)
    for _ in range(axis):
        fun = vmap(fun, in_axes=0, out_axes=0)
    return fun(arr)


def apply_over_axes(func: Callable, a: Any, axes: Any) -> Array:
    """A function ``(array, axis) -> array`` on one axis after another, which all stay."""
    out = operand("apply_over_axes", a)
    for axis in axes if isinstance(axes, (tuple, list)) else (axes,):
        axis = canonical_axis("apply_over_axes", axis, out.ndim)
        result = operand("apply_over_axes", func(out, axis))
        if result.ndim == out.ndim - 1:
            result = expand_dims(result, axis)
        if result.ndim != out.ndim:
            raise ValueError(
                f"apply_over_axes: func must keep the rank, or drop the axis; got {result.aval} "
                f"for {out.aval}."
            )
        out = result
    return out
