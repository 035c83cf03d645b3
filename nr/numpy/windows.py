"""Window functions of signal processing: symmetric weights that fall off to both sides.

Definitions: Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.2; the numbers are
NumPy's, in double precision, rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nr.core.array import Array
from nr.core.config import config
from nr.numpy.creation import asarray, known_scalar

__all__ = ["bartlett", "blackman", "hamming", "hanning", "kaiser"]


def bartlett(M: int) -> Array:
    """The triangular window of M points that is zero at its ends."""
    return asarray(np.bartlett(known_scalar("bartlett", "M", M)), config.default_float)


def blackman(M: int) -> Array:
    """The Blackman window of M points: three terms of cosines."""
    return asarray(np.blackman(known_scalar("blackman", "M", M)), config.default_float)


def hamming(M: int) -> Array:
    """The Hamming window of M points: a raised cosine that is 0.08 at its ends."""
    return asarray(np.hamming(known_scalar("hamming", "M", M)), config.default_float)


def hanning(M: int) -> Array:
    """The Hann window of M points: a raised cosine that is zero at its ends.

    Example:
        >>> import nr.numpy as jnp
        >>> jnp.hanning(5)
        Array([0. , 0.5, 1. , 0.5, 0. ], dtype=float32)
    """
    return asarray(np.hanning(known_scalar("hanning", "M", M)), config.default_float)


def kaiser(M: int, beta: Any) -> Array:
    """The Kaiser window of M points; a larger beta narrows it."""
    points = known_scalar("kaiser", "M", M)
    return asarray(np.kaiser(points, known_scalar("kaiser", "beta", beta)), config.default_float)
