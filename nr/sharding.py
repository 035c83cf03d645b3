"""Meshes and shardings by JAX's names, for programs that run on one device."""

from nr.core.shardings import (
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
    set_mesh,
)

__all__ = [
    "AxisType",
    "Mesh",
    "NamedSharding",
    "PartitionSpec",
    "Sharding",
    "SingleDeviceSharding",
    "set_mesh",
]
