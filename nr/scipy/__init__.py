"""Names of SciPy over nr arrays, as in jax.scipy: linear algebra, special
functions and distributions.
"""

from nr.scipy import linalg, special, stats

__all__ = ["linalg", "special", "stats"]
