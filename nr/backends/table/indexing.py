"""Gather and scatter: windows of an array read from, or written to, places given by indices."""

from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from nr.core.source_info import in_lane

from ._structure import Array, Kernel, is_float, narrow, on_host, widen


class _Plan(NamedTuple):
    """How an operand and its windows are laid out so that indexed axes come first.

    The operand, cut by `cut` and transposed by `to_lead`, has the indexed axes (batching ones,
    then those of the index vector) before the free ones. Windows, transposed by `layout`, have
    the axes of the indices, then the indexed axes that windows extend along, then the free ones.
    """

    lead: tuple[int, ...]
    batch_axes: tuple[int, ...]
    sizes: tuple[int, ...]
    windowed: tuple[int, ...]
    free: tuple[int, ...]
    window_shape: tuple[int, ...]
    cut: tuple[slice | int, ...]
    to_lead: tuple[int, ...]
    layout: tuple[int, ...]
    from_layout: tuple[int, ...]
    rows_axis: int | None
    from_rows: tuple[int, ...]


def _inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


@lru_cache(maxsize=4096)
def _plan(
    shape: tuple[int, ...],
    sizes: tuple[int, ...],
    index_rank: int,
    start_map: tuple[int, ...],
    collapsed: tuple[int, ...],
    batching: tuple[int, ...],
    batch_axes: tuple[int, ...],
    window_axes: tuple[int, ...],
) -> _Plan:
    """Lay out windows of `sizes` whose axes that stay are at `window_axes` of the windows array."""
    dims = range(len(shape))
    lead = batching + start_map
    kept = [d for d in dims if d not in collapsed and d not in batching]
    position = dict(zip(kept, window_axes, strict=True))
    windowed = tuple(d for d in lead if d in position)
    free = tuple(d for d in kept if d not in lead)
    cut: list[slice | int] = []
    remaining = []
    for d in dims:
        if d not in lead and d not in position:
            cut.append(0)
            continue
        cut.append(slice(None) if d in lead else slice(0, sizes[d]))
        remaining.append(d)
    rank = index_rank - 1 + len(window_axes)
    batch = [j for j in range(rank) if j not in window_axes]
    layout = (*batch, *(position[d] for d in windowed + free))
    rows_axis = None
    from_rows: tuple[int, ...] = ()
    whole_rows = len(remaining) == len(shape) and all(sizes[d] == shape[d] for d in free)
    if len(start_map) == 1 == len(lead) and not windowed and whole_rows:
        rows_axis = lead[0]
        before = [position[d] for d in free if d < rows_axis]
        after = [position[d] for d in free if d > rows_axis]
        from_rows = _inverse((*before, *batch, *after))
    return _Plan(
        lead=lead,
        batch_axes=batch_axes,
        sizes=sizes,
        windowed=windowed,
        free=free,
        window_shape=tuple(sizes[d] for d in kept),
        cut=tuple(cut),
        to_lead=tuple(remaining.index(d) for d in lead + free),
        layout=layout,
        from_layout=_inverse(layout),
        rows_axis=rows_axis,
        from_rows=from_rows,
    )


def _gather_plan(operand: Array, indices: Array, dnums: Any, sizes: tuple[int, ...]) -> _Plan:
    return _plan(
        operand.shape,
        tuple(sizes),
        indices.ndim,
        tuple(dnums.start_index_map),
        tuple(dnums.collapsed_slice_dims),
        tuple(dnums.operand_batching_dims),
        tuple(dnums.start_indices_batching_dims),
        tuple(dnums.offset_dims),
    )


def _scatter_plan(operand: Array, indices: Array, updates: Array, dnums: Any) -> _Plan:
    collapsed = tuple(dnums.inserted_window_dims)
    batching = tuple(dnums.operand_batching_dims)
    extents = iter([updates.shape[j] for j in dnums.update_window_dims])
    sizes = [1 if d in collapsed or d in batching else next(extents) for d in range(operand.ndim)]
    return _plan(
        operand.shape,
        tuple(sizes),
        indices.ndim,
        tuple(dnums.scatter_dims_to_operand_dims),
        collapsed,
        batching,
        tuple(dnums.scatter_indices_batching_dims),
        tuple(dnums.update_window_dims),
    )


def _as_int64(xp: ModuleType, indices: Array) -> Array:
    if indices.dtype == np.uint64:
        indices = xp.minimum(indices, np.uint64(np.iinfo(np.int64).max))
    return indices.astype(np.int64, copy=False)


def _check_bounds(plan: _Plan, shape: tuple[int, ...], indices: Array) -> None:
    """Raise IndexError for the first index, in memory order, whose window leaves the operand."""
    dims = plan.lead[len(plan.batch_axes) :]
    if not dims or indices.size == 0:
        return
    last = [shape[d] - plan.sizes[d] for d in dims]
    columns = [indices[..., c].reshape(-1) for c in range(len(dims))]
    if all(col.min() >= 0 and col.max() <= n for col, n in zip(columns, last, strict=True)):
        return
    rows_of = [(col < 0) | (col > n) for col, n in zip(columns, last, strict=True)]
    row = min(int(bad.argmax()) for bad in rows_of if bad.any())
    c = next(c for c, bad in enumerate(rows_of) if bad[row])
    raise IndexError(
        f"index {int(columns[c][row])} is out of bounds for axis {dims[c]} "
        f"with size {shape[dims[c]]}"
    )


def _starts(xp: ModuleType, plan: _Plan, shape: tuple[int, ...], indices: Array) -> list[Array]:
    """Return a clamped start for each indexed axis, broadcastable to the axes of the indices."""
    starts = []
    for d, axis in zip(plan.lead, plan.batch_axes, strict=False):
        line = [1] * (indices.ndim - 1)
        line[axis] = shape[d]
        starts.append(xp.arange(shape[d]).reshape(line))
    for c, d in enumerate(plan.lead[len(plan.batch_axes) :]):
        starts.append(xp.clip(indices[..., c], 0, max(shape[d] - plan.sizes[d], 0)))
    return starts


def _valid(plan: _Plan, shape: tuple[int, ...], indices: Array) -> Array | None:
    """Return which windows lie wholly inside the operand; None where nothing can move them."""
    valid = None
    for c, d in enumerate(plan.lead[len(plan.batch_axes) :]):
        start = indices[..., c]
        fits = (start >= 0) & (start <= shape[d] - plan.sizes[d])
        valid = fits if valid is None else valid & fits
    return valid


def _element_indices(
    xp: ModuleType, plan: _Plan, starts: list[Array], batch_rank: int
) -> tuple[Array, ...]:
    """Widen window starts to indices of every element along the axes windows extend in."""
    extra = len(plan.windowed)
    out = []
    for d, start in zip(plan.lead, starts, strict=True):
        index = start.reshape(start.shape + (1,) * extra) if extra else start
        if d in plan.windowed:
            line = [1] * (batch_rank + extra)
            line[batch_rank + plan.windowed.index(d)] = plan.sizes[d]
            index = index + xp.arange(plan.sizes[d]).reshape(line)
        out.append(index)
    return tuple(out)


def _window(plan: _Plan, shape: tuple[int, ...], indices: Array) -> tuple[Any, bool]:
    """Return the basic index of the only window there is, and whether it needed no clamping."""
    cut = list(plan.cut)
    inside = True
    for c, d in enumerate(plan.lead):
        start, last = int(indices[c]), shape[d] - plan.sizes[d]
        inside &= 0 <= start <= last
        start = min(max(start, 0), max(last, 0))
        cut[d] = slice(start, start + plan.sizes[d]) if d in plan.windowed else start
    return (*cut, ...), inside


def _fill(dtype: np.dtype, fill_value: Any) -> Any:
    """Return what an out-of-bounds window reads: NaN, the least or the greatest value."""
    if fill_value is None:
        if is_float(dtype) or dtype.kind == "c":
            fill_value = np.nan
        elif dtype.kind == "i":
            fill_value = np.iinfo(dtype).min
        else:
            fill_value = True if dtype.kind == "b" else np.iinfo(dtype).max
    return np.asarray(fill_value).astype(dtype)[()]


def _ranks(xp: ModuleType, line: Array, *, from_last: bool) -> Array:
    """Number the occurrences of each value of `line`, from its first or from its last one."""
    order = xp.argsort(line, kind="stable")
    ordered = line[order]
    places = xp.arange(line.size)
    if from_last:
        counted = xp.searchsorted(ordered, ordered, side="right") - 1 - places
    else:
        counted = places - xp.searchsorted(ordered, ordered, side="left")
    ranks = xp.empty_like(counted)
    ranks[order] = counted
    return ranks


def _element_places(
    xp: ModuleType, plan: _Plan, shape: tuple[int, ...], index: tuple[Array, ...]
) -> Array:
    """Return the flat place in the operand of each element of the windows, as laid out."""
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * shape[d + 1]
    tail = (1,) * len(plan.free)
    places = xp.zeros((), np.int64)
    for d, line in zip(plan.lead, index, strict=True):
        places = places + (line * strides[d]).reshape(line.shape + tail)
    for i, d in enumerate(plan.free):
        line = xp.arange(plan.sizes[d]) * strides[d]
        places = places + line.reshape((-1,) + (1,) * (len(plan.free) - 1 - i))
    return places


_ATOMIC = frozenset(map(np.dtype, (np.int32, np.uint32, np.uint64, np.float32, np.float64)))


def _combine(xp: ModuleType, flat: Array, places: Array, updates: Array, name: str | None) -> None:
    """Combine `updates` into `flat` by the ufunc `name`; None replaces, the last update winning.

    NumPy's one-dimensional `ufunc.at` is quick and goes in order. CuPy has one for the sums that
    the hardware adds atomically; for the rest every place takes its updates one at a time.
    """
    if on_host(xp) and name is not None:
        getattr(xp, name).at(flat, places, updates)
    elif name == "add" and flat.dtype in _ATOMIC:
        xp.add.at(flat, places, updates)
    elif name is None:
        last = xp.nonzero(_ranks(xp, places, from_last=True) == 0)[0]
        flat[places[last]] = updates[last]
    else:
        op = getattr(xp, name)
        ranks = _ranks(xp, places, from_last=False)
        for r in range(int(ranks.max()) + 1):
            turn = xp.nonzero(ranks == r)[0]
            flat[places[turn]] = op(flat[places[turn]], updates[turn])


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernels of this file over the arrays of `xp`.

    On the CPU updates are applied in order: the last one to a place wins in `scatter`, and sums
    are the same at every run. CuPy's float32 and float64 sums are atomic, in no fixed order.
    Sums and products of 16-bit floats accumulate in float32 and are rounded once.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.
    """
    host = on_host(xp)

    def gather(
        operand: Array,
        indices: Array,
        *,
        dimension_numbers: Any,
        slice_sizes: tuple[int, ...],
        mode: str,
        fill_value: Any = None,
        **_ignored: Any,
    ) -> Array:
        operand, indices = xp.asarray(operand), _as_int64(xp, xp.asarray(indices))
        shape, batch = operand.shape, indices.shape[:-1]
        plan = _gather_plan(operand, indices, dimension_numbers, slice_sizes)
        if host and not batch:
            window, inside = _window(plan, shape, indices)
            if inside or mode not in ("fill", "error"):
                return operand[window]
        if mode == "error":
            _check_bounds(plan, shape, indices)
        if operand.size == 0:
            layout_shape = batch + tuple(plan.sizes[d] for d in plan.windowed + plan.free)
            out = xp.empty(tuple(layout_shape[j] for j in plan.from_layout), operand.dtype)
            out[...] = _fill(operand.dtype, fill_value)
            return out
        valid = _valid(plan, shape, indices) if mode == "fill" else None
        axis = 0 if plan.rows_axis is None else plan.rows_axis
        if plan.rows_axis is None:
            cut = operand[plan.cut].transpose(plan.to_lead)
            index = _element_indices(xp, plan, _starts(xp, plan, shape, indices), len(batch))
            out = cut[index] if index else xp.broadcast_to(cut, batch + cut.shape)
        elif host:
            out = operand.take(indices[..., 0], axis=axis, mode="clip")
        else:
            out = operand.take(xp.clip(indices[..., 0], 0, shape[axis] - 1), axis=axis)
        if valid is not None and not (host and valid.all()):
            mask = valid.reshape(valid.shape + (1,) * (out.ndim - axis - valid.ndim))
            out = xp.where(mask, out, xp.asarray(_fill(operand.dtype, fill_value)))
        return out.transpose(plan.from_layout if plan.rows_axis is None else plan.from_rows)

    def scattering(name: str | None) -> Kernel:
        def scatter(
            operand: Array,
            indices: Array,
            updates: Array,
            *,
            dimension_numbers: Any,
            mode: str,
            unique_indices: bool = False,
            **_ignored: Any,
        ) -> Array:
            operand, updates = xp.asarray(operand), xp.asarray(updates)
            indices = _as_int64(xp, xp.asarray(indices))
            shape, dtype, batch = operand.shape, operand.dtype, indices.shape[:-1]
            plan = _scatter_plan(operand, indices, updates, dimension_numbers)
            if mode == "error":
                _check_bounds(plan, shape, indices)
            if updates.size == 0 or operand.size == 0:
                return operand
            if name is None:
                out = xp.array(operand, order="C")
            else:
                out, updates = xp.array(widen(operand), order="C"), widen(updates)
            if host and not batch:
                window, inside = _window(plan, shape, indices)
                if inside or mode not in ("fill", "drop"):
                    with np.errstate(over="ignore", invalid="ignore"):
                        out[window] = updates if ufunc is None else ufunc(out[window], updates)
                return narrow(out, dtype)
            updates = updates.transpose(plan.layout)
            index = _element_indices(xp, plan, _starts(xp, plan, shape, indices), len(batch))
            kept = _valid(plan, shape, indices) if mode in ("fill", "drop") else None
            if kept is not None and host and kept.all():
                kept = None
            if name is None and (host or unique_indices) and index:
                if kept is not None:
                    index, updates = tuple(_keep(index, kept)), updates[kept]
                out[plan.cut].transpose(plan.to_lead)[index] = updates
                return out
            places = xp.broadcast_to(_element_places(xp, plan, shape, index), updates.shape)
            if kept is not None:
                places, updates = places[kept], updates[kept]
            if places.size:
                with np.errstate(over="ignore", invalid="ignore"):
                    _combine(xp, out.reshape(-1), places.reshape(-1), updates.reshape(-1), name)
            return narrow(out, dtype)

        def _keep(index: tuple[Array, ...], kept: Array) -> list[Array]:
            common = np.broadcast_shapes(kept.shape, *(i.shape[: kept.ndim] for i in index))
            full = (xp.broadcast_to(i, common + i.shape[kept.ndim :]) for i in index)
            return [i[kept] for i in full]

        ufunc: Any = getattr(xp, name) if name else None
        return scatter

    def check_index(
        indices: Array, *, dim: int, size: int, low: int, high: int, lanes: tuple
    ) -> Array:
        if indices.dtype.kind not in "iu":
            raise TypeError("no integers")  # the rule of avals says so
        if host:  # elsewhere it would have to wait for the device
            bad = (indices < low) | (indices >= high)
            if bad.any():
                place = np.unravel_index(int(np.argmax(bad)), np.shape(bad))
                lane = [int(i) for i in place[: len(lanes)]]
                where = f", {in_lane(lanes, lane)}" if lanes else ""
                raise IndexError(
                    f"index: index {int(indices[place])} is out of bounds for axis {dim} with "
                    f"size {size}{where}."
                )
        return indices

    return {
        "check_index": check_index,
        "gather": gather,
        "scatter": scattering(None),
        "scatter_add": scattering("add"),
        "scatter_mul": scattering("multiply"),
        "scatter_min": scattering("minimum"),
        "scatter_max": scattering("maximum"),
    }
