"""Index arithmetic: integer-linear combinations of loop variables, with division where a reshape
needs it.

An `Index` is a sum of atoms times integers plus a constant. Atoms are `Loop` variables, `Div` and
`Mod` of another index by a constant, and scalar expressions (a gathered index). Ranges of the loop
variables simplify divisions away; those that remain are removed by splitting loops (schedule.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from nr.backends.compiler.expr import Expr


@final
class Loop:
    """A loop variable that runs from 0 to `extent` - 1; `reduced` if its values are combined."""

    __slots__ = ("name", "extent", "reduced")

    def __init__(self, name: str, extent: int, *, reduced: bool = False) -> None:
        self.name = name
        self.extent = extent
        self.reduced = reduced

    def __repr__(self) -> str:
        return self.name


@final
@dataclass(frozen=True, slots=True)
class Div:
    """``index // divisor``"""

    index: Index
    divisor: int


@final
@dataclass(frozen=True, slots=True)
class Mod:
    """``index % divisor``"""

    index: Index
    divisor: int


Atom = Loop | Div | Mod | Expr


@final
class Index:
    """``offset + sum(coefficient * atom)``, immutable."""

    __slots__ = ("terms", "offset", "_hash")

    def __init__(self, terms: dict[Any, int], offset: int = 0) -> None:
        self.terms = terms
        self.offset = offset
        self._hash = hash((offset, frozenset(terms.items())))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            type(other) is Index
            and self._hash == other._hash
            and self.offset == other.offset
            and self.terms == other.terms
        )

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.offset + other) if other else self
        if not other.terms:
            return self + other.offset
        if not self.terms:
            return other + self.offset
        terms = dict(self.terms)
        for atom, c in other.terms.items():
            c += terms.get(atom, 0)
            if c:
                terms[atom] = c
            else:
                del terms[atom]
        return Index(_rejoined(terms), self.offset + other.offset)

    def __mul__(self, factor: int) -> Index:
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return Index({a: c * factor for a, c in self.terms.items()}, self.offset * factor)

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other if isinstance(other, int) else other * -1)

    def __rsub__(self, other: int) -> Index:
        return self * -1 + other

    def __repr__(self) -> str:
        return index_text(self)

    @property
    def constant(self) -> int | None:
        """The value, if it depends on nothing."""
        return None if self.terms else self.offset

    def range(self, parts: Mapping[Loop, tuple[int, int]] = {}) -> tuple[int, int] | None:
        """The least and greatest value, or None where an atom is unbounded; where loops run
        through a part of their extents only, from one number to another, within these."""
        low = high = self.offset
        for atom, c in self.terms.items():
            least = 0
            if type(atom) is Loop:
                least, top = parts.get(atom) or (0, max(atom.extent - 1, 0))
            elif type(atom) is Mod:
                top = atom.divisor - 1
            elif type(atom) is Div:
                inner = atom.index.range(parts)
                if inner is None or inner[0] < 0:
                    return None
                top = inner[1] // atom.divisor
            else:
                return None
            low += c * (least if c > 0 else top)
            high += c * (top if c > 0 else least)
        return low, high

    def __floordiv__(self, divisor: int) -> Index:
        if divisor == 1:
            return self
        whole, rest = self._split(divisor)
        bounds = rest.range()
        if bounds is not None and bounds[0] >= 0 and bounds[1] < divisor:
            return whole
        if rest.constant is not None:
            return whole + rest.offset // divisor
        coarse = rest._coarser(divisor)
        if coarse is not None:
            unit, large, _ = coarse
            return whole + large // (divisor // unit)
        atom = next(iter(rest.terms))
        if type(atom) is Div and len(rest.terms) == 1 and rest.terms[atom] == 1 and not rest.offset:
            return whole + atom.index // (atom.divisor * divisor)
        return whole + Index({Div(rest, divisor): 1})

    def __mod__(self, divisor: int) -> Index:
        if divisor == 1:
            return ZERO
        _, rest = self._split(divisor)
        bounds = rest.range()
        if bounds is not None and bounds[0] >= 0 and bounds[1] < divisor:
            return rest
        if rest.constant is not None:
            return Index({}, rest.offset % divisor)
        coarse = rest._coarser(divisor)
        if coarse is not None:
            unit, large, small = coarse
            return large % (divisor // unit) * unit + small
        return Index({Mod(rest, divisor): 1})

    def _split(self, divisor: int) -> tuple[Index, Index]:
        """`whole` and `rest` with self = divisor * whole + rest; `rest` is not negative if self is
        not, so that machines may divide it as an unsigned number."""
        whole = {a: c // divisor for a, c in self.terms.items() if c % divisor == 0}
        rest = Index({a: c for a, c in self.terms.items() if c % divisor}, self.offset % divisor)
        bounds = rest.range()
        if bounds is None and any([c < 0 for c in rest.terms.values()]):
            return ZERO, self
        below = 0 if bounds is None else max(-(bounds[0] // divisor), 0)
        return Index(whole, self.offset // divisor - below), rest + below * divisor

    def _coarser(self, divisor: int) -> tuple[int, Index, Index] | None:
        """`unit`, `large` and `small` with self = unit * large + small, where small < unit and the
        unit, more than 1, divides the divisor: so that small takes no part in the division."""
        for unit in sorted({math.gcd(c, divisor) for c in self.terms.values()}, reverse=True):
            if unit == 1:
                return None
            large = {a: c // unit for a, c in self.terms.items() if c % unit == 0}
            small = Index({a: c for a, c in self.terms.items() if c % unit}, self.offset % unit)
            bounds = small.range()
            if bounds is not None and bounds[0] >= 0 and bounds[1] < unit:
                return unit, Index(large, self.offset // unit), small
        return None

    def loops(self) -> set[Loop]:
        """The loop variables it depends on, those inside expressions excepted."""
        found: set[Loop] = set()
        for atom in self.terms:
            if type(atom) is Loop:
                found.add(atom)
            elif type(atom) is not Expr:
                found |= atom.index.loops()
        return found

    def exprs(self) -> list[Expr]:
        """The scalar expressions it depends on."""
        found: list[Expr] = []
        for atom in self.terms:
            if type(atom) is Expr:
                found.append(atom)
            elif type(atom) is not Loop:
                found += atom.index.exprs()
        return found

    def substitute(self, loops: dict[Loop, Index], expr: Callable[[Expr], Expr]) -> Index:
        """With indices for loop variables, and expressions rewritten."""
        result = Index({}, self.offset)
        for atom, c in self.terms.items():
            if type(atom) is Loop:
                replaced = loops.get(atom)
                value = Index({atom: 1}) if replaced is None else replaced
            elif type(atom) is Div:
                value = atom.index.substitute(loops, expr) // atom.divisor
            elif type(atom) is Mod:
                value = atom.index.substitute(loops, expr) % atom.divisor
            else:
                value = Index({expr(atom): 1})
            result = result + value * c
        return result


def _rejoined(terms: dict[Any, int]) -> dict[Any, int]:
    """With ``c*d*(x // d) + c*(x % d)`` written ``c*x``."""
    for atom, c in terms.items():
        if type(atom) is not Mod:
            continue
        quotient = atom.index // atom.divisor
        if len(quotient.terms) != 1 or quotient.offset:
            continue
        ((div, one),) = quotient.terms.items()
        if one == 1 and terms.get(div) == c * atom.divisor:
            rest = {a: k for a, k in terms.items() if a != atom and a != div}
            joined = Index(rest) + atom.index * c
            if joined.offset == 0:
                return joined.terms
    return terms


ZERO = Index({})


def index_of(value: Loop | Expr | int | Index) -> Index:
    """A loop variable, an i64 expression or an integer as an index."""
    if type(value) is Index:
        return value
    if type(value) is int:
        return Index({}, value)
    return Index({value: 1})


def only_loop(index: Index) -> Loop | None:
    """The loop whose variable an index is, if it is nothing else."""
    (atom, c), *others = index.terms.items() or [(None, 0)]
    return atom if type(atom) is Loop and c == 1 and not others and not index.offset else None


def strides_of(shape: Sequence[int]) -> list[int]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return strides


def flatten(indices: Sequence[Index], shape: Sequence[int]) -> Index:
    """The row-major offset of an element."""
    flat = ZERO
    for index, stride, extent in zip(indices, strides_of(shape), shape, strict=True):
        if extent != 1:
            flat = flat + index * stride
    return flat


def unflatten(flat: Index, shape: Sequence[int]) -> tuple[Index, ...]:
    """The indices of the element at a row-major offset."""
    indices = []
    for i, (stride, extent) in enumerate(zip(strides_of(shape), shape, strict=True)):
        if extent <= 1:
            indices.append(ZERO)
        elif all([s <= 1 for s in shape[:i]]):
            indices.append(flat // stride)
        else:
            indices.append(flat // stride % extent)
    return tuple(indices)


def reindexed(
    indices: Sequence[Index], shape: Sequence[int], to: Sequence[int]
) -> tuple[Index, ...]:
    """The indices of an element of an array of another shape, and as many elements.

    Dimensions that are the same in both, or that are joined and split among themselves, are done
    apart: where a condition keeps an index within its dimension, nothing has to be divided.
    """
    if 0 in shape:
        return unflatten(flatten(indices, shape), to)
    result: list[Index] = []
    begin = 0
    for end in range(1, len(shape) + 1):
        size = math.prod(shape[begin:end])
        count = 0
        while math.prod(to[len(result) : len(result) + count]) < size:
            count += 1
        part = to[len(result) : len(result) + count]
        if math.prod(part) == size and (end == len(shape) or shape[end] != 1):
            result += unflatten(flatten(indices[begin:end], shape[begin:end]), part)
            begin = end
    return (*result, *[ZERO] * (len(to) - len(result)))


def index_text(index: Index, expression: Callable[[Expr], str] = str) -> str:
    """As a sum, e.g. ``128*i + j + 3``."""
    parts = []
    for atom, c in index.terms.items():
        if type(atom) is Div:
            text = f"({index_text(atom.index, expression)} // {atom.divisor})"
        elif type(atom) is Mod:
            text = f"({index_text(atom.index, expression)} % {atom.divisor})"
        else:
            text = expression(atom) if type(atom) is Expr else str(atom)
        parts.append(text if c == 1 else f"{c}*{text}")
    if index.offset or not parts:
        parts.append(str(index.offset))
    return " + ".join(parts)
