"""Vector quantization."""

from __future__ import annotations

from typing import Any

from nr import numpy as jnp
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact

__all__ = ["vq"]


def vq(obs: Any, code_book: Any, check_finite: bool = True) -> tuple[Array, Array]:
    """For each observation the nearest code, and how far that is.

    Args:
        obs: ``[m, n]``, or ``[m]`` for observations of one number.
        code_book: ``[k, n]``, or ``[k]``.
        check_finite: accepted for SciPy's sake.

    Returns:
        Indices ``i32[m]`` of codes, the first of those equally near, and distances ``[m]``.

    Raises:
        ValueError: for other shapes.

    Example:
        >>> import nr.numpy as jnp
        >>> vq(jnp.array([1., 4.]), jnp.array([0., 5.]))
        (Array([0, 1], dtype=int32), Array([1., 1.], dtype=float32))
    """
    obs, code_book = promote_inexact("vq", obs, code_book)
    if obs.ndim != code_book.ndim or obs.ndim not in (1, 2) or obs.shape[1:] != code_book.shape[1:]:
        raise ValueError(
            f'vq: "obs" and "code_book" must be [m, n] and [k, n], or [m] and [k]; '
            f"got {obs.aval} and {code_book.aval}."
        )
    if obs.ndim == 1:
        obs, code_book = obs[:, None], code_book[:, None]
    distances = jnp.linalg.norm(obs[:, None] - code_book, axis=-1)
    return jnp.argmin(distances, axis=1), jnp.min(distances, axis=1)
