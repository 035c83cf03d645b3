"""What programs that extend nr stand on, where JAX keeps it: jaxprs as data, new primitives."""

from nr.extend import backend, core, linear_util

__all__ = ["backend", "core", "linear_util"]
