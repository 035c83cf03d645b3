"""The discrete Fourier transform, by the array module's own."""

from __future__ import annotations

from types import ModuleType

from ._structure import Array, Kernel


def rows(xp: ModuleType) -> dict[str, Kernel]:
    """Return the kernel of this file over the arrays of `xp`.

    Args:
        xp: the module `numpy` or `cupy`.

    Returns:
        A kernel by primitive name.

    Example:
        >>> import numpy as np
        >>> x = np.ones(4, np.float32)
        >>> rows(np)["fft"](x, fft_type="RFFT", fft_lengths=(4,))
        array([4.+0.j, 0.+0.j, 0.+0.j], dtype=complex64)
    """

    def fft(x: Array, *, fft_type: str, fft_lengths: tuple[int, ...]) -> Array:
        axes = tuple(range(-len(fft_lengths), 0))
        if fft_type == "IRFFT":
            return xp.fft.irfftn(x, fft_lengths, axes)
        transform = {"FFT": xp.fft.fftn, "IFFT": xp.fft.ifftn, "RFFT": xp.fft.rfftn}[fft_type]
        return transform(x, axes=axes)

    return {"fft": fft}
