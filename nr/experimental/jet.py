"""`jet`: Taylor series through a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nr.core.array import Array
from nr.core.trees import tree_flatten, tree_unflatten
from nr.lax.rules import operand
from nr.transforms.derivatives import jvp

__all__ = ["jet"]


def jet(
    fun: Callable,
    primals: Sequence[Any],
    series: Sequence[Sequence[Any]],
    factorial_scaled: bool = True,
) -> tuple[Any, Any]:
    """The series of ``fun(x(t), ...)`` at t = 0, from those of the arguments.

    It goes by nested `nr.jvp`: each order doubles the work, which jit lessens by what is common.

    Args:
        fun: a function of arrays, which gives a pytree of arrays.
        primals: the arguments' values at 0.
        series: for each argument its derivatives of order 1, 2 and so on, equally many for all.
        factorial_scaled: False is for coefficients of powers of t, in place of derivatives.

    Returns:
        The value, and a pytree like it with a list of as many derivatives for each leaf.

    Raises:
        ValueError: if there are not as many series as primals, or series of several lengths.

    Example:
        >>> import nr.numpy as jnp
        >>> from nr.experimental.jet import jet
        >>> x, one, zero = jnp.array([2.0]), jnp.ones(1), jnp.zeros(1)
        >>> jet(lambda x: x**3, (x,), ([one, zero, zero],))[1]
        [Array([12.], dtype=float32), Array([12.], dtype=float32), Array([6.], dtype=float32)]
    """
    orders = [len(terms) for terms in series]
    if len(orders) != len(primals) or len(set(orders)) != 1:
        raise ValueError(
            f"jet: a series for each of {len(primals)} primals was required, all of one length; "
            f"got lengths {orders}."
        )
    starts = [operand("jet", x) for x in primals]
    scales = [1 if factorial_scaled else math.factorial(k) for k in range(orders[0] + 1)]
    terms = [
        [operand("jet", x) * scale for x, scale in zip(given, scales[1:], strict=True)]
        for given in series
    ]

    def along(t: Any) -> list[Any]:
        value = fun(*[_polynomial(x, d, t) for x, d in zip(starts, terms, strict=True)])
        return [value]

    for _ in range(orders[0]):
        along = _with_next(along)
    trees = along(0.0)
    leaves = [tree_flatten(tree)[0] for tree in trees]
    structure = tree_flatten(trees[0])[1]
    outs = [
        [x if n == 1 else x / n for x, n in zip(column[1:], scales[1:], strict=True)]
        for column in zip(*leaves, strict=True)
    ]
    return trees[0], tree_unflatten(structure, outs)


def _polynomial(start: Array, derivatives: Sequence[Array], t: Any) -> Array:
    out = 0.0
    for k in range(len(derivatives), 0, -1):
        out = (derivatives[k - 1] + out) * t * (1 / k)
    return start + out


def _with_next(below: Callable) -> Callable:
    """A function of t that also gives the derivative of the last of another one's results."""

    def along(t: Any) -> list[Any]:
        values, slopes = jvp(below, (t,), (1.0,))
        return [*values, slopes[-1]]

    return along
