"""Names of SciPy over nr arrays, as in jax.scipy: special functions and distributions."""

from nr.scipy import special, stats

__all__ = ["special", "stats"]
