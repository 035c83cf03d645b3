"""Constants that the products of a loop would read transposed, transposed once before the loop.

A right operand that lies transposed, as a weight does in ``h @ w.T`` and in every gradient, is
copied to panels in every product, which takes half as long as the product itself, or longer. In
loops, for which it has to be stored row by row, too, it would be read with large strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nr.backends.compiler.lowering.reduce import dot_dimensions
from nr.backends.compiler.matmul import is_product
from nr.backends.compiler.simplify import eliminate_dead_code
from nr.core.jaxprs import Jaxpr, JaxprEqn, Var
from nr.core.tracing import Primitive

# From so many steps on; of a while loop's number nothing is known.
_FEWEST_STEPS = 8
# What is multiplied with vectors is copied from so many elements on.
_SMALLEST_MATRIX = 1024


def with_plain_constants(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with transposed copies of constants of its loops before them.

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
            body, copies = _plain(p["jaxpr"], eqn.invars[:n])
            params = {**p, "jaxpr": body, "num_consts": n + len(copies)}
        elif name == "while":
            first, n = p["cond_nconsts"], p["body_nconsts"]
            n += first
            body, copies = _plain(p["body_jaxpr"], eqn.invars[first:n])
            params = {**p, "body_jaxpr": body, "body_nconsts": n - first + len(copies)}
        else:
            copies = []
        if copies:
            eqns += copies
            new = [q.outvars[0] for q in copies]
            eqn = eqn.replace(invars=[*eqn.invars[:n], *new, *eqn.invars[n:]], params=params)
        eqns.append(eqn)
    return jaxpr if len(eqns) == len(jaxpr.eqns) else jaxpr.replace(eqns=eqns)


def _plain(body: Jaxpr, operands: Sequence[Any]) -> tuple[Jaxpr, list[JaxprEqn]]:
    """A body that takes transposed constants after its others, and the eqns that make them."""
    n = len(operands)
    outside = dict(zip(body.invars[:n], operands, strict=True))
    producer = {v: q for q in body.eqns for v in q.outvars}
    made: dict[tuple[Any, tuple[int, ...]], Var] = {}
    copies: list[JaxprEqn] = []
    eqns = []
    # Outer products share the loops of products of the same vectors, and with them their order.
    vectors = not any([_is_outer(q) for q in body.eqns])
    for eqn in body.eqns:
        side = _constant_side(eqn, outside, producer, vectors)
        if side is not None:
            constant, order = found = _lines(eqn, side, producer)
            inner = made.get(found)
            if inner is None:
                aval = constant.aval
                aval = aval.update(shape=tuple([aval.shape[d] for d in order]))
                inner = made[found] = Var(aval)
                params = {"permutation": order}
                transpose = Primitive.all["transpose"]
                copies.append(
                    JaxprEqn(transpose, [outside[constant]], [Var(aval)], params, eqn.source)
                )
            contract, batch = [list(dims) for dims in eqn.params["dimension_numbers"]]
            nb, nc = len(batch[side]), len(contract[side])
            contract[side], batch[side] = tuple(range(nb, nb + nc)), tuple(range(nb))
            numbers = tuple(contract), tuple(batch)
            invars = [inner if k == side else a for k, a in enumerate(eqn.invars)]
            eqn = eqn.replace(invars=invars, params={**eqn.params, "dimension_numbers": numbers})
        eqns.append(eqn)
    if copies:
        invars = [*body.invars[:n], *made.values(), *body.invars[n:]]
        body = eliminate_dead_code(body.replace(invars=invars, eqns=eqns))
    return body, copies


def _constant_side(
    eqn: JaxprEqn, outside: dict[Var, Any], producer: dict[Var, JaxprEqn], vectors: bool
) -> int | None:
    """Which operand of a product, if any, should be a transposed constant."""
    if eqn.primitive.name != "dot_general" or any([type(a) is not Var for a in eqn.invars]):
        return None
    _, _, lf, rf, lc, rc = dot_dimensions(eqn)
    for side, free, other, contracted in ((1, rf, lf, rc), (0, lf, rf, lc)):
        vector = vectors and not other and eqn.invars[side].aval.size >= _SMALLEST_MATRIX
        if free and (vector or (side == 1 and is_product(eqn))):
            array, order = _lines(eqn, side, producer)
            # Which of the operand's dimensions is the last of the array.
            last = _order(eqn.invars[side], producer)[1].index(len(order) - 1)
            if array in outside and last in contracted:
                return side
    return None


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
