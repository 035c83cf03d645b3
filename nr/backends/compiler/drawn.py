"""Random bits by their place: what is drawn for all elements of an array as for each row of it.

The counter of an element's random bits is its flat index, so they are drawn for a flat array, which
has no rows. From the indices of its dimensions it can be told for a block of rows, too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr.backends.compiler.rowwise import Writer
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var

_UINT32 = np.dtype(np.uint32)


def with_bits_by_place(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with random bits of arrays drawn by the places in all dimensions; the flat ones are
    left, dead where nothing else needs them."""
    producer: dict[Any, JaxprEqn] = {v: q for q in jaxpr.eqns for v in q.outvars}
    eqns: list[JaxprEqn] = []
    for eqn in jaxpr.eqns:
        keys = _keys(eqn, producer)
        if keys is None:
            eqns.append(eqn)
            continue
        (out,) = eqn.outvars
        write, shape = Writer(eqn.source), out.aval.shape
        operands = [*keys, Literal(np.uint32(0)), _counter(write, shape)]
        word = write.add("random_word", operands, shape, _UINT32)
        write.converted(word, out.aval.dtype)
        write.eqns[-1] = write.eqns[-1].replace(outvars=[out])
        eqns += write.eqns
    return jaxpr.replace(eqns=eqns)


def _keys(eqn: JaxprEqn, producer: dict[Any, JaxprEqn]) -> list[Any] | None:
    """The key of random words of an array, if an eqn gives them their shape."""
    if eqn.primitive.name != "reshape" or len(eqn.outvars[0].aval.shape) < 2:
        return None
    word = producer.get(eqn.invars[0])
    if word is not None and word.primitive.name == "convert_element_type":
        narrow = word.outvars[0].aval.dtype
        word = producer.get(word.invars[0]) if narrow.kind == "u" else None
    if word is None or word.primitive.name != "random_word":
        return None
    k1, k2, high, low = word.invars
    count = producer.get(low) if type(low) is Var else None
    flat = count is not None and count.primitive.name == "iota" and count.params["shape"][0] > 0
    zero = type(high) is Literal and int(high.val) == 0
    return [k1, k2] if flat and zero and k1.aval.shape == () == k2.aval.shape else None


def _counter(write: Writer, shape: tuple[int, ...]) -> Any:
    """The flat index of each element of an array: u32."""
    total = None
    for d in [d for d, n in enumerate(shape) if n > 1] or [0]:
        one = write.add("iota", [], shape, _UINT32, dtype=_UINT32, shape=shape, dimension=d)
        stride = math.prod(shape[d + 1 :])
        if stride > 1:
            one = write.add("mul", [one, Literal(np.uint32(stride))], shape, _UINT32)
        total = one if total is None else write.add("add", [total, one], shape, _UINT32)
    return total
