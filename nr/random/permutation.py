"""Random orders and random choices of elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.array import Array
from nr.core.config import config
from nr.core.tracing import Tracer
from nr.lax.convert import convert_element_type
from nr.lax.cumulative import cumsum
from nr.lax.elementwise import add, log, mul, sub
from nr.lax.rules import canonical_axis, operand
from nr.lax.shape import canonical_shape, full, iota, reshape, slice_in_dim
from nr.lax.sort import sort_p, top_k
from nr.numpy.indexing import getitem
from nr.random.bits import random_bits
from nr.random.continuous import gumbel
from nr.random.discrete import randint
from nr.random.keys import raw_key, subkeys
from nr.random.uniform import unit_uniform


def _take(x: Any, indices: Any, axis: int) -> Any:
    return getitem(x, (slice(None),) * axis + (indices,))


def _population(op: str, name: str, x: Any) -> int:
    """A static number of elements, given as an integer."""
    if isinstance(x, Tracer):
        return x.__index__()
    if x.dtype not in dtypes.INTEGER:
        raise TypeError(
            f"{op}: an integer, or an array of rank 1 or more, was expected; got {x.aval} for "
            f'"{name}".'
        )
    return int(x)


def permutation(key: Any, x: Any, axis: int = 0, independent: bool = False) -> Array:
    """x in random order along an axis, or the integers below x in random order.

    Elements are sorted by random 32-bit numbers, in as many rounds as make ties that stay
    undecided in all of them negligible.

    Args:
        key: a key, typed or raw.
        x: an array, or an integer n, which stands for ``arange(n)``.
        axis: the axis to shuffle along.
        independent: whether each line along the axis gets an order of its own.

    Raises:
        TypeError: if x is a number, but no integer.

    Example:
        >>> import nr
        >>> nr.random.permutation(nr.random.key(0), 5)
        Array([0, 1, 4, 3, 2], dtype=int32)
    """
    raw = raw_key("permutation", key)
    x = operand("permutation", x)
    axis = canonical_axis("permutation", axis, x.ndim or 1)
    if not x.ndim:
        return _shuffle(raw, iota(config.default_int, _population("permutation", "x", x)), 0)
    if independent or x.ndim == 1:
        return _shuffle(raw, x, axis)
    return _take(x, _shuffle(raw, iota(config.default_int, x.shape[axis]), 0), axis)


def _shuffle(key: Any, x: Any, axis: int) -> Any:
    size = math.prod(x.shape)
    rounds = math.ceil(3 * math.log(max(size, 1)) / math.log(2**32 - 1))
    for _ in range(rounds):
        key, subkey = subkeys(key, 2)
        order = random_bits(subkey, 32, x.shape)
        x = sort_p.bind(order, x, dimension=axis, is_stable=True, num_keys=1)[1]
    return x


def choice(
    key: Any,
    a: Any,
    shape: Any = (),
    replace: bool = True,
    p: Any = None,
    axis: int = 0,
    mode: str | None = None,
) -> Array:
    """Random elements of an array, or random integers below a.

    Args:
        key: a key, typed or raw.
        a: an array, or an integer n, which stands for ``arange(n)``.
        shape: how many, as the shape that takes the place of the axis in the result.
        replace: whether an element may be drawn more than once.
        p: the probabilities of the elements, of shape (n,); by default they are equal.
        axis: the axis of `a` whose slices are the elements.
        mode: as for `gumbel`, used without replacement where p is given.

    Raises:
        ValueError: if there are too few elements, or p does not fit.

    Example:
        >>> import nr
        >>> nr.random.choice(nr.random.key(0), 5, (3,), replace=False)
        Array([0, 1, 4], dtype=int32)
    """
    raw = raw_key("choice", key)
    a = operand("choice", a)
    shape = canonical_shape("choice", shape)
    scalar = not a.ndim
    axis = 0 if scalar else canonical_axis("choice", axis, a.ndim)
    n = _population("choice", "a", a) if scalar else a.shape[axis]
    draws = math.prod(shape)
    dtype = config.default_int if scalar else a.dtype
    out_shape = shape if scalar else (*a.shape[:axis], *shape, *a.shape[axis + 1 :])
    if draws == 0:
        return full(out_shape, dtype.type(0))
    if n <= 0:
        raise ValueError(f"choice: at least one element to choose from is needed; got {n}.")
    if not replace and draws > n:
        raise ValueError(
            f"choice: without replacement at most {n} draws are possible; got shape {shape}, "
            f"{draws} draws. Use replace=True."
        )
    if p is not None:
        indices = _weighted_indices(raw, n, shape, replace, p, mode)
    elif replace:
        indices = randint(raw, shape, 0, n)
    else:
        shuffled = permutation(raw, n if scalar else a, axis)
        return reshape(slice_in_dim(shuffled, 0, draws, axis=axis), out_shape)
    return reshape(indices if scalar else _take(a, indices, axis), out_shape)


def _weighted_indices(
    key: Any, n: int, shape: tuple[int, ...], replace: bool, p: Any, mode: str | None
) -> Any:
    p = operand("choice", p)
    if p.shape != (n,):
        raise ValueError(
            f'choice: one probability for each of {n} elements was expected; got {p.aval} for "p".'
        )
    p = convert_element_type(p, dtypes.to_inexact(p.dtype))
    if not replace:  # the largest of Gumbel-perturbed logits: Efraimidis and Spirakis, 2006
        perturbed = add(gumbel(key, (n,), p.dtype, mode), log(p))
        return convert_element_type(top_k(perturbed, math.prod(shape))[1], config.default_int)
    from nr.numpy.sorting import searchsorted

    cumulative = cumsum(p)
    total = reshape(slice_in_dim(cumulative, n - 1, n), ())
    u = unit_uniform(key, shape, p.dtype)
    r = mul(sub(np.asarray(1, p.dtype)[()], u), total)
    return convert_element_type(searchsorted(cumulative, r), config.default_int)
