"""Views: parts of arrays that lie in one piece, at an index that is known when a program runs.

A step of a loop that takes block i of an array it does not change needs no copy of it, only its
address. What reads the block reads it as any stored array: a matrix product, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nr.backends.compiler.matmul import Body
from nr.backends.compiler.simplify import reshaped
from nr.core.array import as_host
from nr.core.jaxprs import JaxprEqn, Literal, Var

# Smaller parts are read by the kernels that need them.
_SMALLEST = 4 << 10


def with_views(body: Body, overwritable: Iterable[Var]) -> Body:
    """The body with dynamic slices of its operands as views, where they can be.

    Such an eqn's operands are the array and one index; its parameter `view` is what is added to
    an index below zero, the largest index, and the bytes from one to the next. Those operands that
    are overwritten are not viewed.
    """
    fixed = {*body.invars, *body.constvars} - {*overwritable}
    producer: dict[Any, JaxprEqn] = {v: q for q in body.eqns for v in q.outvars}

    def root(atom: Any) -> Any:
        while (before := reshaped(producer.get(atom))) is not None:
            atom = before
        return atom

    def view(eqn: JaxprEqn) -> JaxprEqn:
        d = _one_piece(eqn)
        if d is None or root(eqn.invars[0]) not in fixed:
            return eqn
        index, extent = _from_end(eqn.invars[1 + d], producer)
        if type(index) is not Var or root(index) not in body.invars or index.aval.dtype != np.int32:
            return eqn
        whole, window = eqn.invars[0].aval, eqn.outvars[0].aval
        step = whole.dtype.itemsize * int(np.prod(whole.shape[d + 1 :], dtype=np.int64))
        params = {**eqn.params, "view": (extent, whole.shape[d] - window.shape[d], step)}
        return eqn.replace(invars=[eqn.invars[0], index], params=params)

    eqns = [view(q) if q.primitive.name == "dynamic_slice" else q for q in body.eqns]
    return Body(body.constvars, body.consts, body.invars, eqns, body.outvars)


def _one_piece(eqn: JaxprEqn) -> int | None:
    """The one dimension that is cut, if what is cut out lies in one piece and is large."""
    whole, window = eqn.invars[0].aval, eqn.outvars[0].aval
    cut = [d for d, (n, m) in enumerate(zip(whole.shape, window.shape, strict=True)) if n != m]
    if len(cut) != 1 or window.size * window.dtype.itemsize < _SMALLEST:
        return None
    (d,) = cut
    return d if all([n == 1 for n in window.shape[:d]]) else None


def _from_end(index: Any, producer: dict[Any, JaxprEqn]) -> tuple[Any, int]:
    """What an index is computed from, and what is added to it if that is below zero."""
    select = producer.get(index)
    if select is None or select.primitive.name != "select_n":
        return index, 0
    below, plain, moved = select.invars
    test, total = producer.get(below), producer.get(moved)
    if test is None or test.primitive.name != "lt" or _number(test.invars[1]) != 0:
        return index, 0
    if total is None or total.primitive.name != "add" or plain not in total.invars:
        return index, 0
    extents = [_number(a) for a in total.invars if a is not plain]
    if test.invars[0] is not plain or len(extents) != 1 or extents[0] is None:
        return index, 0
    return plain, extents[0]


def _number(atom: Any) -> int | None:
    """The integer that an operand is."""
    if type(atom) is not Literal or np.ndim(as_host(atom.val)):
        return None
    return int(as_host(atom.val))
