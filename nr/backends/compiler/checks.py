"""Checked execution: errors as values that a program carries along and gives back.

A check that fails does not stop anything. It gives an error, three integers: which check (0: none),
where and what, and the step of the loop around it. The first one is kept: errors pass through loops
and branches as further carries and results, and come out as the last three outputs of the program.
So checks are fused, vectorized and run in threads as everything else is, in loops too; and what is
known to be in range, from counters and literals, is not checked.

Two kinds: `check_index` eqns and reads and writes with mode "error"; and, where asked for, NaNs in
the results of operations that may make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.backends.compiler.ranges import Ranges
from nr.backends.compiler.simplify import simplify
from nr.core.avals import ShapedArray
from nr.core.jaxprs import Atom, Jaxpr, JaxprEqn, Literal, Var, subjaxprs
from nr.core.source_info import Source
from nr.core.tracing import Primitive
from nr.core.unchecked import without_checks

# What cannot make a NaN of numbers.
_HARMLESS = frozenset([
    "abs", "argsort", "bitcast_convert_type", "broadcast_in_dim", "ceil", "clamp", "concatenate",
    "conj", "convert_element_type", "copy", "cummax", "cummin", "device_put", "dynamic_slice",
    "dynamic_update_slice", "floor", "gather", "imag", "max", "min", "neg", "pad", "real",
    "reduce_max", "reduce_min", "reduce_precision", "reshape", "rev", "round", "scatter",
    "select_n", "sign", "slice", "sort", "squeeze", "stop_gradient", "top_k", "transpose",
])  # fmt: skip
_CALLS = ("scan", "while", "cond", "checkpoint")
_INDEXING = ("gather", "scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max")
# A position and a value share 64 bits: the value the lower half, moved so that it is not negative.
_HALF = 1 << 31
_NOWHERE = np.iinfo(np.int32).max

Error = tuple[Atom, Atom, Atom]
_NONE: Error = (Literal(np.int32(0)), Literal(np.int64(0)), Literal(np.int32(-1)))
_AVALS = tuple([a.aval for a in _NONE])


@dataclass(frozen=True, slots=True)
class Site:
    """A check: of an index along an axis, or of the NaNs in an operation's result.

    shape: of what is checked, the first `lanes` dimensions being those of vmap.
    """

    name: str
    shape: tuple[int, ...]
    source: Source | None
    axis: int = 0
    size: int = 0
    lanes: int = 0

    def exception(self, packed: int, step: int) -> Exception:
        """What to raise for an error."""
        position, value = packed >> 32, (packed & (1 << 32) - 1) - _HALF
        place = tuple([int(i) for i in np.unravel_index(position, self.shape)])
        where = "" if self.source is None else f", at {self.source}"
        if step >= 0:
            where += f", in step {step} of the loop"
        if self.name == "index":
            if self.lanes:
                lane = place[: self.lanes]
                where += f", in lane {lane[0] if len(lane) == 1 else lane} of vmap"
            return IndexError(
                f"index: index {value} is out of bounds for axis {self.axis} with size "
                f"{self.size}{where}."
            )
        element = f"element {place} of its result" if place else "its result"
        backward = self.source is not None and self.source.scope.endswith("backward")
        which = "backward" if backward else "forward"
        if self.name == "argument":
            return FloatingPointError(
                f'jit: check="nan": element {place} of an argument of shape {self.shape} is NaN.'
            )
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
            if self.nan and name not in _HARMLESS and name not in _CALLS:
                for out in eqn.outvars:
                    self.check_nan(name, out, eqn.source)

    # ------------------------------------------------------------------ checks
    def check_index(
        self, indices: Atom, low: int, high: int, axis: int, size: int, lanes: int
    ) -> None:
        """Indices must lie in [low, high)."""
        bounds = self.ranges.of(indices)
        if indices.aval.size == 0 or (bounds[0] >= low and bounds[1] < high):
            return
        n = indices.aval.size
        wide = self.emit("convert_element_type", indices, new_dtype=np.dtype(np.int64))
        # Of a u64 beyond the range of i64, a negative number is made: that is as far out.
        flat = self.emit("reshape", wide, new_sizes=(n,)) if indices.aval.shape != (n,) else wide
        below = self.emit("lt", flat, Literal(np.int64(low)))
        above = self.emit("ge", flat, Literal(np.int64(high)))
        bad = self.emit("or", below, above)
        value = self.emit("clamp", Literal(np.int64(-_HALF)), flat, Literal(np.int64(_HALF - 1)))
        value = self.emit("add", value, Literal(np.int64(_HALF)))
        if n > 1:
            place = self.emit("iota", shape=(n,), dtype=np.dtype(np.int64), dimension=0)
            place = self.emit("mul", place, Literal(np.int64(1 << 32)))
            value = self.emit("add", place, value)
        limit = Literal(np.int64(np.iinfo(np.int64).max))
        far = self.emit("broadcast_in_dim", limit, shape=(n,), broadcast_dimensions=())
        packed = self.emit("reduce_min", self.emit("select_n", bad, far, value), axes=(0,))
        found = self.emit("lt", packed, limit)
        site = Site("index", indices.aval.shape, self.user, axis, size, lanes)
        self._note(found, packed, site)

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
            self.check_index(one, 0, operand[d] - windows[d] + 1, d, operand[d], 0)
        return eqn.replace(params={**eqn.params, "mode": "clip"})

    def check_nan(self, name: str, value: Var, source: Source | None) -> None:
        """A value must not have NaNs."""
        shape, n = value.aval.shape, value.aval.size
        if np.dtype(value.aval.dtype).kind not in "fcV" or not 0 < n < _NOWHERE:
            return
        bad = self.emit("ne", value, value)
        flat = self.emit("reshape", bad, new_sizes=(n,)) if shape != (n,) else bad
        place = self.emit("iota", shape=(n,), dtype=np.dtype(np.int32), dimension=0)
        limit = Literal(np.int32(_NOWHERE))
        far = self.emit("broadcast_in_dim", limit, shape=(n,), broadcast_dimensions=())
        first = self.emit("reduce_min", self.emit("select_n", flat, far, place), axes=(0,))
        found = self.emit("lt", first, limit)
        packed = self.emit("convert_element_type", first, new_dtype=np.dtype(np.int64))
        packed = self.emit("mul", packed, Literal(np.int64(1 << 32)))
        self._note(found, packed, Site(name, shape, source))

    def _note(self, found: Var, packed: Var, site: Site) -> None:
        """Take an error over, where none came before it."""
        self.sites.append(site)
        number = Literal(np.int32(len(self.sites)))
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
        if _has_checks(test):
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
