"""Scatter: few updates as element rules, which fuse; more, or in place, as kernels of their own.

Updates are applied in their order, so results do not depend on the number of threads: the loop
over what may meet at one place is serial, and tasks and vectors run over places that are apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nr.backends.compiler import expr as e
from nr.backends.compiler.expr import Complex, Expr
from nr.backends.compiler.index import ZERO, Index, Loop, index_of, strides_of, unflatten
from nr.backends.compiler.loops import Buffer, Kernel, Pass, Store, load
from nr.backends.compiler.lowering.rules import (
    Value,
    choose,
    element,
    in_range,
    kernels,
    round_to,
    storage,
    to_index,
)
from nr.backends.compiler.lowering.shape import _start as clamped_start
from nr.backends.compiler.lowering.strided import Axis, copy, every, lanes, merged, place, size_of

# At most so many updates of an element are written out in an element rule: single elements, whose
# places are compared only, or windows, of which something is loaded.
_FEW, _FEW_WINDOWS = 4, 1
# Tasks run over other loops than the vector loop from this many on.
_MANY_TASKS = 16
_OUT, _PLACES, _UPDATES = range(3)


def _multiply(a: Any, b: Any) -> Value:
    if type(a) is Complex:
        return Complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
    return a * b


def _add(a: Any, b: Any) -> Value:
    if type(a) is Complex:
        return Complex(a.re + b.re, a.im + b.im)
    if a.op == "const" and a.param == 0:
        return b
    return a + b


_COMBINE: dict[str, Callable[[Any, Any], Value]] = {
    "scatter": lambda old, new: new,
    "scatter_add": _add,
    "scatter_mul": _multiply,
    "scatter_min": e.minimum,
    "scatter_max": e.maximum,
}
_ROUNDED = ("scatter_add", "scatter_mul")
_NAMES = tuple(_COMBINE)


@dataclass
class _Layout:
    """How the dimensions of operand, indices and updates belong together.

    `sizes` are the extents of a window in the operand's dimensions; `windowed` pairs those of the
    operand with those of the updates; `batch` are the updates' dimensions that indices have too.
    """

    eqn: Any

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple([a.aval.shape for a in self.eqn.invars])

    @property
    def dims(self) -> Any:
        return self.eqn.params["dimension_numbers"]

    @cached_property
    def windowed(self) -> list[tuple[int, int]]:
        absent = {*self.dims.inserted_window_dims, *self.dims.operand_batching_dims}
        kept = [d for d in range(len(self.shapes[_OUT])) if d not in absent]
        return list(zip(kept, self.dims.update_window_dims, strict=True))

    @cached_property
    def sizes(self) -> list[int]:
        sizes = [1] * len(self.shapes[_OUT])
        for d, u in self.windowed:
            sizes[d] = self.shapes[_UPDATES][u]
        return sizes

    @cached_property
    def batch(self) -> list[int]:
        window = set(self.dims.update_window_dims)
        return [u for u in range(len(self.shapes[_UPDATES])) if u not in window]

    @cached_property
    def batching(self) -> dict[int, int]:
        """By dimensions of the indices that are dimensions of the operand too, the latter."""
        dims = self.dims
        pairs = zip(dims.scatter_indices_batching_dims, dims.operand_batching_dims, strict=True)
        return dict(pairs)

    @cached_property
    def serial(self) -> list[int]:
        """The dimensions of the indices along which updates may meet."""
        return [b for b in range(len(self.batch)) if b not in self.batching]

    @property
    def meeting(self) -> int:
        """How many updates there are for a place at most."""
        return math.prod([self.shapes[_PLACES][b] for b in self.serial])

    @property
    def drops(self) -> bool:
        return self.eqn.params["mode"] in ("fill", "drop")

    def starts(self, components: Sequence[Any]) -> tuple[dict[int, Index], Expr | None]:
        """Where a window starts, by dimension, and the condition of its being written."""
        starts, inside = {}, []
        for d, value in zip(self.dims.scatter_dims_to_operand_dims, components, strict=True):
            extent, size = self.shapes[_OUT][d], self.sizes[d]
            if self.drops:
                starts[d] = to_index(value)
                inside.append(in_range(starts[d], 0, extent - size + 1))
            else:
                starts[d] = clamped_start(value, extent, size)
        return starts, every(inside)


def _supported(eqn: Any) -> bool:
    kind = storage(eqn.outvars[0].aval.dtype)
    if eqn.params["mode"] == "error" or kind is None or storage(eqn.invars[1].aval.dtype) is None:
        return False
    if kind == "b1":
        return eqn.primitive.name not in _ROUNDED
    return kind not in ("c64", "c128") or eqn.primitive.name in ("scatter", *_ROUNDED)


def _is_few(eqn: Any) -> bool:
    """Whether a place has so few updates that each element can look at all of them."""
    if not _supported(eqn) or eqn.outvars[0].aval.size == 0:
        return False
    layout = _Layout(eqn)
    return layout.meeting <= (_FEW_WINDOWS if layout.windowed else _FEW)


# ------------------------------------------------------------------------------ element rule
@element(*_NAMES, cost=4, supports=_is_few)
def _scatter_element(eqn: Any, index: tuple[Index, ...], read: Callable) -> Value:
    layout, name = _Layout(eqn), eqn.primitive.name
    value = read(0, index)
    extents = [layout.shapes[_PLACES][b] for b in layout.serial]
    for n in range(layout.meeting if 0 not in layout.shapes[_UPDATES] else 0):
        batch = [ZERO] * len(layout.batch)
        for b, d in layout.batching.items():
            batch[b] = index[d]
        for b, place_in in zip(layout.serial, unflatten(index_of(n), extents), strict=True):
            batch[b] = place_in
        count = layout.shapes[_PLACES][-1]
        starts, valid = layout.starts([read(1, (*batch, index_of(c))) for c in range(count)])
        at: list[Index] = [ZERO] * len(layout.shapes[_UPDATES])
        for u, index_of_row in zip(layout.batch, batch, strict=True):
            at[u] = index_of_row
        inside = [valid]
        for d in layout.dims.inserted_window_dims:
            inside.append(in_range(index[d] - starts.get(d, ZERO), 0, 1))
        for d, u in layout.windowed:
            at[u] = index[d] - starts.get(d, ZERO)
            inside.append(in_range(at[u], 0, layout.sizes[d]))
        guard = every(inside)
        update = read(2, tuple(at), guard=guard)
        value = choose(guard, _COMBINE[name](value, update), value)
    kind = storage(eqn.outvars[0].aval.dtype)
    if kind in ("bf16", "f16") and name in _ROUNDED and type(value) is Expr:
        return round_to(value, kind)
    return value


# ------------------------------------------------------------------------------ kernels
@kernels(*_NAMES, supports=_supported, fillings=(0,))
def _scatter_kernels(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel]:
    (operand, indices, updates), (out,) = operands, results
    target = out
    if out.dtype in ("bf16", "f16") and eqn.primitive.name in _ROUNDED:
        # Sums and products are rounded once.
        target = Buffer(f"{out}.wide", "f32", out.size)
    result = [copy(operand, target, vector_bytes)]
    if out.size and updates.size:
        result.append(_updating(_Layout(eqn), target, indices, updates, vector_bytes))
    if target is not out:
        result.append(copy(target, out, vector_bytes))
    return result


def _axes(layout: _Layout) -> tuple[list[Axis], list[Axis], list[Axis]]:
    """The loops along which places are apart, those along which updates may meet, and those
    within windows that may overlap."""
    steps = [strides_of(shape) for shape in layout.shapes]
    apart: list[Axis] = []
    serial: list[Axis] = []
    moving: list[Axis] = []
    free: list[Axis] = []
    for b, u in enumerate(layout.batch):
        d = layout.batching.get(b)
        moved = 0 if d is None else steps[_OUT][d]
        axis = Axis(
            layout.shapes[_UPDATES][u], (moved, steps[_PLACES][b], steps[_UPDATES][u])
        )  # fmt: skip
        (serial if d is None else apart).append(axis)
    for d, u in layout.windowed:
        axis = Axis(layout.sizes[d], (steps[_OUT][d], 0, steps[_UPDATES][u]))
        stays = d not in layout.dims.scatter_dims_to_operand_dims
        whole = layout.sizes[d] == layout.shapes[_OUT][d]
        (free if stays or whole or layout.meeting == 1 else moving).append(axis)
    return [*merged(apart), *merged(free)], merged(serial), merged(moving)


def _contiguity(axis: Axis) -> float:
    """How well a loop is suited to be the vector loop."""
    out, places, updates = axis.steps
    regular = 4.0 if places == 0 and out == 1 else 0.0
    return regular + (places in (0, 1)) + (updates == 1) - 8 * (axis.extent < 4)


def _updating(
    layout: _Layout, target: Buffer, indices: Buffer, updates: Buffer, vector_bytes: int
) -> Kernel:
    """The kernel that applies the updates to a copy of the operand."""
    axes: dict[Loop, Axis] = {}

    def loops_of(name: str, group: Sequence[Axis]) -> list[Loop]:
        new = [Loop(f"{name}{i}", axis.extent) for i, axis in enumerate(group)]
        axes.update(zip(new, group, strict=True))
        return new

    apart, serial, moving = [
        loops_of(name, group) for name, group in zip("anw", _axes(layout), strict=True)
    ]
    best = max([*apart, *moving], key=lambda loop: _contiguity(axes[loop]), default=None)
    if best is None or _contiguity(axes[best]) < 0:
        vector, width = Loop("v", 1), 1
    else:
        vector, width = best, lanes(target.dtype, best.extent, vector_bytes)
    tasks = [loop for loop in apart if loop is not vector]
    inner = [*serial, *[loop for loop in moving if loop is not vector]]
    if vector in apart and size_of(tasks) < _MANY_TASKS and vector.extent >= 2 * width:
        kept, count = [vector, *tasks, *inner], 1
    else:
        kept, count = [*tasks, *inner, vector], len(tasks)
    position = place(axes, _PLACES)
    components = [
        load(indices, position + c) for c in range(layout.shapes[_PLACES][-1])
    ]  # fmt: skip
    starts, guard = layout.starts(components)
    at = place(axes, _OUT)
    for d, start in starts.items():
        at = at + start * strides_of(layout.shapes[_OUT])[d]
    update = load(updates, place(axes, _UPDATES))
    name = layout.eqn.primitive.name
    if name != "scatter":
        update = _COMBINE[name](load(target, at, guard), update)
    kernel = Kernel(
        kept, [], vector, [Pass(stores=[Store(target, at, update, guard)])], count, width
    )  # fmt: skip
    return kernel


# ------------------------------------------------------------------------------ windows in place
@kernels("dynamic_update_slice", fillings=(0,))
def _dynamic_update_slice_kernels(
    eqn: Any, operands: list[Buffer], results: list[Buffer], vector_bytes: int
) -> list[Kernel]:
    operand, window, *places = operands
    (out,) = results
    result = [copy(operand, out, vector_bytes)]
    if not window.size:
        return result
    shape, sizes = [a.aval.shape for a in eqn.invars[:2]]
    steps = strides_of(shape)
    both = zip(steps, strides_of(sizes), strict=True)
    axes = merged([Axis(n, pair) for n, pair in zip(sizes, both, strict=True)])
    loops = {Loop(f"w{d}", axis.extent): axis for d, axis in enumerate(axes)}
    if not loops:
        loops = {Loop("w", 1): Axis(1, (0, 0))}
    at = place(loops, 0)
    for start, n, size, step in zip(places, shape, sizes, steps, strict=True):
        first = load(start, ZERO)
        assert type(first) is Expr
        at = at + clamped_start(first, n, size) * step
    *outer, vector = loops
    width = lanes(out.dtype, vector.extent, vector_bytes)
    if size_of(outer) < _MANY_TASKS and vector.extent >= 2 * width:
        kept, tasks = [vector, *outer], 1
    else:
        kept, tasks = [*outer, vector], len(outer)
    stores = [Store(out, at, load(window, place(loops, 1)))]
    return [*result, Kernel(kept, [], vector, [Pass(stores=stores)], tasks, width)]
