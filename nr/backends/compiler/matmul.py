"""Matrix products: which are tiled loops, which are in panels, and the layouts of these.

A product is tiled loops where the rows of its right operand are contiguous and that stays in
cache: then it takes what comes after it into its kernel. Others copy their operands into panels
(cpu/gemm.py). Small products of any layout are loops of a kernel, as other reductions are.

Operands are views where possible: a transpose, slice or reshape of a stored array is passed as
strides, and a transpose of the result is written directly. Dimensions of a kind (batch, rows,
columns, contracted) that lie one within the other in memory count as one. Rows and columns that
cannot be joined become batch dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nr.backends.compiler.convolution import NO_TYPES, prepare_convolutions
from nr.backends.compiler.index import strides_of
from nr.backends.compiler.lowering.amx import is_worth
from nr.backends.compiler.lowering.reduce import dot_dimensions
from nr.backends.compiler.lowering.rules import storage
from nr.backends.compiler.panels import PANEL
from nr.core.jaxprs import Jaxpr, JaxprEqn, Var
from nr.core.tracing import Primitive


@dataclass(frozen=True, slots=True)
class Body:
    """A jaxpr within the compiler: its eqns may have parameters that only the compiler knows."""

    constvars: list[Var]
    consts: list[Any]
    invars: list[Var]
    eqns: list[JaxprEqn]
    outvars: list[Any]


MOST_BATCH_DIMS = 3
# Below so many multiplications a product is loops of a kernel, as any other reduction.
_SMALLEST = 32 * 32 * 32
# Tiled loops read the right operand again for each few rows: it is at most so many bytes, the part
# of a cache that is a processor's own; and its rows fill a part of a vector.
_MOST_CACHED = 1 << 19
# From one contracted index to the next it is no further than this, or half of it in a transposed
# left operand, or there are few of them: else too many pages are in use (measured against OpenBLAS,
# which copies into panels).
_LONGEST_STEP = 2048
_FEW_STEPS = 64
_FEWEST_COLUMNS = 8
# A left operand that is read again for each panel of columns is at most so many bytes.
_MOST_LEFT = 3 << 19
# Products of half floats that are worth being packed for a matrix unit: multiplications.
_SMALLEST_FOR_UNIT = 1 << 16
_HALVES = ("bf16", "f16")
# The types of a product's factors and its result.
_KINDS = {(t, t) for t in ("f32", "f64", *_HALVES)} | {(t, "f32") for t in _HALVES}


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch of products C = A B. Strides are in elements.

    batch: (extent, stride in a, in b, in c) of each batch dimension. a, b, c: the strides of rows
    and columns, one of which is 1 (in c, that of the columns).
    """

    m: int
    n: int
    k: int
    batch: tuple[tuple[int, int, int, int], ...]
    a: tuple[int, int]
    b: tuple[int, int]
    c: tuple[int, int]
    swapped: bool  # whether a is the right operand: then it is the transposed product
    by_columns: bool  # whether the columns of c, rather than its rows, are shared out

    @property
    def matrices(self) -> int:
        """How many products there are."""
        return math.prod([d[0] for d in self.batch])

    @property
    def lines(self) -> int:
        """How many rows, or columns, all products have together."""
        return self.matrices * (self.n if self.by_columns else self.m)


def sizes(eqn: JaxprEqn) -> tuple[int, int, int, int]:
    """Batch, rows, columns and contracted extent."""
    lb, _, lf, rf, lc, _ = dot_dimensions(eqn)
    left, right = [a.aval.shape for a in eqn.invars]
    return (
        math.prod([left[d] for d in lb]), math.prod([left[d] for d in lf]),
        math.prod([right[d] for d in rf]), math.prod([left[d] for d in lc]),
    )  # fmt: skip


def is_product(eqn: JaxprEqn) -> bool:
    """Whether a dot product is in panels: large, of a type that they have, and not in tiles; or
    for the processor's matrix unit."""
    if eqn.primitive.name != "dot_general" or "tiled" in eqn.params:
        return False
    if "matrix_unit" in eqn.params:
        return True
    kinds = {storage(a.aval.dtype) for a in (*eqn.invars, *eqn.outvars)}
    return kinds in ({"f32"}, {"f64"}) and _is_large(eqn)


def _is_large(eqn: JaxprEqn) -> bool:
    """Whether a product of floats is worth panels, or tiles of stored operands."""
    if eqn.primitive.name != "dot_general" or any([type(a) is not Var for a in eqn.invars]):
        return False
    left, right, out = [storage(a.aval.dtype) for a in (*eqn.invars, *eqn.outvars)]
    if left != right or (left, out) not in _KINDS:
        return False
    batch, m, n, k = sizes(eqn)
    return batch > 0 and m * n * k >= _SMALLEST and min(m, n) >= 4 and k >= 4


def is_near(columns: int, k: int, itemsize: int, step: int | None = None) -> bool:
    """Whether rows of so many columns, `step` apart, stay in cache while tiles read them again."""
    far = (columns if step is None else step) * itemsize > _LONGEST_STEP
    return k * columns * itemsize <= _MOST_CACHED and not (far and k > _FEW_STEPS)


def layout(eqn: JaxprEqn, a_strides: Sequence[int], b_strides: Sequence[int]) -> Layout | None:
    """The layout for operands of given strides; None if it can't be."""
    lb, rb, lf, rf, lc, rc = dot_dimensions(eqn)
    left, right = [a.aval.shape for a in eqn.invars]
    out = eqn.outvars[0].aval.shape
    c_strides = strides_of(out)
    permutation = eqn.params.get("out_permutation")
    if permutation is not None:
        natural = [0] * len(out)
        for place, d in enumerate(permutation):
            natural[d] = c_strides[place]
        c_strides = natural
    c = iter(c_strides)
    batch = [(left[i], a_strides[i], b_strides[j], next(c)) for i, j in zip(lb, rb, strict=True)]
    rows = [(left[i], a_strides[i], 0, next(c)) for i in lf]
    columns = [(right[j], 0, b_strides[j], next(c)) for j in rf]
    inner = [(left[i], a_strides[i], b_strides[j], 0) for i, j in zip(lc, rc, strict=True)]
    batch, rows, columns, inner = map(_joined, (batch, rows, columns, inner))
    if len(inner) != 1 or not rows or not columns:
        return None
    k, a_column, b_row, _ = inner[0]
    for swap in (False, True):
        for row in sorted(rows, reverse=True):
            for column in sorted(columns, reverse=True):
                rest = [
                    *batch,
                    *[r for r in rows if r is not row],
                    *[x for x in columns if x is not column],
                ]
                if len(rest) > MOST_BATCH_DIMS:
                    continue
                m, a_row, _, c_row = row
                n, _, b_column, c_column = column
                a_pair, b_pair, c_pair = (a_row, a_column), (b_row, b_column), (c_row, c_column)
                if swap:
                    m, n = n, m
                    a_pair, b_pair = (b_column, b_row), (a_column, a_row)
                    c_pair = (c_column, c_row)
                    rest = [(e, sb, sa, sc) for e, sa, sb, sc in rest]
                if (
                    c_pair[1] == 1
                    and c_pair[0] >= n
                    and _blas(a_pair, m, k)
                    and _blas(b_pair, k, n)
                ):
                    # By rows where steps before or after it may run in the same tasks.
                    few = n > m and (m < 64 or n > 8 * m)
                    return Layout(m, n, k, tuple(rest), a_pair, b_pair, c_pair, swap, few)
    return None


def _blas(strides: tuple[int, int], rows: int, columns: int) -> bool:
    """Whether panels can be made of a matrix: one stride is 1, and the lines do not overlap."""
    row, column = strides
    return (column == 1 and row >= columns) or (row == 1 and column >= rows)


def _joined(dims: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Dimensions of one kind, those within one another as one, and without those of extent 1."""
    result: list[tuple[int, int, int, int]] = []
    for dim in sorted([d for d in dims if d[0] != 1], key=lambda d: max(d[1:]), reverse=True):
        if result:
            outer = result[-1]
            if all([o == i * dim[0] for o, i in zip(outer[1:], dim[1:], strict=True)]):
                result[-1] = (outer[0] * dim[0], *dim[1:])
                continue
        result.append(dim)
    if not result and dims:
        # Extent 1: any strides will do, if they look like those of a matrix.
        a, b, c = [max(s, 1) if s else 0 for s in dims[-1][1:]]
        result = [(1, a, b, c)]
    return result


def contiguous(eqn: JaxprEqn) -> Layout | None:
    """The layout for operands that are stored as they are."""
    a, b = [strides_of(x.aval.shape) for x in eqn.invars]
    return layout(eqn, a, b)


def prepare(jaxpr: Jaxpr, matrix_types: Mapping[str, str] = NO_TYPES) -> Body:
    """The jaxpr as a body whose large dot products are ready for tiled loops, or for panels.

    Transposes of results are made part of products. Where neither way takes the operands as they
    are, they are transposed. Half floats are widened before, for all that read them, unless the
    processor has instructions for products of such (`matrix_types`).
    """
    eqns = prepare_convolutions(jaxpr.eqns, matrix_types)
    body = Body(jaxpr.constvars, jaxpr.consts, jaxpr.invars, eqns, jaxpr.outvars)
    return _Preparation(body, matrix_types).body()


class _Preparation:
    """Rewrites the dot products of a jaxpr."""

    def __init__(self, jaxpr: Body, matrix_types: Mapping[str, str]) -> None:
        self.matrix_types = matrix_types
        self.jaxpr = jaxpr
        self.producer = {v: q for q in jaxpr.eqns for v in q.outvars}
        self.uses: dict[Any, int] = {}
        for atoms in (*[q.invars for q in jaxpr.eqns], jaxpr.outvars):
            for a in atoms:
                self.uses[a] = self.uses.get(a, 0) + 1
        self.reader = {a: q for q in jaxpr.eqns for a in q.invars if type(a) is Var}
        self.absorbed: set[int] = set()
        self.widened: dict[Var, Var] = {}
        self.eqns: list[JaxprEqn] = []

    def body(self) -> Body:
        """The rewritten jaxpr."""
        one = self.jaxpr
        for eqn in one.eqns:
            if id(eqn) not in self.absorbed:
                self._add(eqn)
        return Body(one.constvars, one.consts, one.invars, self.eqns, one.outvars)

    def _add(self, eqn: JaxprEqn) -> None:
        if not _is_large(eqn):
            self.eqns.append(eqn)
            return
        transpose = Primitive.all["transpose"]
        permutation = None
        after = self.reader.get(eqn.outvars[0])
        if (
            self.uses.get(eqn.outvars[0]) == 1
            and after is not None
            and after.primitive is transpose
        ):
            permutation = after.params["permutation"]
        plain, merged = eqn, None
        if after is not None and permutation is not None:
            merged = self._merged(eqn, after, permutation)
        if self._suits_matrix_unit(eqn):
            if merged is not None and contiguous(merged) is not None:
                self._emit(merged, after, unit=True)
            else:
                self._emit(plain, None, unit=True)
            return
        for one in (merged, plain):
            if one is not None and self._suits_tiles(one):
                self._emit(one, after if one is merged else None, tiled=True)
                return
        if merged is not None and contiguous(merged) is not None:
            self._emit(merged, after)
        else:
            self._emit(plain, None)

    def _merged(self, eqn: JaxprEqn, after: JaxprEqn, permutation: tuple[int, ...]) -> JaxprEqn:
        """A dot product and the transpose of its result as one: where that only changes the order
        of rows and columns, the operands change places."""
        lb, rb, lf, rf, lc, rc = dot_dimensions(eqn)
        nb, nl, nr = len(lb), len(lf), len(rf)
        rows, columns = range(nb, nb + nl), range(nb + nl, nb + nl + nr)
        params = dict(eqn.params)
        invars = list(eqn.invars)
        if tuple(permutation) == (*range(nb), *columns, *rows):
            invars.reverse()
            params["dimension_numbers"] = ((rc, lc), (rb, lb))
        else:
            params["out_permutation"] = permutation
        return JaxprEqn(eqn.primitive, invars, after.outvars, params, eqn.source)

    def _suits_matrix_unit(self, eqn: JaxprEqn) -> bool:
        """Whether the processor's matrix unit is faster, though it has to pack operands."""
        instruction = self.matrix_types.get(storage(eqn.invars[0].aval.dtype) or "")
        _, _, n, k = shape = sizes(eqn)
        large = math.prod(shape) >= _SMALLEST_FOR_UNIT
        return instruction is not None and large and is_worth(instruction, k, n)

    def _suits_tiles(self, eqn: JaxprEqn) -> bool:
        """Whether rows of the right operand and of the result are contiguous, and what is read for
        each few rows of the result stays in cache."""
        lb, _, lf, rf, lc, rc = dot_dimensions(eqn)
        if not rf or "out_permutation" in eqn.params:
            return False
        _, m, n, k = sizes(eqn)
        itemsize = 8 if storage(eqn.invars[1].aval.dtype) == "f64" else 4
        left, right = [self._strides(a) for a in eqn.invars]
        if m < 4 or n < _FEWEST_COLUMNS or right[rf[-1]] != 1:
            return False
        # Columns that lie outside of the contracted dimensions are other panels, or matrices.
        step = max([right[d] for d in rc], default=0)
        shape = eqn.invars[1].aval.shape
        columns = math.prod([shape[d] for d in rf if right[d] <= step or not rc])
        if lf and left[lf[-1]] == 1 and lc:  # the left one lies transposed: its rows are read, too
            columns += m
            step = max(step, 2 * max([left[d] for d in lc]))
        elif not lb and n % (PANEL // itemsize) == 0 and m * k * itemsize <= _MOST_LEFT:
            return True  # tasks copy panels of columns for themselves (panels.py)
        return is_near(columns, k, itemsize, step)

    def _strides(self, atom: Any) -> list[int]:
        """How far it is between elements of what is stored, if transposes are not."""
        eqn = self.producer.get(atom)
        if eqn is None or eqn.primitive is not Primitive.all["transpose"]:
            return strides_of(atom.aval.shape)
        before = self._strides(eqn.invars[0])
        return [before[d] for d in eqn.params["permutation"]]

    def _emit(
        self, eqn: JaxprEqn, absorbed: JaxprEqn | None, *, tiled: bool = False, unit: bool = False
    ) -> None:
        """A product in float32 or float64, or as the matrix unit does it, with what comes before
        and after it."""
        if absorbed is not None:
            self.absorbed.add(id(absorbed))
        (out,) = eqn.outvars
        invars = list(eqn.invars) if unit else [self._wide(a, eqn.source) for a in eqn.invars]
        fresh = out
        if storage(out.aval.dtype) in _HALVES and not unit:
            fresh = Var(out.aval.update(dtype=np.dtype(np.float32)))
        product = JaxprEqn(eqn.primitive, invars, [fresh], dict(eqn.params), eqn.source)
        if unit:
            product.params["matrix_unit"] = True
        if tiled:
            product.params["tiled"] = True
        elif contiguous(product) is None:
            before, product = _canonical(product)
            self.eqns += before
        self.eqns.append(product)
        if fresh is not out:
            self._convert(fresh, out, eqn.source)

    def _wide(self, atom: Any, source: Any) -> Any:
        """A factor as float32, if it is a half float."""
        if storage(atom.aval.dtype) not in _HALVES:
            return atom
        found = self.widened.get(atom)
        if found is None:
            found = self.widened[atom] = Var(atom.aval.update(dtype=np.dtype(np.float32)))
            self._convert(atom, found, source)
        return found

    def _convert(self, source: Var, target: Var, where: Any) -> None:
        params = {"new_dtype": target.aval.dtype, "weak_type": False}
        convert = Primitive.all["convert_element_type"]
        self.eqns.append(JaxprEqn(convert, [source], [target], params, where))


def _canonical(eqn: JaxprEqn) -> tuple[list[JaxprEqn], JaxprEqn]:
    """A dot product of transposed operands: batch, free, then contracted dimensions."""
    transpose = Primitive.all["transpose"]
    lb, rb, lf, rf, lc, rc = dot_dimensions(eqn)
    eqns, invars = [], []
    for atom, order in zip(eqn.invars, ((*lb, *lf, *lc), (*rb, *rc, *rf)), strict=True):
        aval = atom.aval.update(shape=tuple([atom.aval.shape[d] for d in order]))
        fresh = Var(aval)
        eqns.append(JaxprEqn(transpose, [atom], [fresh], {"permutation": order}, eqn.source))
        invars.append(fresh)
    nb, nf, nc = len(lb), len(lf), len(lc)
    batch = tuple(range(nb))
    numbers = ((tuple(range(nb + nf, nb + nf + nc)), tuple(range(nb, nb + nc))), (batch, batch))
    return eqns, eqn.replace(invars=invars, params={**eqn.params, "dimension_numbers": numbers})
