"""The special-function rows: float64 kernels, run over cache-sized blocks of the operands.

Narrower floats are evaluated in float64 and rounded once, so that each is right to within about
half an ulp; erf, which GELU needs, lgamma and digamma have cheaper kernels for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _bessel, _erf, _gamma, _gamma_slope, _incomplete
from ._structure import Array

_BLOCK = 1 << 14  # elements: a dozen float64 temporaries of this size stay in the L2 cache


def rows(xp: Any) -> dict[str, Callable[..., Array]]:
    """The special-function rows of the kernel table.

    Args:
        xp: the array module, ``numpy`` or ``cupy``.

    Returns:
        A dict from primitive name to a function of raw arrays.

    Example:
        >>> float(rows(np)["erf"](np.float32(0)))
        0.0
    """
    kernels: dict[str, Callable[..., Array]] = {
        "erfc": _erf.erfc,
        "erf_inv": _erf.erf_inv,
        "polygamma": _gamma.polygamma,
        "zeta": _gamma.zeta,
        "igamma": _incomplete.igamma,
        "igammac": _incomplete.igammac,
        "igamma_grad_a": _gamma_slope.igamma_grad_a,
        "random_gamma_grad": _gamma_slope.random_gamma_grad,
        "regularized_incomplete_beta": _incomplete.regularized_incomplete_beta,
        "bessel_i0e": _bessel.bessel_i0e,
        "bessel_i1e": _bessel.bessel_i1e,
    }
    table = {name: _blockwise(xp, kernel) for name, kernel in kernels.items()}
    by_width = {
        "erf": (_erf.erf, _erf.erf_single),
        "lgamma": (_gamma.lgamma, _gamma.lgamma_single),
        "digamma": (_gamma.digamma, _gamma.digamma_single),
    }
    for name, (double, single) in by_width.items():
        table[name] = _of_either_width(_blockwise(xp, double), _blockwise(xp, single))
    return table


def _of_either_width(double: Callable[..., Array], single: Callable[..., Array]) -> Callable:
    return lambda x: double(x) if x.dtype == np.float64 else single(x)


def _blockwise(xp: Any, kernel: Callable[..., Array]) -> Callable[..., Array]:
    def row(*operands: Array) -> Array:
        dtype = operands[0].dtype
        shape = np.broadcast_shapes(*(x.shape for x in operands))
        result = xp.empty(shape, dtype)
        flat = result.reshape(-1)
        parts = [x.reshape(-1) for x in operands]
        # A device gains nothing from blocks, and would pay a launch for each.
        size = _BLOCK if xp.__name__ == "numpy" else max(1, flat.size)
        for start in range(0, flat.size, size):
            block = flat[start : start + size]
            blocks = [
                part[start : start + size].astype(np.float64, copy=False)
                if x.shape == shape
                else xp.full(block.shape, part[0], np.float64)
                for x, part in zip(operands, parts, strict=True)
            ]
            block[...] = kernel(xp, *blocks)
        return result

    return row
