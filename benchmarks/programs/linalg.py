"""Linear algebra and Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

SIZE, SYSTEMS = 256, 10_000
SIGNALS = (256, 1024)


# ---------------------------------------------------------------- Cholesky
def _positive() -> tuple:
    a = np.random.default_rng(0).standard_normal((SIZE, 2 * SIZE), np.float32)
    return (a @ a.T / np.float32(2 * SIZE),)


def _cholesky_torch(a: Any) -> Callable[[], Any]:
    import torch

    return lambda: torch.linalg.cholesky(a)


# ---------------------------------------------------------------- small systems
def _systems() -> tuple:
    """Matrices not far from 3 I, right sides and cotangents."""
    rng = np.random.default_rng(0)
    a = 3 * np.eye(3, dtype=np.float32)
    a = a + 0.3 * rng.standard_normal((SYSTEMS, 3, 3), np.float32)
    b, cotangent = rng.standard_normal((2, SYSTEMS, 3, 1), np.float32)
    return a.astype(np.float32), b, cotangent


def _solve(lib: Any) -> Callable:
    def solve(a: Any, b: Any, cotangent: Any) -> tuple:
        out, pull = lib.vjp(lib.numpy.linalg.solve, a, b)
        return out, *pull(cotangent)

    return solve


def _solve_torch(a: Any, b: Any, cotangent: Any) -> Callable[[], Any]:
    import torch

    a.requires_grad_()
    b.requires_grad_()

    def run() -> Any:
        out = torch.linalg.solve(a, b)
        return [out.detach(), *torch.autograd.grad(out, (a, b), cotangent)]

    return run


# ---------------------------------------------------------------- Fourier transform
def _signals() -> tuple:
    parts = np.random.default_rng(0).standard_normal((*SIGNALS, 2), np.float32)
    return (parts.view(np.complex64)[..., 0],)


def _fft_torch(x: Any) -> Callable[[], Any]:
    import torch

    return lambda: torch.fft.fft(x)


ROWS = [
    Row(
        f"cholesky {SIZE}x{SIZE}",
        "linalg",
        inputs=_positive,
        program=lambda lib: lambda a: lib.numpy.linalg.cholesky(a),
        torch={"eager": _cholesky_torch},
        numpy=lambda a: lambda: np.linalg.cholesky(a),
        why="The factorization is OpenBLAS's; PyTorch calls MKL's.",
        flops=SIZE**3 / 3,
        tolerance=1e-5,  # float32 sums of up to 256 products
    ),
    Row(
        f"{SYSTEMS:,} solves of 3x3, with gradient",
        "linalg",
        inputs=_systems,
        program=_solve,
        torch={"eager": _solve_torch},
        read=4.0 * SYSTEMS * 15,
        written=4.0 * SYSTEMS * 15,
        grad=True,
        tolerance=1e-5,  # float32 eliminations of well-conditioned systems
    ),
    Row(
        "FFT, complex64[256, 1024]",
        "linalg",
        inputs=_signals,
        program=lambda lib: lambda x: lib.numpy.fft.fft(x),
        torch={"eager": _fft_torch},
        numpy=lambda x: lambda: np.fft.fft(x),
        read=8.0 * SIGNALS[0] * SIGNALS[1],
        written=8.0 * SIGNALS[0] * SIGNALS[1],
        tolerance=1e-6,  # ten float32 butterflies deep
        why="At the rate of MKL, which PyTorch calls: a copy of the array alone takes 140 of one "
        "thread's 220 us. JAX's first call compiles nothing.",
    ),
]
