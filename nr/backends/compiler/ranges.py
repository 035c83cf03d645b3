"""What values integers can have, as far as a program says: from literals, counters and loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core.array import as_host
from nr.core.jaxprs import Atom, Jaxpr, JaxprEqn, Literal, Var

Range = tuple[int, int]
_UNKNOWN: Range = (-(1 << 63), (1 << 64) - 1)
_SAME = (
    "reshape", "squeeze", "broadcast_in_dim", "transpose", "rev", "slice", "dynamic_slice", "copy",
    "stop_gradient", "check_index", "reduce_max", "reduce_min", "sort", "device_put", "cummax",
    "cummin",
)  # fmt: skip
_MOST_CONSTANT = 1 << 20


class Ranges:
    """The ranges of integer values of one jaxpr, both ends included, eqn after eqn."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.found: dict[Var, Range] = {}
        self.producer: dict[Any, JaxprEqn] = {}
        for var, value in zip(jaxpr.constvars, jaxpr.consts, strict=True):
            if np.dtype(var.aval.dtype).kind in "iu" and 0 < var.aval.size <= _MOST_CONSTANT:
                value = as_host(value)
                self.found[var] = int(value.min()), int(value.max())

    def of(self, atom: Atom) -> Range:
        """The least and the greatest value that an integer, or an array of them, can have."""
        dtype = np.dtype(atom.aval.dtype)
        if not isinstance(atom, Var):
            value = as_host(atom.val)
            return (int(value), int(value)) if dtype.kind in "iub" else _UNKNOWN
        if dtype.kind == "b":
            return self.found.get(atom, (0, 1))
        if dtype.kind not in "iu":
            return _UNKNOWN
        info = np.iinfo(dtype)
        return self.found.get(atom, (int(info.min), int(info.max)))  # type: ignore[arg-type]

    def add(self, eqn: JaxprEqn) -> None:
        """Note what an eqn says about its result."""
        if len(eqn.outvars) != 1 or np.dtype(eqn.outvars[0].aval.dtype).kind not in "iub":
            return
        out = eqn.outvars[0]
        self.producer[out] = eqn
        if np.dtype(out.aval.dtype).kind == "b":
            answer = self._answer(eqn)
            if answer is not None:
                self.found[out] = int(answer), int(answer)
            return
        info = np.iinfo(np.dtype(out.aval.dtype))
        found = self._result(eqn)
        if found is not None and info.min <= found[0] and found[1] <= info.max:
            self.found[out] = found

    def _answer(self, eqn: JaxprEqn) -> bool | None:
        """What a comparison gives, if that is known."""
        if eqn.primitive.name not in ("lt", "eq", "ne"):
            return None
        (low, high), (a, b) = [self.of(x) for x in eqn.invars]
        if eqn.primitive.name == "lt":
            return True if high < a else False if low >= b else None
        apart = high < a or b < low
        return (eqn.primitive.name == "ne") if apart else None

    def _result(self, eqn: JaxprEqn) -> Range | None:
        name, p = eqn.primitive.name, eqn.params
        if name == "iota":
            return 0, max(p["shape"][p["dimension"]] - 1, 0)
        if name in ("argmax", "argmin"):
            shape = eqn.invars[0].aval.shape
            return 0, max(int(np.prod([shape[d] for d in p["axes"]])) - 1, 0)
        if not eqn.invars:
            return None
        of = [self.of(a) for a in eqn.invars]
        (low, high), (a, b) = of[0], of[-1]
        if name in _SAME:
            return low, high
        if name == "convert_element_type":
            whole = np.dtype(eqn.invars[0].aval.dtype).kind in "iub"
            return (low, high) if whole else None
        if name == "add":
            return low + a, high + b
        if name == "sub":
            return low - b, high - a
        if name == "neg":
            return -high, -low
        if name == "mul":
            ends = [x * y for x in (low, high) for y in (a, b)]
            return min(ends), max(ends)
        if name == "max":
            return max(low, a), max(high, b)
        if name == "min":
            return min(low, a), min(high, b)
        if name == "clamp":
            (low, _), (_, high) = of[0], of[2]
            return (min(max(of[1][0], low), high), max(min(of[1][1], high), low))
        if name == "rem" and a == b and a > 0:
            return (0 if low >= 0 else -(a - 1)), (0 if high <= 0 else a - 1)
        if name == "and" and min(a, low) >= 0:
            return 0, min(b, high)
        if name == "select_n":
            return self._selected(eqn)
        if name in ("concatenate", "pad", "dynamic_update_slice"):
            pieces = of if name == "concatenate" else of[:2]
            return min([r[0] for r in pieces]), max([r[1] for r in pieces])
        return None

    def _selected(self, eqn: JaxprEqn) -> Range:
        which, *atoms = eqn.invars
        low, high = self.of(which)
        if low == high and 0 <= low < len(atoms):
            return self.of(atoms[low])
        if len(atoms) == 2:
            # d + n where d is negative: as indices from the end, and remainders, are made.
            d, moved = atoms
            made = self.producer.get(moved)
            if made is not None and made.primitive.name == "add" and made.invars[0] is d:
                (low, high), (n, m) = self.of(d), self.of(made.invars[1])
                if n == m and self._says_negative(which, d):
                    ends = [x for x in (low + n, n - 1) if low < 0] + [max(low, 0), high]
                    return min(ends), max(ends)
        cases = [self.of(a) for a in atoms]
        return min([r[0] for r in cases]), max([r[1] for r in cases])

    def _says_negative(self, atom: Atom, value: Atom) -> bool:
        """Whether a condition is that a value is negative."""
        eqn = self.producer.get(atom)
        if eqn is None or not eqn.invars:
            return False
        name, first, second = eqn.primitive.name, eqn.invars[0], eqn.invars[-1]
        if name == "lt":
            return first is value and self.of(second) == (0, 0)
        if name == "ne":
            return self.of(second) == (0, 0) and self._says_negative(first, value)
        if name == "and":
            other = self.producer.get(second)
            nonzero = (
                other is not None
                and other.primitive.name == "ne"
                and (other.invars[0] is value and self.of(other.invars[1]) == (0, 0))
            )
            return nonzero and self._says_negative(first, value)
        return False

    def inside(
        self, body: Jaxpr, consts: Sequence[Atom], carry: Sequence[Atom], length: int | None,
        xs: Sequence[Atom],
    ) -> Ranges:  # fmt: skip
        """The ranges of the inputs of a loop's body, which runs `length` times, or of a branch's.

        A carry that each step adds a literal to is known where the number of steps is.
        """
        inner = Ranges(body)
        n, m = len(consts), len(consts) + len(carry)
        for var, atom in [*zip(body.invars, consts, strict=False),
                          *zip(body.invars[m:], xs, strict=False)]:  # fmt: skip
            if np.dtype(var.aval.dtype).kind in "iu":
                inner.found[var] = self.of(atom)
        producer: dict[Any, JaxprEqn] = {v: q for q in body.eqns for v in q.outvars}
        for k, (var, start) in enumerate(zip(body.invars[n:m], carry, strict=True)):
            out = body.outvars[k]
            if np.dtype(var.aval.dtype).kind not in "iu":
                continue
            low, high = self.of(start)
            if out is var:
                inner.found[var] = low, high
            step = _added(producer.get(out), var)
            if step is None or length is None:
                continue
            far = step * max(length - 1, 0)
            info = np.iinfo(np.dtype(var.aval.dtype))
            ends = min(low, low + far), max(high, high + far)
            if info.min <= ends[0] and ends[1] <= info.max:
                inner.found[var] = ends
        return inner


def _added(eqn: JaxprEqn | None, var: Var) -> int | None:
    """The literal that an eqn adds to a value."""
    if eqn is None or eqn.primitive.name != "add" or var not in eqn.invars:
        return None
    other = eqn.invars[1] if eqn.invars[0] is var else eqn.invars[0]
    return int(as_host(other.val)) if type(other) is Literal else None
