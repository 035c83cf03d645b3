"""Concatenations that are stored piece by piece.

An element of a concatenation is one of a piece, but of which depends on its place: computed
element by element, all pieces are computed and one is chosen. Where pieces are of one size, a
kernel goes through that of all pieces instead, and stores an element of each. Sums of parts that
are padded with zeros, as derivatives of slices are, become concatenations for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nr.backends.compiler.index import Index, flatten, unflatten
from nr.backends.compiler.simplify import eliminate_dead_code
from nr.core.array import as_host
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var
from nr.core.tracing import Primitive

# A kernel stores no more pieces than this; along the last dimension they have so many elements at
# least, as they are vectors.
_MOST = 64
_SHORTEST = 8


_Level = tuple[JaxprEqn, tuple[int, ...], int]


@dataclass(frozen=True, slots=True)
class Piece:
    """A value that is a part of a concatenation.

    path: the concatenations it is part of, from the inner to the outer one, each with the shape
    that it has as their operand, and where it begins.
    """

    value: Var
    path: tuple[_Level, ...]

    def place(self, flat: Index) -> Index:
        """Where an element, counted in the piece, lies in the whole."""
        for eqn, shape, start in self.path:
            index = list(unflatten(flat, shape))
            d = eqn.params["dimension"]
            index[d] = index[d] + start
            flat = flatten(index, eqn.outvars[0].aval.shape)
        return flat


def pieces_of(eqn: JaxprEqn, inner: Callable[[Var], JaxprEqn | None]) -> Sequence[Piece]:
    """The pieces of a concatenation, if they are of one size; otherwise none.

    Args:
        eqn: any eqn.
        inner: the eqn that computes a value where this is used, if it is not stored.
    """
    if eqn.primitive.name != "concatenate":
        return ()
    # Pieces of pieces may be of other sizes, as those of rolled arrays that are stacked are.
    return _alike(eqn, inner) or _alike(eqn, lambda var: None)


def _alike(eqn: JaxprEqn, inner: Callable[[Var], JaxprEqn | None]) -> Sequence[Piece]:
    """The pieces of a concatenation, and of what it concatenates, if all are of one size."""
    found: list[Piece] = []
    stack: list[tuple[JaxprEqn, tuple[_Level, ...]]] = [(eqn, ())]
    while stack and len(found) + len(stack) <= _MOST:
        whole, path = stack.pop()
        start, d = 0, whole.params["dimension"]
        for part in whole.invars:
            shape = part.aval.shape
            if type(part) is not Var or (d == len(shape) - 1 and shape[d] < _SHORTEST):
                return ()
            longer = ((whole, shape, start), *path)
            start += shape[d]
            deeper = inner(part)
            if deeper is not None and deeper.primitive.name == "concatenate":
                stack.append((deeper, longer))
            else:
                found.append(Piece(part, longer))
    alike = not stack and 1 < len(found) <= _MOST
    return found if alike and len({p.value.aval.size for p in found}) == 1 else ()


# A part of a sum: the dimension along which it lies, where it begins, and what it is.
_Part = tuple[int, int, Any]


def with_concatenations(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with sums of parts that lie side by side, padded with zeros, as concatenations.

    The gradient of an array that is used in slices is such a sum.
    """
    parts: dict[Any, list[_Part]] = {}
    uses: dict[Any, int] = {}
    for atoms in (*[q.invars for q in jaxpr.eqns], jaxpr.outvars):
        for a in atoms:
            if type(a) is Var:
                uses[a] = uses.get(a, 0) + 1
    eqns = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "pad":
            part = _padded(eqn)
            if part is not None:
                parts[eqn.outvars[0]] = [part]
        elif eqn.primitive.name == "add" and all([uses.get(a) == 1 for a in eqn.invars]):
            left, right = [parts.get(a) for a in eqn.invars]
            if left is not None and right is not None and left[0][0] == right[0][0]:
                (out,) = eqn.outvars
                found = parts[out] = sorted([*left, *right], key=lambda part: part[1])
                d = found[0][0]
                ends = [start + x.aval.shape[d] for _, start, x in found]
                if [start for _, start, _ in found] + [out.aval.shape[d]] == [0, *ends]:
                    concatenate = Primitive.all["concatenate"]
                    values = [x for _, _, x in found]
                    eqn = JaxprEqn(concatenate, values, [out], {"dimension": d}, eqn.source)
        eqns.append(eqn)
    return eliminate_dead_code(jaxpr.replace(eqns=eqns)) if parts else jaxpr


def _padded(eqn: JaxprEqn) -> _Part | None:
    """What is padded with zeros along one dimension, and where it begins."""
    x, zero = eqn.invars
    config = eqn.params["padding_config"]
    sides = [(d, low) for d, (low, high, _) in enumerate(config) if low or high]
    plain = all([min(c) >= 0 and c[2] == 0 for c in config])
    if type(x) is not Var or type(zero) is not Literal or as_host(zero.val) != 0 or not plain:
        return None
    return (*sides[0], x) if len(sides) == 1 else None
