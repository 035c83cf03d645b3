"""Primitives by JAX's names for them: ``add_p`` is the primitive ``add``."""

from __future__ import annotations

import importlib

from nr.core.tracing import Primitive

# Where JAX's name is not nr's name of the primitive with "_p" behind it.
_OTHERWISE = {
    "add_jaxvals_p": "add",
    "remat_p": "checkpoint",
}


# What stands above, and makes primitives when it is imported.
_HOMES = (
    *("transforms.compiled_function", "transforms.control_flow", "transforms.checkpoint"),
    *("transforms.custom_derivatives", "transforms.implicit", "lax.placement"),
)


def named_primitive(name: str, module: str) -> Primitive:
    """The primitive that a module offers under a name such as ``sin_p``.

    Raises:
        AttributeError: if there is none, as the module's `__getattr__` has to.
    """
    if name.endswith("_p"):
        known = _OTHERWISE.get(name, name[:-2])
        if known not in Primitive.all:
            for home in _HOMES:
                importlib.import_module(f"nr.{home}")
        if known in Primitive.all:
            return Primitive.all[known]
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
