"""Checked execution: errors as values that a program carries along and gives back.

A check that fails does not stop anything. It gives an error, three integers: which check (0: none),
where and what, and the step of the loop around it. The first one is kept: errors pass through loops
and branches as further carries and results, and come out as the last three outputs of the program.
So checks are fused, vectorized and run in threads as everything else is, in loops too; and what is
known to be in range, from counters and literals, is not checked.

Two kinds: `check_index` eqns and reads and writes with mode "error"; and, where asked for, NaNs in
the results of operations that may make one. NaNs are looked for in several values at once, as long
as these are computed side by side: at the next operation that is no matter of single elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.backends.compiler.lanes import Lanes, lanes_of
from nr.backends.compiler.ranges import Ranges
from nr.backends.compiler.rowwise import axis_of_whole
from nr.backends.compiler.simplify import simplify
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Atom, Jaxpr, JaxprEqn, Literal, Var, subjaxprs
from nr.core.nans import HARMLESS
from nr.core.source_info import Source, in_lane
from nr.core.tracing import Primitive
from nr.core.unchecked import without_checks

_CALLS = ("scan", "while", "cond", "checkpoint")
_INDEXING = ("gather", "scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max")
# A position and a value share 64 bits: the value the lower half, moved so that it is not negative.
_HALF = 1 << 31
# So many indices, or fewer, are written out as scalars in small loops.
_FEW = 16
# NaNs are looked for in rows of at least so many elements, where there are as many.
_ROW = 64
_NOWHERE = np.iinfo(np.int32).max

Error = tuple[Atom, Atom, Atom]
_NONE: Error = (Literal(np.int32(0)), Literal(np.int64(0)), Literal(np.int32(-1)))
_AVALS = tuple([a.aval for a in _NONE])


@dataclass(frozen=True, slots=True)
class Site:
    """A check: of an index along an axis, or of the NaNs in an operation's result.

    shape: of what is checked. lanes: those of its dimensions that are lanes of vmap, the outermost
    first, each with its axis name.
    """

    name: str
    shape: tuple[int, ...]
    source: Source | None
    axis: int = 0
    size: int = 0
    lanes: Lanes = ()

    def exception(self, packed: int, step: int) -> Exception:
        """What to raise for an error."""
        position, value = packed >> 32, (packed & (1 << 32) - 1) - _HALF
        place = tuple([int(i) for i in np.unravel_index(position, self.shape)])
        if self.name == "argument":
            return FloatingPointError(
                f"jit: element {place} of an argument of shape {self.shape} is NaN."
            )
        where = "" if self.source is None else f", at {self.source}"
        if step >= 0:
            where += f", in step {step} of the loop"
        if self.lanes:
            names = [name for _, name in self.lanes]
            where += f", {in_lane(names, [place[d] for d, _ in self.lanes])}"
        if self.name == "index":
            return IndexError(
                f"index: index {value} is out of bounds for axis {self.axis} with size "
                f"{self.size}{where}."
            )
        inside = {d for d, _ in self.lanes}
        place = tuple([i for d, i in enumerate(place) if d not in inside])
        element = f"element {place} of its result" if place else "its result"
        backward = self.source is not None and self.source.scope.endswith("backward")
        which = "backward" if backward else "forward"
        return FloatingPointError(
            f"{self.name}: {element} is the first NaN, in the {which} pass{where}."
        )


def with_errors(jaxpr: Jaxpr, *, nan: bool = False) -> tuple[Jaxpr, list[Site]]:
    """A simplified jaxpr with its checks as code, and these. If there are any, its last three
    outputs are the error: `Site` number from 1, packed place and value, step."""
    if not nan and not _has_checks(jaxpr):
        return jaxpr, []
    sites: list[Site] = []
    body = _Body(jaxpr, sites, nan)
    if nan:
        for var in jaxpr.invars:
            body.check_nan("argument", var, None)
    body.add(jaxpr.eqns)
    # Without an error there are no checks, but for those known to hold: their eqns go, too.
    more = body.error if sites and body.error is not None else ()
    return simplify(body.jaxpr(jaxpr.invars, [*body.outvars(), *more])), sites


def _has_checks(jaxpr: Jaxpr) -> bool:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "check_index" or eqn.params.get("mode") == "error":
            return True
        if any([_has_checks(inner) for inner in subjaxprs(eqn.params)]):
            return True
    return False


class _Body:
    """A jaxpr being rewritten: its new eqns, and the error so far (None: there can't be one)."""

    def __init__(
        self, jaxpr: Jaxpr, sites: list[Site], nan: bool, *, ranges: Ranges | None = None,
        error: Error | None = None, step: Atom | None = None,
    ) -> None:  # fmt: skip
        self.source = jaxpr
        self.sites = sites
        self.nan = nan
        self.ranges = ranges or Ranges(jaxpr)
        self.error = error
        self.step: Atom = _NONE[2] if step is None else step
        self.constvars, self.consts = list(jaxpr.constvars), list(jaxpr.consts)
        self.eqns: list[JaxprEqn] = []
        self.env: dict[Var, Atom] = {}
        self.user: Source | None = None
        # Values whose NaNs are yet to be looked for: their sites are the last ones.
        self.pending: list[Var] = []
        self.lanes: dict[Var, Lanes] = lanes_of(jaxpr) if nan else {}

    def outvars(self) -> list[Atom]:
        """The outputs, without those for errors."""
        return [self.known(a) for a in self.source.outvars]

    def jaxpr(self, invars: Sequence[Var], outvars: Sequence[Atom]) -> Jaxpr:
        """What it has become."""
        return Jaxpr(self.constvars, self.consts, list(invars), self.eqns, list(outvars))

    def known(self, atom: Atom) -> Atom:
        return self.env.get(atom, atom) if type(atom) is Var else atom

    def emit(self, name: str, *atoms: Atom, **params: Any) -> Var:
        """A new eqn of one result."""
        primitive = Primitive.all[name]
        out = Var(primitive.abstract_eval(*[a.aval for a in atoms], **params))
        self.eqns.append(JaxprEqn(primitive, list(atoms), [out], params, self.user))
        return out

    def add(self, eqns: Sequence[JaxprEqn]) -> None:
        """Take over eqns, with their checks written out."""
        for eqn in eqns:
            eqn = eqn.replace(invars=[self.known(a) for a in eqn.invars])
            self.user = eqn.source
            name = eqn.primitive.name
            if name == "in_lanes":
                self.env[eqn.outvars[0]] = eqn.invars[0]
                continue
            if self.pending and axis_of_whole(eqn) is None:
                self.find_nans()
            if name == "check_index":
                self.env[eqn.outvars[0]] = eqn.invars[0]
                p = eqn.params
                self.check_index(
                    eqn.invars[0], p["low"], p["high"], p["dim"], p["size"], p["lanes"]
                )
            elif name in _CALLS and (
                self.nan or any([_has_checks(b) for b in subjaxprs(eqn.params)])
            ):
                getattr(self, f"_{name}")(eqn)
            else:
                if name in _INDEXING and eqn.params["mode"] == "error":
                    eqn = self._in_bounds(eqn)
                self.eqns.append(eqn)
            self.ranges.add(eqn)
            if self.nan and name not in HARMLESS and name not in _CALLS:
                for out in eqn.outvars:
                    self.check_nan(name, out, eqn.source)
        self.find_nans()

    # ------------------------------------------------------------------ checks
    def check_index(
        self, indices: Atom, low: int, high: int, axis: int, size: int, names: tuple
    ) -> None:
        """Indices must lie in [low, high)."""
        bounds = self.ranges.of(indices)
        if indices.aval.size == 0 or (bounds[0] >= low and bounds[1] < high):
            return
        n = indices.aval.size
        flat = indices
        if indices.aval.shape != (n,):
            flat = self.emit("reshape", indices, new_sizes=(n,))
        bad = self._outside(flat, low, high)
        if _FEW < n < _NOWHERE:
            found, place = self._first(bad)
            value = self.emit("dynamic_slice", flat, place, slice_sizes=(1,))
            value = self._moved(self.emit("reshape", value, new_sizes=()))
            packed = self.emit("add", self._shifted(place), value)
        else:  # values that may be in registers, which no place can be read of
            value = self._moved(flat)
            if n > 1:
                place = self.emit("iota", shape=(n,), dtype=np.dtype(np.int64), dimension=0)
                value = self.emit("add", self._shifted(place), value)
            limit = Literal(np.int64(np.iinfo(np.int64).max))
            far = self.emit("broadcast_in_dim", limit, shape=(n,), broadcast_dimensions=())
            packed = self.emit("reduce_min", self.emit("select_n", bad, far, value), axes=(0,))
            found = self.emit("lt", packed, limit)
        lanes = tuple(enumerate(names))
        site = Site("index", indices.aval.shape, self.user, axis, size, lanes)
        self._note(found, packed, site)

    def _outside(self, flat: Atom, low: int, high: int) -> Var:
        """Which of some integers are not in [low, high): one comparison of unsigned ones."""
        if np.dtype(flat.aval.dtype).itemsize < 4:
            flat = self.emit("convert_element_type", flat, new_dtype=np.dtype(np.int32))
        info = np.iinfo(np.dtype(flat.aval.dtype))
        low, high = max(low, int(info.min)), min(high, int(info.max) + 1)
        unsigned = np.dtype(f"uint{info.bits}")
        offset = self.emit("bitcast_convert_type", flat, new_dtype=unsigned)
        if low:
            start = Literal(unsigned.type(low % (1 << info.bits)))
            offset = self.emit("sub", offset, start)
        return self.emit("ge", offset, Literal(unsigned.type(max(high - low, 0))))

    def _first(self, bad: Var) -> tuple[Var, Var]:
        """Whether any of some flags is set, and the place of the first that is."""
        shape = bad.aval.shape
        place = self.emit("iota", shape=shape, dtype=np.dtype(np.int32), dimension=0)
        limit = Literal(np.int32(_NOWHERE))
        far = self.emit("broadcast_in_dim", limit, shape=shape, broadcast_dimensions=())
        first = self.emit("reduce_min", self.emit("select_n", bad, far, place), axes=(0,))
        return self.emit("lt", first, limit), first

    def _shifted(self, place: Atom) -> Var:
        """Places as the upper half of an error's place and value."""
        wide = self.emit("convert_element_type", place, new_dtype=np.dtype(np.int64))
        return self.emit("mul", wide, Literal(np.int64(1 << 32)))

    def _moved(self, value: Atom) -> Var:
        """Values as the lower half. Of a u64 beyond the range of i64, a negative number is made:
        that is as far out."""
        wide = self.emit("convert_element_type", value, new_dtype=np.dtype(np.int64))
        wide = self.emit("clamp", Literal(np.int64(-_HALF)), wide, Literal(np.int64(_HALF - 1)))
        return self.emit("add", wide, Literal(np.int64(_HALF)))

    def _in_bounds(self, eqn: JaxprEqn) -> JaxprEqn:
        """A gather or scatter with mode "error", its indices checked, with a mode of its own."""
        dims, indices = eqn.params["dimension_numbers"], eqn.invars[1]
        operand = eqn.invars[0].aval.shape
        if eqn.primitive.name == "gather":
            axes, windows = dims.start_index_map, eqn.params["slice_sizes"]
        else:
            axes, windows = dims.scatter_dims_to_operand_dims, [1] * len(operand)
            absent = {*dims.inserted_window_dims, *dims.operand_batching_dims}
            kept = [d for d in range(len(operand)) if d not in absent]
            for d, u in zip(kept, dims.update_window_dims, strict=True):
                windows[d] = eqn.invars[2].aval.shape[u]
        shape = indices.aval.shape
        for component, d in enumerate(axes):
            one = self.emit(
                "slice", indices, start_indices=(*[0] * (len(shape) - 1), component),
                limit_indices=(*shape[:-1], component + 1), strides=None,
            )  # fmt: skip
            self.check_index(one, 0, operand[d] - windows[d] + 1, d, operand[d], ())
        return eqn.replace(params={**eqn.params, "mode": "clip"})

    def check_nan(self, name: str, value: Var, source: Source | None) -> None:
        """A value must not have NaNs."""
        shape, n = value.aval.shape, value.aval.size
        if np.dtype(value.aval.dtype).kind not in "fcV" or not 0 < 2 * n < _NOWHERE:
            return
        if (len(self.pending) + 2) * max(n, *[v.aval.size for v in self.pending], 0) > _NOWHERE:
            self.find_nans()
        self.sites.append(Site(name, shape, source, lanes=self.lanes.get(value, ())))
        self.pending.append(value)

    def find_nans(self) -> None:
        """Check the values that wait for it: those of one shape at once, in one loop.

        Where elements are NaN, the number of the first value with a NaN there and the element's
        place make up one integer, the least of which is wanted.
        """
        alike: dict[tuple[int, ...], list[tuple[int, Var]]] = {}
        for k, value in enumerate(self.pending):
            alike.setdefault(value.aval.shape, []).append((k, value))
        count = len(self.pending)
        which: Atom = Literal(np.int32(count))
        where: Atom = Literal(np.int32(0))
        for shape, values in alike.items():
            code = self._first_nan(shape, values, count)
            size = Literal(np.int32(math.prod(shape)))
            number, place = self.emit("div", code, size), self.emit("rem", code, size)
            earlier = self.emit("lt", number, which)
            which = self.emit("select_n", earlier, which, number)
            where = self.emit("select_n", earlier, where, place)
        if self.pending:
            found = self.emit("lt", which, Literal(np.int32(count)))
            number = self.emit("add", which, Literal(np.int32(len(self.sites) - count + 1)))
            self._keep(found, number, self._shifted(where))
        self.pending = []

    def _first_nan(self, shape: tuple[int, ...], values: list[tuple[int, Var]], none: int) -> Var:
        """The least number of a value with a NaN (`none`: no value has), times the size, plus the
        place there."""
        n = math.prod(shape)

        def filled(k: int) -> Var:
            start = Literal(np.int32(k * n))
            return self.emit("broadcast_in_dim", start, shape=shape, broadcast_dimensions=())

        first = filled(none)
        for k, value in reversed(values):
            first = self.emit("select_n", self.emit("ne", value, value), first, filled(k))
        place = self.emit("iota", shape=(n,), dtype=np.dtype(np.int32), dimension=0)
        code = self.emit("add", first, self.emit("reshape", place, new_sizes=shape))
        # Row by row at first: so the kernels that go through an array in rows can look at it, too.
        d = next((d for d in range(len(shape), 0, -1) if math.prod(shape[d:]) >= _ROW), 0)
        for axes in (range(d, len(shape)), range(d)):
            code = self.emit("reduce_min", code, axes=tuple(axes)) if axes else code
        return code

    def _note(self, found: Var, packed: Var, site: Site) -> None:
        """Take over the error of a check, where none came before it."""
        self.sites.append(site)
        self._keep(found, Literal(np.int32(len(self.sites))), packed)

    def _keep(self, found: Var, number: Atom, packed: Var) -> None:
        old = _NONE if self.error is None else self.error
        if self.error is not None:
            none = self.emit("eq", old[0], _NONE[0])
            found = self.emit("and", found, none)
        new = (number, packed, self.step)
        self.error = (
            self.emit("select_n", found, old[0], new[0]),
            self.emit("select_n", found, old[1], new[1]),
            self.emit("select_n", found, old[2], new[2]),
        )

    # ------------------------------------------------------------------ loops, branches
    def _call(self, eqn: JaxprEqn, invars: list[Atom], results: int, **params: Any) -> None:
        """The eqn with an error after its first results."""
        error = _fresh_error()
        outvars = [*eqn.outvars[:results], *error, *eqn.outvars[results:]]
        self.eqns.append(
            JaxprEqn(eqn.primitive, invars, outvars, {**eqn.params, **params}, eqn.source)
        )
        self.error = error

    def _inside(self, jaxpr: Jaxpr, ranges: Ranges, error: Error | None, step: Atom) -> _Body:
        return _Body(jaxpr, self.sites, self.nan, ranges=ranges, error=error, step=step)

    def _scan(self, eqn: JaxprEqn) -> None:
        p, jaxpr = eqn.params, simplify(eqn.params["jaxpr"])
        length, n = p["length"], p["num_consts"]
        m = n + p["num_carry"]
        error, count = _fresh_error(), Var(ShapedArray((), np.dtype(np.int32)))
        ranges = self.ranges.inside(
            jaxpr, eqn.invars[:n], eqn.invars[n:m], length, eqn.invars[m:]
        )  # fmt: skip
        body = self._inside(jaxpr, ranges, error, count)
        if p["reverse"]:
            body.step = body.emit("sub", Literal(np.int32(length - 1)), count)
        body.add(jaxpr.eqns)
        if body.error is error:  # all is known to be in range
            body.eqns = [q for q in body.eqns if count not in q.invars]
            new = body.jaxpr(jaxpr.invars, body.outvars())
            self.eqns.append(eqn.replace(params={**p, "jaxpr": new}))
            return
        more = body.emit("add", count, Literal(np.int32(1)))
        outs = body.outvars()
        assert body.error is not None
        new = body.jaxpr(
            [*jaxpr.invars[:m], *error, count, *jaxpr.invars[m:]],
            [*outs[: m - n], *body.error, more, *outs[m - n :]],
        )
        start = _NONE if self.error is None else self.error
        invars = [*eqn.invars[:m], *start, Literal(np.int32(0)), *eqn.invars[m:]]
        last = Var(count.aval)
        self._call(eqn, invars, m - n, jaxpr=new, num_carry=m - n + 4)
        self.eqns[-1].outvars.insert(m - n + 3, last)

    def _while(self, eqn: JaxprEqn) -> None:
        p = eqn.params
        nc, nb = p["cond_nconsts"], p["body_nconsts"]
        test_consts, body_consts = eqn.invars[:nc], eqn.invars[nc : nc + nb]
        carry = eqn.invars[nc + nb :]
        test, jaxpr = simplify(p["cond_jaxpr"]), simplify(p["body_jaxpr"])
        error, count = _fresh_error(), Var(ShapedArray((), np.dtype(np.int32)))
        ranges = self.ranges.inside(jaxpr, body_consts, carry, None, [])
        body = self._inside(jaxpr, ranges, error, count)
        body.add(jaxpr.eqns)
        # The test's checks run where its operands come about: before the loop, and in its body.
        fresh = [Var(a.aval) for a in test_consts]
        if self.nan or _has_checks(test):
            body.inline(test, [*fresh, *[body.known(a) for a in jaxpr.outvars]])
            self.inline(test, [*test_consts, *carry])
        more = body.emit("add", count, Literal(np.int32(1)))
        assert body.error is not None
        new = body.jaxpr(
            [*fresh, *jaxpr.invars, *error, count], [*body.outvars(), *body.error, more]
        )
        # An error ends the loop: what is wrong might never end it.
        plain = without_checks(test)
        ending = _Body(plain, self.sites, False)
        ending.add(plain.eqns)
        site = _fresh_error()
        go_on = ending.emit("and", plain.outvars[0], ending.emit("eq", site[0], _NONE[0]))
        cond = Jaxpr(
            ending.constvars, ending.consts, [*plain.invars, *site, Var(count.aval)],
            ending.eqns, [go_on],
        )  # fmt: skip
        start = _NONE if self.error is None else self.error
        invars = [*test_consts, *test_consts, *body_consts, *carry, *start, Literal(np.int32(0))]
        self._call(eqn, invars, len(carry), cond_jaxpr=cond, body_jaxpr=new, body_nconsts=nc + nb)
        self.eqns[-1].outvars.append(Var(count.aval))

    def inline(self, jaxpr: Jaxpr, operands: Sequence[Atom]) -> None:
        """Run a jaxpr's checks, for operands."""
        renamed = {v: Var(v.aval) for q in jaxpr.eqns for v in q.outvars}
        env: dict[Any, Any] = {**dict(zip(jaxpr.invars, operands, strict=True)), **renamed}
        if self.nan:
            self.lanes |= {env[v]: x for v, x in lanes_of(jaxpr).items() if v in renamed}
        for var, value in zip(jaxpr.constvars, jaxpr.consts, strict=True):
            env[var] = fresh = Var(var.aval)
            self.constvars.append(fresh)
            self.consts.append(value)
        self.add([
            eqn.replace(
                invars=[env[a] if type(a) is Var else a for a in eqn.invars],
                outvars=[env[v] for v in eqn.outvars],
            )
            for eqn in jaxpr.eqns
        ])  # fmt: skip

    def _cond(self, eqn: JaxprEqn) -> None:
        start = _NONE if self.error is None else self.error
        branches = []
        for branch in eqn.params["branches"]:
            jaxpr, error = simplify(branch), _fresh_error()
            ranges = self.ranges.inside(jaxpr, eqn.invars[1:], [], None, [])
            body = self._inside(jaxpr, ranges, error, self.step)
            step = Var(_AVALS[2])
            body.step = step
            body.add(jaxpr.eqns)
            assert body.error is not None
            branches.append(
                body.jaxpr([*jaxpr.invars, *error, step], [*body.outvars(), *body.error])
            )
        invars = [*eqn.invars, *start, self.step]
        self._call(eqn, invars, len(eqn.outvars), branches=tuple(branches))

    def _checkpoint(self, eqn: JaxprEqn) -> None:
        start = _NONE if self.error is None else self.error
        jaxpr, error, step = simplify(eqn.params["jaxpr"]), _fresh_error(), Var(_AVALS[2])
        ranges = self.ranges.inside(jaxpr, eqn.invars, [], None, [])
        body = self._inside(jaxpr, ranges, error, step)
        body.add(jaxpr.eqns)
        assert body.error is not None
        new = body.jaxpr([*jaxpr.invars, *error, step], [*body.outvars(), *body.error])
        self._call(eqn, [*eqn.invars, *start, self.step], len(eqn.outvars), jaxpr=new)


def _fresh_error() -> tuple[Var, Var, Var]:
    site, packed, step = [Var(aval) for aval in _AVALS]
    return site, packed, step
