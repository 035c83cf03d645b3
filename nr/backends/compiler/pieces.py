"""Concatenations that are stored piece by piece.

An element of a concatenation is one of a piece, but of which depends on its place: computed
element by element, all pieces are computed and one is chosen. Where pieces are of one size, a
kernel goes through that of all pieces instead, and stores an element of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nr.backends.compiler.index import Index, flatten, unflatten
from nr.core.jaxprs import JaxprEqn, Var

# A kernel stores no more pieces than this; along the last dimension they have so many elements at
# least, as they are vectors.
_MOST = 64
_SHORTEST = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """A value that is a part of a concatenation.

    path: the concatenations it is part of, from the inner to the outer one, each with the shape
    that it has as their operand, and where it begins.
    """

    value: Var
    path: tuple[tuple[JaxprEqn, tuple[int, ...], int], ...]

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
    found: list[Piece] = []
    stack = [(eqn, ())]
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
