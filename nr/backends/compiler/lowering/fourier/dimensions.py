"""Transforms along other dimensions than the last, without transposing arrays for them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from nr.backends.compiler.matmul import Body
from nr.core.jaxprs import JaxprEqn, Var


def with_dimensions(body: Body) -> Body:
    """The body with complex transforms of what is transposed before and back after made transforms
    along `dimensions`, a parameter that only the compiler knows."""
    producer: dict[Any, JaxprEqn] = {v: q for q in body.eqns for v in q.outvars}
    uses: Counter[Any] = Counter([a for q in body.eqns for a in q.invars if type(a) is Var])
    uses.update([a for a in body.outvars if type(a) is Var])
    eqns, unused = [], set()
    for eqn in body.eqns:
        found = _between_transposes(eqn, producer, uses)
        eqns.append(eqn if found is None else found)
        if found is not None:
            (spectrum,) = eqn.invars
            (turned,) = producer[spectrum].invars
            unused.add(spectrum)
            uses[turned] -= 1
            if not uses[turned]:
                unused.add(turned)
    kept = [q for q in eqns if not unused.intersection(q.outvars)]
    return dataclasses.replace(body, eqns=kept) if unused else body


def _between_transposes(
    last: JaxprEqn, producer: dict[Any, JaxprEqn], uses: Counter[Any]
) -> JaxprEqn | None:
    """What takes the place of a transpose, if it undoes the one before a transform."""
    if last.primitive.name != "transpose":
        return None
    middle = producer.get(last.invars[0])
    if middle is None or middle.primitive.name != "fft" or uses[middle.outvars[0]] > 1:
        return None
    if middle.params["fft_type"] not in ("FFT", "IFFT"):
        return None
    first = producer.get(middle.invars[0])
    if first is None or first.primitive.name != "transpose":
        return None
    order, back = first.params["permutation"], last.params["permutation"]
    if [order[k] for k in back] != list(range(len(order))):
        return None
    dimensions = tuple(order[-len(middle.params["fft_lengths"]) :])
    params = {**middle.params, "dimensions": dimensions}
    return middle.replace(invars=first.invars, outvars=last.outvars, params=params)
