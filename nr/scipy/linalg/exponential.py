"""The matrix exponential and its derivative."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nr import lax
from nr import numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import Tracer
from nr.lax.linalg.matrices import identity_like
from nr.numpy.promotion import promote_inexact
from nr.scipy.linalg.arguments import matrices
from nr.transforms.derivatives import jvp

__all__ = ["expm", "expm_frechet"]

# N. Higham (2005), "The scaling and squaring method for the matrix exponential revisited": by the
# size of a real number, a degree and the 1-norm up to which the approximant is exact but rounding.
_PADE = {4: (7, 3.925724783138660), 8: (13, 5.371920351148152)}


def expm(A: Any, *, upper_triangular: bool = False, max_squarings: int = 16) -> Array:  # noqa: N803
    """The matrix exponential, by scaling and squaring a Padé approximant.

    Args:
        A: ``[..., n, n]``.
        upper_triangular: accepted for JAX's sake.
        max_squarings: matrices so large that they would need more give NaNs.

    Example:
        >>> import nr.numpy as jnp
        >>> expm(jnp.zeros((2, 2)))
        Array([[1., 0.],
               [0., 1.]], dtype=float32)
    """
    a = matrices("expm", A, square=True)
    degree, bound = _PADE[dtypes.to_real(a.dtype).itemsize]
    norms = lax.stop_gradient(jnp.linalg.norm(a, 1, (-2, -1)))
    large = norms > bound
    squarings = jnp.where(large, jnp.ceil(jnp.log2(jnp.where(large, norms / bound, 1))), 0)
    most = jnp.max(squarings, initial=0)
    rounds = max_squarings if isinstance(most, Tracer) else int(min(float(most), max_squarings))
    squarings = squarings[..., None, None]
    result = _pade(a / jnp.exp2(squarings).astype(a.dtype), degree)
    for i in range(rounds):
        # zeros where there are no more squarings: those must not overflow, nor their derivatives
        factor = jnp.where(i < squarings, result, 0)
        result = jnp.where(i < squarings, factor @ factor, result)
    return jnp.where(squarings > max_squarings, np.nan, result)


def _pade(a: Any, degree: int) -> Any:
    """The Padé approximant [degree/degree] of exp(a)."""
    m = degree
    weights = [
        math.factorial(2 * m - j) * math.factorial(m)
        / (math.factorial(2 * m) * math.factorial(m - j) * math.factorial(j))
        for j in range(m + 1)
    ]  # fmt: skip
    power = identity_like(a)
    squared = a @ a
    even, odd = weights[0] * power, weights[1] * power
    for j in range(2, m, 2):
        power = power @ squared
        even, odd = even + weights[j] * power, odd + weights[j + 1] * power
    odd = a @ odd
    return jnp.linalg.solve(even - odd, even + odd)


def expm_frechet(
    A: Any,  # noqa: N803 - SciPy's name
    E: Any,  # noqa: N803
    *,
    method: str | None = None,
    compute_expm: bool = True,
) -> Any:
    """The derivative of `expm` at A in the direction E.

    Args:
        A: ``[..., n, n]``.
        E: like A.
        method: accepted for SciPy's sake.
        compute_expm: whether to give expm(A), too.

    Returns:
        expm(A) and the derivative; or the derivative.

    Example:
        >>> import nr.numpy as jnp
        >>> expm_frechet(jnp.zeros((1, 1)), jnp.ones((1, 1)))
        (Array([[1.]], dtype=float32), Array([[1.]], dtype=float32))
    """
    a, direction = promote_inexact("expm_frechet", A, E)
    a = matrices("expm_frechet", a, square=True)
    if direction.shape != a.shape:
        raise ValueError(
            f"expm_frechet: E must have the shape of A; got {direction.aval} for {a.aval}."
        )
    value, derivative = jvp(expm, (a,), (direction,))
    return (value, derivative) if compute_expm else derivative
