"""What gather and scatter share: dimension numbers, out-of-bounds modes, index checks.

The meaning of the dimension numbers is that of XLA's Gather and Scatter operations
(https://openxla.org/xla/operation_semantics#gather), with the index vector always in the last
dimension of the indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

from nr.core import dtypes
from nr.core.avals import ShapedArray


class GatherDimensionNumbers(NamedTuple):
    """Which dimensions of operand, indices and result of `gather` belong together.

    Args:
        offset_dims: dimensions of the result that run within a slice, in increasing order.
        collapsed_slice_dims: dimensions of the operand that slices (of extent 1) drop.
        start_index_map: the operand dimension that each component of an index vector moves along.
        operand_batching_dims: dimensions of the operand that run along with indices.
        start_indices_batching_dims: the dimensions of the indices that they run along with.
    """

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()


class ScatterDimensionNumbers(NamedTuple):
    """Which dimensions of operand, indices and updates of a scatter belong together.

    Args:
        update_window_dims: dimensions of the updates that run within a window.
        inserted_window_dims: dimensions of the operand along which windows have extent 1, and
            that updates don't have.
        scatter_dims_to_operand_dims: the operand dimension that each component of an index vector
            moves along.
        operand_batching_dims: dimensions of the operand that run along with indices.
        scatter_indices_batching_dims: the dimensions of the indices that they run along with.
    """

    update_window_dims: tuple[int, ...]
    inserted_window_dims: tuple[int, ...]
    scatter_dims_to_operand_dims: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    scatter_indices_batching_dims: tuple[int, ...] = ()


def to_scatter(dims: GatherDimensionNumbers) -> ScatterDimensionNumbers:
    """The dimension numbers of the scatter that writes where a gather reads."""
    return ScatterDimensionNumbers(*dims)


def to_gather(dims: ScatterDimensionNumbers) -> GatherDimensionNumbers:
    """The dimension numbers of the gather that reads where a scatter writes."""
    return GatherDimensionNumbers(*dims)


def as_tuples(dims: Any) -> Any:
    """Dimension numbers given with lists, with tuples."""
    return type(dims)(*[tuple([int(d) for d in field]) for field in dims])


class GatherScatterMode(Enum):
    """What happens to a slice or window that does not lie wholly inside the operand."""

    CLIP = "clip"
    """The start is clamped so that it does."""
    FILL_OR_DROP = "fill"
    """Reads give a fill value; writes are left out."""
    PROMISE_IN_BOUNDS = "promise_in_bounds"
    """It does not happen: the caller promises."""
    ERROR = "error"
    """IndexError."""

    @staticmethod
    def from_any(mode: str | GatherScatterMode | None) -> GatherScatterMode:
        """The mode meant by a name; None means "fill".

        Raises:
            ValueError: if there is no such mode.
        """
        if isinstance(mode, GatherScatterMode):
            return mode
        if mode is None or mode == "drop":
            return GatherScatterMode.FILL_OR_DROP
        try:
            return GatherScatterMode(mode)
        except ValueError:
            raise ValueError(
                f'mode: one of "clip", "fill", "drop", "promise_in_bounds" or "error" was '
                f"expected; got {mode!r}."
            ) from None


def gather_mode(mode: str | GatherScatterMode | None, default: str = "clip") -> str:
    """The mode of a read as the plain string that primitives take."""
    return default if mode is None else GatherScatterMode.from_any(mode).value


def scatter_mode(mode: str | GatherScatterMode | None, default: str = "drop") -> str:
    """The mode of a write as the plain string that primitives take."""
    value = gather_mode(mode, default)
    return "drop" if value == "fill" else value


# ---------------------------------------------------------------- checks that both need
def check_indices(op: str, indices: ShapedArray, components: int, index_map: str) -> None:
    """The indices must be integers whose last dimension has an entry a mapped dimension."""
    if indices.dtype not in dtypes.INTEGER:
        raise TypeError(f'{op}: "indices" must be of an integer type; got {indices}.')
    if not indices.shape or indices.shape[-1] != components:
        raise TypeError(
            f"{op}: the last dimension of the indices must have the {components} entries of "
            f"{index_map}; got {indices}."
        )


def check_dims(op: str, name: str, dims: Sequence[int], rank: int, ordered: bool = True) -> None:
    """Distinct dimensions of an array of that rank, increasing if ordered."""
    if len(set(dims)) != len(dims) or any(not 0 <= d < rank for d in dims):
        raise TypeError(f"{op}: {name} must be distinct and in [0, {rank}); got {tuple(dims)}.")
    if ordered and list(dims) != sorted(dims):
        raise TypeError(f"{op}: {name} must be increasing; got {tuple(dims)}.")


def check_batching(
    op: str,
    operand: ShapedArray,
    indices: ShapedArray,
    operand_dims: Sequence[int],
    indices_dims: Sequence[int],
    other: Sequence[int],
) -> None:
    """Batching dimensions must pair up, with equal extents, and be nothing else besides."""
    if set(operand_dims) & set(other):
        raise TypeError(
            f"{op}: operand_batching_dims must not be collapsed, inserted or indexed too; "
            f"got {tuple(operand_dims)}."
        )
    check_dims(op, "operand_batching_dims", operand_dims, operand.ndim, ordered=False)
    check_dims(op, "batching dimensions of the indices", indices_dims, indices.ndim - 1, False)
    extents = [operand.shape[d] for d in operand_dims]
    if extents != [indices.shape[d] for d in indices_dims]:
        raise TypeError(
            f"{op}: batching dimensions must pair up with equal extents; got {operand} along "
            f"{tuple(operand_dims)} and indices {indices} along {tuple(indices_dims)}."
        )


def shifted(dims: Sequence[int]) -> tuple[int, ...]:
    """Dimensions after one has been put in front."""
    return tuple([d + 1 for d in dims])
