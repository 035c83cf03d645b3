"""nr's primitives under JAX's names: ``add_p``, ``jit_p``, ``scan_p`` ..."""

from typing import Any

from nr.lax.primitives import named_primitive


def __getattr__(name: str) -> Any:
    return named_primitive(name, __name__)
