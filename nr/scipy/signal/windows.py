"""Windows of spectral analysis by SciPy's names, as constants in double precision.

F. J. Harris (1978), "On the use of windows for harmonic analysis with the discrete Fourier
transform"; A. H. Nuttall (1981), "Some windows with very good sidelobe behavior".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["window_values"]

# Sums of cosines, a0 - a1 cos(t) + a2 cos(2 t) - ..., for t from 0 to 2 pi.
_COSINES = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}
_ALIASES = {
    "box": "boxcar", "ones": "boxcar", "rect": "boxcar", "rectangular": "boxcar",
    "han": "hann", "hanning": "hann", "ham": "hamming", "hamm": "hamming",
    "black": "blackman", "blk": "blackman", "nutt": "nuttall", "nut": "nuttall",
    "blackharr": "blackmanharris", "bkh": "blackmanharris", "flat": "flattop", "flt": "flattop",
    "bart": "bartlett", "brt": "bartlett", "tri": "triang", "triangle": "triang",
    "halfcosine": "cosine", "gauss": "gaussian", "gss": "gaussian", "ksr": "kaiser",
    "tuk": "tukey", "expo": "exponential", "poisson": "exponential",
}  # fmt: skip


def _tukey(t: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    edge = np.minimum(t, 1 - t) * 2
    if alpha <= 0:
        return np.ones_like(t)
    return np.where(edge < alpha, 0.5 * (1 - np.cos(np.pi * edge / alpha)), 1.0)


# By name a function of t in [0, 1] and of how many intervals there are, and its parameters.
_SHAPES: dict[str, Callable[..., np.ndarray]] = {
    "bartlett": lambda t, n: 1 - np.abs(2 * t - 1),
    "triang": lambda t, n: 1 - np.abs(2 * t - 1) * n / (n + 1 + (n + 1) % 2),
    "cosine": lambda t, n: np.sin(np.pi * (t * n + 0.5) / (n + 1)),
    "kaiser": lambda t, n, beta: np.i0(beta * np.sqrt(1 - (2 * t - 1) ** 2)) / np.i0(beta),
    "gaussian": lambda t, n, std: np.exp(-0.5 * ((t - 0.5) * n / std) ** 2),
    "general_gaussian": lambda t, n, p, sigma: np.exp(
        -0.5 * np.abs((t - 0.5) * n / sigma) ** (2 * p)
    ),
    "general_hamming": lambda t, n, alpha: alpha - (1 - alpha) * np.cos(2 * np.pi * t),
    "tukey": lambda t, n, alpha=0.5: _tukey(t, alpha),
    "exponential": lambda t, n, center=None, tau=1.0: np.exp(-np.abs(t - 0.5) * n / tau),
}


def window_values(op: str, window: Any, n: int) -> np.ndarray:
    """n points of the periodic window of a name, or of a tuple of a name and parameters.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(window, (int, float)):
        window = ("kaiser", window)
    name, *parameters = (window,) if isinstance(window, str) else window
    name = _ALIASES.get(name, name)
    t = np.arange(n) / n
    if n == 1:
        return np.ones(1)
    if name in _COSINES:
        return sum(
            (-1) ** k * weight * np.cos(2 * np.pi * k * t)
            for k, weight in enumerate(_COSINES[name])
        )  # type: ignore[return-value]
    if name not in _SHAPES:
        known = ", ".join(sorted([*_COSINES, *_SHAPES]))
        raise ValueError(f"{op}: the window must be an array or one of {known}; got {name!r}.")
    return _SHAPES[name](t, n, *parameters)
