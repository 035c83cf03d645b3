"""Constants of loops, laid out once before the loop as the products inside read them.

A right operand that is large, or lies transposed, as a weight does in ``h @ w.T`` and in every
gradient, is copied to panels in every product, which takes half as long as the product itself
where that has few rows. In tiles, for which it has to be stored row by row, it would be read with
large strides. So it is transposed before the loop, and if it is large, it is cut into panels there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nr.backends.compiler.lowering.reduce import dot_dimensions
from nr.backends.compiler.matmul import is_near, is_product, sizes
from nr.backends.compiler.panels import PANEL
from nr.backends.compiler.simplify import eliminate_dead_code
from nr.core.jaxprs import Jaxpr, JaxprEqn, Var
from nr.core.tracing import Primitive

# From so many steps on; of a while loop's number nothing is known.
_FEWEST_STEPS = 8
# What is multiplied with vectors is copied from so many elements on; if it has short lines: long
# ones are vectors of their own.
_SMALLEST_MATRIX = 1024
_LONGEST_LINE = 64
# Products of more rows hardly notice what their panels cost, and profit from panels on both sides.
_MOST_ROWS = 256


def with_constants_laid_out(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with copies of constants of its loops before them, transposed or in panels.

    Args:
        jaxpr: a simplified jaxpr.

    Returns:
        An equivalent one; the same if no product of a loop has such an operand.
    """
    eqns: list[JaxprEqn] = []
    for eqn in jaxpr.eqns:
        p, name = eqn.params, eqn.primitive.name
        if name == "scan" and p["length"] >= _FEWEST_STEPS:
            n = p["num_consts"]
            body, copies, new = _plain(p["jaxpr"], eqn.invars[:n])
            params = {**p, "jaxpr": body, "num_consts": n + len(new)}
        elif name == "while":
            first, n = p["cond_nconsts"], p["body_nconsts"]
            n += first
            body, copies, new = _plain(p["body_jaxpr"], eqn.invars[first:n])
            params = {**p, "body_jaxpr": body, "body_nconsts": n - first + len(new)}
        else:
            new = []
        if new:
            eqns += copies
            eqn = eqn.replace(invars=[*eqn.invars[:n], *new, *eqn.invars[n:]], params=params)
        eqns.append(eqn)
    return jaxpr if len(eqns) == len(jaxpr.eqns) else jaxpr.replace(eqns=eqns)


def _plain(body: Jaxpr, operands: Sequence[Any]) -> tuple[Jaxpr, list[JaxprEqn], list[Any]]:
    """A body that takes copies of constants after its others, the eqns that make them, and them."""
    n = len(operands)
    outside = dict(zip(body.invars[:n], operands, strict=True))
    producer = {v: q for q in body.eqns for v in q.outvars}
    made: dict[tuple[Any, tuple[int, ...], int], tuple[Var, Any]] = {}
    copies: list[JaxprEqn] = []
    eqns = []
    # Outer products share the loops of products of the same vectors, and with them their order.
    vectors = not any([_is_outer(q) for q in body.eqns])
    for eqn in body.eqns:
        side = _constant_side(eqn, outside, producer, vectors)
        if side is None:
            eqns.append(eqn)
            continue
        wide = _panel_width(eqn) if side == 1 else 0
        constant, order = _lines(eqn, side, producer)
        if (constant, order, wide) not in made:
            contracted = len(eqn.params["dimension_numbers"][0][side])
            value = outside[constant]
            for name, shape, params in _layout(constant.aval.shape, order, contracted, wide):
                fresh = Var(constant.aval.update(shape=shape))
                copies.append(JaxprEqn(Primitive.all[name], [value], [fresh], params, eqn.source))
                value = fresh
            made[constant, order, wide] = Var(value.aval), value
        eqns += _reading(eqn, side, made[constant, order, wide][0], wide)
    if made:
        invars = [*body.invars[:n], *[inner for inner, _ in made.values()], *body.invars[n:]]
        body = eliminate_dead_code(body.replace(invars=invars, eqns=eqns))
    return body, copies, [value for _, value in made.values()]


def _constant_side(
    eqn: JaxprEqn, outside: dict[Var, Any], producer: dict[Var, JaxprEqn], vectors: bool
) -> int | None:
    """Which operand of a product, if any, is a constant that should be laid out."""
    if eqn.primitive.name != "dot_general" or any([type(a) is not Var for a in eqn.invars]):
        return None
    _, _, lf, rf, lc, rc = dot_dimensions(eqn)
    for side, free, other, contracted in ((1, rf, lf, rc), (0, lf, rf, lc)):
        shape = eqn.invars[side].aval.shape
        vector = vectors and not other and math.prod(shape) >= _SMALLEST_MATRIX
        vector = vector and math.prod([shape[d] for d in contracted]) < _LONGEST_LINE
        if free and (vector or (side == 1 and is_product(eqn))):
            array, order = _lines(eqn, side, producer)
            # Which of the operand's dimensions is the last of the array.
            last = _order(eqn.invars[side], producer)[1].index(len(order) - 1)
            if array in outside and (last in contracted or (side == 1 and _panel_width(eqn))):
                return side
    return None


def _panel_width(eqn: JaxprEqn) -> int:
    """How many columns a panel has, if the right operand of a product should be cut into such."""
    _, m, n, k = sizes(eqn)
    itemsize = eqn.invars[1].aval.dtype.itemsize
    wide = PANEL // itemsize
    batch = eqn.params["dimension_numbers"][1][0]
    suits = is_product(eqn) and not batch and m <= _MOST_ROWS and not is_near(n, k, itemsize)
    return wide if suits and n > wide and n % wide == 0 else 0


def _layout(
    shape: Sequence[int], order: Sequence[int], contracted: int, wide: int
) -> list[tuple[str, tuple[int, ...], dict[str, Any]]]:
    """How an operand is laid out: primitives, shapes of their results, parameters. In panels are
    the columns [w p, w (p + 1)), for all contracted indices one after the other."""
    moved = tuple([shape[d] for d in order])
    steps: list[tuple[str, tuple[int, ...], dict[str, Any]]] = []
    if list(order) != list(range(len(shape))):
        steps.append(("transpose", moved, {"permutation": order}))
    if wide:
        lines, panels = moved[:contracted], math.prod(moved[contracted:]) // wide
        cut = (*lines, panels, wide)
        steps.append(("reshape", cut, {"new_sizes": cut}))
        turned = (contracted, *range(contracted), contracted + 1)
        steps.append(("transpose", (panels, *lines, wide), {"permutation": turned}))
    return steps


def _reading(eqn: JaxprEqn, side: int, inner: Var, wide: int) -> list[JaxprEqn]:
    """A product that reads an operand as it was laid out."""
    contract, batch = [list(dims) for dims in eqn.params["dimension_numbers"]]
    nb, nc = len(batch[side]), len(contract[side])
    first = 1 if wide else nb
    contract[side], batch[side] = tuple(range(first, first + nc)), tuple(range(nb))
    params = {**eqn.params, "dimension_numbers": (tuple(contract), tuple(batch))}
    invars = [inner if k == side else a for k, a in enumerate(eqn.invars)]
    if not wide:
        return [eqn.replace(invars=invars, params=params)]
    (out,) = eqn.outvars
    rows = [d for k, d in enumerate(eqn.invars[0].aval.shape) if k not in contract[0]]
    cut = Var(out.aval.update(shape=(*rows, inner.aval.shape[0], wide)))
    reshape = Primitive.all["reshape"]
    return [
        eqn.replace(invars=invars, outvars=[cut], params=params),
        JaxprEqn(reshape, [cut], [out], {"new_sizes": out.aval.shape}, eqn.source),
    ]


def _is_outer(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name == "dot_general" and not eqn.params["dimension_numbers"][0][0]


def _order(var: Any, producer: dict[Var, JaxprEqn]) -> tuple[Var, tuple[int, ...]]:
    """The array that a value is, but for transposes, and which of its dimensions are its own."""
    order = tuple(range(var.aval.ndim))
    while (source := producer.get(var)) is not None and source.primitive.name == "transpose":
        var = source.invars[0]
        order = tuple([source.params["permutation"][d] for d in order])
    return var, order


def _lines(eqn: JaxprEqn, side: int, producer: dict[Var, JaxprEqn]) -> tuple[Var, tuple[int, ...]]:
    """The array that an operand is, and the order of its dimensions in which a product reads it:
    batch dimensions, contracted ones, then those of the result."""
    lb, rb, lf, rf, lc, rc = dot_dimensions(eqn)
    array, order = _order(eqn.invars[side], producer)
    dims = (*rb, *rc, *rf) if side else (*lb, *lc, *lf)
    return array, tuple([order[d] for d in dims])
