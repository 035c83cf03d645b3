"""Series and continued fractions: expressions that are refined until they have converged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nr.backends.compiler.expr import Expr, node


class Iteration(NamedTuple):
    """What an `iterate` expression repeats.

    Its operands are a condition, `states` initial values, then constants. As long as the condition
    holds, and at most `limit` times, ``step(k, *values, *constants)`` gives the next values and
    the condition whether to go on; k is 1, 2, ... as f64. The expression is the first value, as it
    was when the condition ceased to hold, for each element by itself.
    """

    step: Callable[..., tuple[Sequence[Expr], Expr]]
    states: int
    limit: int


def iterate(
    step: Callable[..., tuple[Sequence[Expr], Expr]],
    going: Expr,
    states: Sequence[Expr],
    constants: Sequence[Expr],
    limit: int,
) -> Expr:
    """The first of the states after the last step; see `Iteration`.

    `step` must be a function of a module: equal expressions have the same one.

    Example:
        >>> from nr.backends.compiler.expr import Expr, const, node
        >>> x = node("register", (), "f64", "x")
        >>> def newton(k: Expr, root: Expr, square: Expr):
        ...     better = (root + square / root) * 0.5
        ...     return (better,), (root - better) > 1e-12
        >>> iterate(newton, x > 0.0, (x + 1.0,), (x,), 100).op
        'iterate'
    """
    operands = (going, *states, *constants)
    return node("iterate", operands, states[0].dtype, Iteration(step, len(states), limit))
