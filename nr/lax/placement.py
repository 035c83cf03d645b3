"""Moving arrays between devices and the host: device_put, device_get, block_until_ready."""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core import devices
from nr.core.array import Array, ArrayImpl
from nr.core.devices import Device
from nr.core.tracing import Primitive, Tracer
from nr.core.trees import tree_leaves, tree_map
from nr.lax.rules import linear, operand


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


def device_put(x: Any, device: Device | str | None = None, **options: Any) -> Any:
    """A pytree of arrays on a device; without one, as nr arrays on the default device.

    Raises:
        ValueError: if there is no such device.

    Example:
        >>> import nr, numpy as np
        >>> nr.device_put(np.ones(2), "cpu")
        Array([1., 1.], dtype=float64)
    """
    where = devices.chosen_default() if device is None else devices.device(device)
    return tree_map(lambda leaf: device_put_p.bind(operand("device_put", leaf), device=where), x)


def device_get(x: Any) -> Any:
    """A pytree of arrays as NumPy arrays on the host; traced values stay what they are."""

    def get(leaf: Any) -> Any:
        if isinstance(leaf, Tracer):
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
