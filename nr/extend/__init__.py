"""What programs that extend nr stand on, where JAX keeps it: jaxprs as data, new primitives."""

from nr.extend import core, linear_util

__all__ = ["core", "linear_util"]
