"""Shardings: where arrays lie, said with JAX's meshes; here a mesh is of one device."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nr.core.devices import Device, current_default


class PartitionSpec(tuple):
    """For each dimension of an array the axis (or axes) of a mesh that cuts it, or None."""

    UNCONSTRAINED = object()

    def __new__(cls, *partitions: Any) -> PartitionSpec:
        return super().__new__(cls, partitions)

    def __getnewargs__(self) -> tuple:
        return tuple(self)

    def __repr__(self) -> str:
        return f"P{tuple.__repr__(self)}"

    def axes(self) -> set[str]:
        """The names of the mesh's axes in it."""
        groups = [p if isinstance(p, tuple) else (p,) for p in self]
        return {name for group in groups for name in group if isinstance(name, str)}


P = PartitionSpec


class AxisType(enum.Enum):
    """How JAX decides on the shardings along an axis; with one device nothing is to be decided."""

    Auto = enum.auto()
    Explicit = enum.auto()
    Manual = enum.auto()


class Mesh:
    """A device with a name for each axis of the grid that programs are written for.

    Args:
        devices: an array of one device.
        axis_names: a name for each of its dimensions.
        axis_types: accepted for JAX's sake.

    Raises:
        ValueError: if there are more devices, or the names are not as many as the dimensions.

    Example:
        >>> import nr, numpy as np
        >>> nr.sharding.Mesh(np.array(nr.devices()[:1]).reshape(1, 1), ("data", "model"))
        Mesh('data': 1, 'model': 1)
    """

    def __init__(
        self, devices: Any, axis_names: str | Sequence[str], axis_types: Any = None
    ) -> None:
        self.devices = np.asarray(devices, dtype=object)
        self.axis_names = (axis_names,) if isinstance(axis_names, str) else tuple(axis_names)
        self.axis_types = axis_types
        if self.devices.ndim != len(self.axis_names) or self.devices.size != 1:
            raise ValueError(
                f"Mesh: one device and a name for each axis were required; got {self.axis_names} "
                f"for devices of shape {self.devices.shape}. Programs run on one device."
            )

    @property
    def shape(self) -> dict[str, int]:
        return dict.fromkeys(self.axis_names, 1)

    @property
    def axis_sizes(self) -> tuple[int, ...]:
        return self.devices.shape

    @property
    def size(self) -> int:
        return 1

    @property
    def empty(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"Mesh({', '.join([f'{name!r}: 1' for name in self.axis_names])})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mesh) and _identity(self) == _identity(other)

    def __hash__(self) -> int:
        return hash(_identity(self))

    def __enter__(self) -> Mesh:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


def _identity(mesh: Mesh) -> tuple:
    return mesh.axis_names, mesh.devices.flat[0]


class Sharding:
    """On which device arrays lie."""

    device: Device
    memory_kind = None
    is_fully_replicated = True
    is_fully_addressable = True

    @property
    def device_set(self) -> set[Device]:
        return {self.device}

    def shard_shape(self, global_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of what the device holds of an array: all of it."""
        return tuple(global_shape)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))


class SingleDeviceSharding(Sharding):
    """All of an array on a device."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def __repr__(self) -> str:
        return f"SingleDeviceSharding({self.device})"


class NamedSharding(Sharding):
    """An array cut along the axes of a mesh; into one piece, as there is one device.

    Raises:
        ValueError: for an axis that the mesh does not have.
    """

    def __init__(self, mesh: Mesh, spec: PartitionSpec) -> None:
        self.mesh, self.spec = mesh, spec
        self.device = mesh.devices.flat[0]
        unknown = sorted(spec.axes() - set(mesh.axis_names))
        if unknown:
            raise ValueError(
                f"NamedSharding: axes of the mesh, {mesh.axis_names}, were required; got {spec} "
                f'for "spec", with {", ".join(unknown)}.'
            )

    def __repr__(self) -> str:
        return f"NamedSharding(mesh={self.mesh}, spec={self.spec})"


def make_mesh(
    axis_shapes: Sequence[int],
    axis_names: Sequence[str],
    axis_types: Any = None,
    *,
    devices: Sequence[Device] | None = None,
) -> Mesh:
    """A mesh of the default device, all of whose axes have the extent 1.

    Raises:
        ValueError: for other extents.

    Example:
        >>> import nr
        >>> nr.make_mesh((1, 1), ("data", "model")).axis_names
        ('data', 'model')
    """
    if math.prod(axis_shapes) != 1:
        raise ValueError(
            f"make_mesh: extents of 1 were required, for one device; got {tuple(axis_shapes)}."
        )
    chosen = [current_default()] if devices is None else list(devices)
    return Mesh(np.array(chosen, dtype=object).reshape(tuple(axis_shapes)), axis_names, axis_types)


def set_mesh(mesh: Mesh) -> Mesh:
    """The mesh, as a context: with one device it decides nothing."""
    return mesh
