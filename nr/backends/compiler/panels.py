"""Panels: parts of an operand that a thread copies to memory of its own before it reads them.

The columns that a tile reads are a few vectors of each row of a matrix. Where rows are long and
there are many, these lie too far apart for a processor to read ahead, and often fall on few sets
of its caches, so that they are gone before the next tile reads them. A panel has them one after
the other: it stays in cache for all tiles that read it, and it is filled once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nr.backends.compiler.expr import Expr
from nr.backends.compiler.index import Loop, flatten, index_of
from nr.backends.compiler.loops import ITEMSIZE, Buffer, Kernel, Pass, Store, load, parts_of, walk
from nr.backends.compiler.rewrite import Rewriter

if TYPE_CHECKING:
    from nr.backends.compiler.schedule import _Depends

PANEL = 128  # bytes of a row
# Panels pay where an operand is larger than this and its rows are so far apart, and if tiles read
# it so many times. So many of them let threads share the work.
LARGE = 1 << 17
FEWEST_PANELS = 8
_FAR = 1 << 10
_FEWEST_READS = 2


def panel_width(kernel: Kernel, depends: _Depends) -> int:
    """How many steps of a tiled kernel's vector loop a panel takes; 0 if it should have none."""
    e = _far_load(kernel, depends)
    if e is None:
        return 0
    buffer = e.param[0]
    wide = PANEL // ITEMSIZE[buffer.dtype]
    panels, rest = divmod(kernel.vector.extent, wide)
    pays = _is_read_again(kernel, e, depends) and buffer.nbytes > LARGE
    return wide if pays and panels >= FEWEST_PANELS and not rest else 0


def _is_read_again(kernel: Kernel, e: Expr, depends: _Depends) -> bool:
    needed = depends.loops(e)
    tiles = [-(-k.extent // kernel.tiles.get(k, 1)) for k in kernel.kept if k not in needed]
    return math.prod(tiles) >= _FEWEST_READS


def _far_load(kernel: Kernel, depends: _Depends) -> Expr | None:
    """What is read vector by vector from rows that are far apart, if it is one operand."""
    vector = kernel.vector
    found: list[Expr] = []
    if vector.reduced or not kernel.reduced:
        return None
    for e in walk([v for r in kernel.passes[0].reducers for v in r.values]):
        if e.op != "load" or e.args or e.param[0].dtype not in ("f32", "f64"):
            continue
        index, itemsize = e.param[1], ITEMSIZE[e.param[0].dtype]
        # The steps of a tile would need a panel each if they read other rows.
        if any([
            type(atom) is not Loop or (atom in kernel.tiles and atom is not vector)
            for atom in index.terms
        ]):  # fmt: skip
            continue
        step = depends.step(index, kernel.reduced[-1])
        if index.terms.get(vector) == 1 and step and abs(step) * itemsize >= _FAR:
            found.append(e)
    return found[0] if len(found) == 1 else None


def add_panel(kernel: Kernel, depends: _Depends) -> bool:
    """Have each task of a tiled kernel fill a panel with what it reads vector by vector; False if
    there is no such operand, or if it is not read again."""
    e = _far_load(kernel, depends)
    if e is None or not _is_read_again(kernel, e, depends):
        return False
    needed = depends.loops(e)
    inner = [*[k for k in kernel.reduced if k in needed], kernel.vector]
    extents = [k.extent for k in inner]
    buffer = Buffer("panel", e.param[0].dtype, math.prod(extents))
    place = flatten([index_of(k) for k in inner], extents)
    kernel.scratch.append(buffer)
    kernel.panel = Store(buffer, place, e)
    value = load(buffer, place)
    assert type(value) is Expr
    rewrite = Rewriter({}, {id(e): value})
    for r in kernel.passes[0].reducers:
        r.values = tuple([rewrite.expr(v) for v in r.values])
    outer = [k for k in kernel.kept if k in needed and k is not kernel.vector]
    kernel.kept = [*outer, *[k for k in kernel.kept if k not in outer]]
    kernel.tasks = len(outer)
    return True


def panel_operand(panel: Store) -> Buffer:
    """What a panel is a part of."""
    (e,) = parts_of(panel.value)
    buffer: Buffer = e.param[0]
    return buffer


def cut_panels(kernel: Kernel) -> Kernel:
    """A kernel that cuts all panels of another one, which reads them from then on. That is for
    operands that are the same in each call."""
    panel = kernel.panel
    assert panel is not None
    outer, inner = kernel.kept[: kernel.tasks], [k for k in panel.index.terms if type(k) is Loop]
    own, extents = panel.buffer, [k.extent for k in outer]
    panels = Buffer("panels", own.dtype, math.prod(extents) * own.size)
    place = flatten([index_of(k) for k in outer], extents) * own.size + panel.index
    there = load(panels, place)
    assert type(there) is Expr
    rewrite = Rewriter({}, {id(load(own, panel.index)): there})
    for r in kernel.passes[0].reducers:
        r.values = tuple([rewrite.expr(v) for v in r.values])
    kernel.panel = None
    kernel.scratch.remove(own)
    loops = {k: Loop(str(k), k.extent) for k in (*outer, *inner)}
    copied = Rewriter({k: index_of(new) for k, new in loops.items()})
    step = Pass(stores=[copied.store(Store(panels, place, panel.value))])
    vector = loops[kernel.vector]
    return Kernel(list(loops.values()), [], vector, [step], len(outer), kernel.width)
