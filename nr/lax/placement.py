"""Moving arrays between devices and the host: device_put, device_get, block_until_ready."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import devices
from nr.core.array import Array, ArrayImpl
from nr.core.devices import Device
from nr.core.shardings import PartitionSpec, Sharding
from nr.core.tracing import Primitive, Tracer
from nr.core.trees import flatten_axes, tree_flatten, tree_leaves, tree_map, tree_unflatten
from nr.lax.rules import linear, operand
from nr.lax.shape import copy


def _place_now(x: Any, *, device: Device | None) -> ArrayImpl:
    if device is None or x.committed is device:
        return x
    data = device.backend.put(x.data, device)
    return ArrayImpl(data, device, x.weak)


def _device_put_transpose(ct: Any, x: Any, *, device: Device | None) -> Any:
    return ct


device_put_p: Primitive = linear(
    "device_put",
    abstract_eval=lambda x, *, device: x,
    transpose=_device_put_transpose,
    batch=lambda axis, args, dims, *, device: (device_put_p.bind(*args, device=device), dims[0]),
)
device_put_p.custom_evaluate = _place_now


def device_put(
    x: Any,
    device: Any = None,
    *,
    src: Any = None,
    donate: bool = False,
    may_alias: bool | None = None,
) -> Any:
    """A pytree of arrays on a device; without one, as nr arrays on the default device.

    Args:
        x: a pytree of arrays and numbers.
        device: where they go: a device, its name, a sharding, or a pytree of these that is a
            prefix of x.
        src, donate: accepted for compatibility; what is moved or not moved stays usable.
        may_alias: False asks for memory of its own also where an array is there already.

    Raises:
        ValueError: if there is no such device, or of `donate` and `may_alias` together.

    Example:
        >>> import nr, numpy as np
        >>> nr.device_put(np.ones(2), "cpu")
        Array([1., 1.], dtype=float64)
    """
    if donate and may_alias:
        raise ValueError("device_put: at most one of donate and may_alias can be True; got both.")

    def put(leaf: Any, where: Any) -> Any:
        where = _device_of(where)
        placed = device_put_p.bind(operand("device_put", leaf), device=where)
        return copy(placed) if placed is leaf and may_alias is False else placed

    leaves, tree = tree_flatten(x)
    places = [None] * len(leaves) if device is None else flatten_axes("device", tree, device)
    return tree_unflatten(tree, [put(y, d) for y, d in zip(leaves, places, strict=True)])


def _device_of(where: Any) -> Device | None:
    if where is None:
        return devices.chosen_default()
    return where.device if isinstance(where, Sharding) else devices.device(where)


def with_sharding_constraint(x: Any, shardings: Any) -> Any:
    """A pytree of arrays, as it is: with one device there is one way to lay arrays out.

    Raises:
        TypeError: for something else than shardings.
    """
    for sharding in tree_leaves(shardings):
        if not isinstance(sharding, (Sharding, PartitionSpec)):
            raise TypeError(
                f"with_sharding_constraint: shardings were required; got {sharding!r} for "
                f'"shardings".'
            )
    return tree_map(lambda leaf: operand("with_sharding_constraint", leaf), x)


def device_get(x: Any) -> Any:
    """A pytree of arrays as NumPy arrays; traced values and Python's stay what they are."""

    def get(leaf: Any) -> Any:
        if isinstance(leaf, Tracer) or not hasattr(leaf, "__array__"):
            return leaf
        return np.array(leaf.host()) if isinstance(leaf, ArrayImpl) else np.asarray(leaf)

    return tree_map(get, x)


def effects_barrier() -> None:
    """Wait for the effects of running programs; they are done when a call returns."""


def block_until_ready(x: Any) -> Any:
    """Wait until every array of a pytree is computed; returns the pytree."""
    for leaf in tree_leaves(x):
        if isinstance(leaf, Array):
            leaf.block_until_ready()  # type: ignore[attr-defined]
    return x
