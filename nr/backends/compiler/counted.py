"""Indices that only count, such as ``jnp.arange(n)`` in ``x[jnp.arange(n), labels]``.

A gather or scatter whose indices count along an operand's dimension is one for each of its rows:
the dimension becomes a batching dimension, so that rows are known to be apart and nothing has to
be looked up for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.backends.compiler.simplify import eliminate_dead_code
from nr.core.array import as_host
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var
from nr.core.tracing import Primitive

# Constants of up to this many elements are looked at.
_MOST_CONSTANT = 1 << 16


def with_counted_rows(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with batching dimensions in place of indices that count.

    Args:
        jaxpr: a simplified jaxpr.

    Returns:
        An equivalent one; the same if no gather or scatter has indices that count.
    """
    if not any([_dimension_names(q) for q in jaxpr.eqns]):
        return jaxpr
    search = _Search(jaxpr)
    eqns: list[JaxprEqn] = []
    for eqn in jaxpr.eqns:
        if _dimension_names(eqn):
            while (found := _first_counted(eqn, search)) is not None:
                before, eqn = _batched(eqn, search, *found)
                eqns += before
        eqns.append(eqn)
    if all([new is old for new, old in zip(eqns, jaxpr.eqns, strict=False)]):
        return jaxpr
    return eliminate_dead_code(jaxpr.replace(eqns=eqns))


def _dimension_names(eqn: JaxprEqn) -> tuple[str, ...]:
    """What a gather's or scatter's dimension numbers are called, the primitive's own names."""
    if eqn.primitive.name == "gather":
        return ("collapsed_slice_dims", "start_index_map", "start_indices_batching_dims")
    if eqn.primitive.name.startswith("scatter"):
        return (
            "inserted_window_dims",
            "scatter_dims_to_operand_dims",
            "scatter_indices_batching_dims",
        )
    return ()


class _Search:
    """Finds out which values count along a dimension."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.producer: dict[Var, JaxprEqn] = {v: q for q in jaxpr.eqns for v in q.outvars}
        self.constants = dict(zip(jaxpr.constvars, jaxpr.consts, strict=True))

    def pieces(self, var: Any) -> list[Any] | None:
        """The components of index vectors that are put together, each with a last extent of 1."""
        eqn = self.producer.get(var) if type(var) is Var else None
        last = var.aval.ndim - 1
        if eqn is None or eqn.primitive.name != "concatenate" or eqn.params["dimension"] != last:
            return None
        whole = all([a.aval.shape[-1] == 1 for a in eqn.invars])
        return list(eqn.invars) if whole else None

    def counted(self, atom: Any) -> set[int]:
        """The dimensions along which the value of an element is its index."""
        if atom.aval.dtype.kind not in "iu" or type(atom) is Literal:
            return set()
        if atom in self.constants:
            return self._of_constant(atom)
        eqn = self.producer.get(atom)
        if eqn is None:
            return set()
        name, p = eqn.primitive.name, eqn.params
        if name == "iota":
            wide_enough = atom.aval.shape[p["dimension"]] - 1 <= np.iinfo(atom.aval.dtype).max
            return {p["dimension"]} if wide_enough else set()
        if name == "broadcast_in_dim":
            operand, places = eqn.invars[0], p["broadcast_dimensions"]
            moved = {places[d]: d for d in self.counted(operand)}
            old, new = operand.aval.shape, atom.aval.shape
            return {d for d, k in moved.items() if old[k] == new[d]}
        if name in ("reshape", "squeeze"):
            return self._of_reshaped(eqn)
        if name == "convert_element_type":
            found = self.counted(eqn.invars[0])
            fits = [atom.aval.shape[d] - 1 <= np.iinfo(atom.aval.dtype).max for d in found]
            return found if all(fits) else set()
        if name in ("copy", "stop_gradient"):
            return self.counted(eqn.invars[0])
        # Negative indices count from the end: there are none.
        if name == "select_n" and self._is_below_zero(eqn.invars[0]):
            return self.counted(eqn.invars[1])
        return set()

    def _is_below_zero(self, atom: Any) -> bool:
        """Whether a value says where one that counts is negative."""
        test = self.producer.get(atom)
        if test is None or test.primitive.name != "lt":
            return False
        return _is_zero(test.invars[1]) and bool(self.counted(test.invars[0]))

    def _of_constant(self, var: Var) -> set[int]:
        value = as_host(self.constants[var])
        if not 0 < value.size <= _MOST_CONSTANT:
            return set()
        found = set()
        for d, n in enumerate(value.shape):
            line = np.arange(n).reshape([-1 if k == d else 1 for k in range(value.ndim)])
            if n > 1 and np.array_equal(value, np.broadcast_to(line, value.shape)):
                found.add(d)
        return found

    def _of_reshaped(self, eqn: JaxprEqn) -> set[int]:
        """Of a reshape that only adds or drops dimensions of extent 1."""
        old, new = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
        kept_old = [d for d, n in enumerate(old) if n != 1]
        kept_new = [d for d, n in enumerate(new) if n != 1]
        if [old[d] for d in kept_old] != [new[d] for d in kept_new]:
            return set()
        moved = dict(zip(kept_old, kept_new, strict=True))
        return {moved[d] for d in self.counted(eqn.invars[0]) if d in moved}


def _is_zero(atom: Any) -> bool:
    return type(atom) is Literal and bool(as_host(atom.val) == 0)


def _first_counted(eqn: JaxprEqn, search: _Search) -> tuple[int, int] | None:
    """A component of the indices that counts, and the dimension it counts along."""
    dims = eqn.params["dimension_numbers"]
    absent, indexed, batched = [getattr(dims, name) for name in _dimension_names(eqn)]
    pieces = search.pieces(eqn.invars[1])
    if pieces is None or len(pieces) < 2:
        return None
    operand, indices = eqn.invars[0].aval, eqn.invars[1].aval
    for component, (d, piece) in enumerate(zip(indexed, pieces, strict=True)):
        if d not in absent or operand.shape[d] == 1:
            continue
        for b in sorted(search.counted(piece)):
            free = b < indices.ndim - 1 and b not in batched
            if free and indices.shape[b] == operand.shape[d]:
                return component, b
    return None


def _batched(
    eqn: JaxprEqn, search: _Search, component: int, b: int
) -> tuple[list[JaxprEqn], JaxprEqn]:
    """The eqn with a batching dimension for a component of its indices, and what precedes it."""
    dims = eqn.params["dimension_numbers"]
    absent_name, indexed_name, batched_name = _dimension_names(eqn)
    indexed = getattr(dims, indexed_name)
    d = indexed[component]
    pairs = [*zip(dims.operand_batching_dims, getattr(dims, batched_name), strict=True), (d, b)]
    pairs.sort()
    dims = dims._replace(
        operand_batching_dims=tuple([p[0] for p in pairs]),
        **{
            absent_name: tuple([k for k in getattr(dims, absent_name) if k != d]),
            indexed_name: tuple([k for k in indexed if k != d]),
            batched_name: tuple([p[1] for p in pairs]),
        },
    )
    pieces = search.pieces(eqn.invars[1])
    assert pieces is not None
    rest = [piece for k, piece in enumerate(pieces) if k != component]
    before: list[JaxprEqn] = []
    indices: Any = rest[0]
    if len(rest) > 1:
        aval = eqn.invars[1].aval
        indices = Var(aval.update(shape=(*aval.shape[:-1], len(rest))))
        joined = JaxprEqn(
            Primitive.all["concatenate"], rest, [indices], {"dimension": aval.ndim - 1}, eqn.source
        )
        before.append(joined)
        search.producer[indices] = joined
    invars = [eqn.invars[0], indices, *eqn.invars[2:]]
    return before, eqn.replace(invars=invars, params={**eqn.params, "dimension_numbers": dims})
