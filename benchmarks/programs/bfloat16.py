"""Products and convolutions of bfloat16: arguments and results are rounded to 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

SIZE = 512
IMAGES, KERNEL = (32, 32, 32, 64), (3, 3, 64, 64)
# A result is rounded once more where a library adds in blocks: two units of 2**-9.
TOLERANCE = 2**-7


def _normal(*shapes: tuple[int, ...]) -> Callable[[], tuple]:
    def inputs() -> tuple:
        rng = np.random.default_rng(0)
        return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)

    return inputs


def _short(lib: Any, *args: Any) -> tuple:
    return tuple(x.astype(lib.numpy.bfloat16) for x in args)


def _matmul_torch(a: Any, b: Any) -> Callable[[], Any]:
    a, b = a.bfloat16(), b.bfloat16()
    return lambda: a @ b


def _conv(lib: Any) -> Callable:
    def conv(x: Any, kernel: Any) -> Any:
        return lib.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    return conv


def _conv_torch(channels_last: bool) -> Callable:
    def build(x: Any, kernel: Any) -> Callable[[], Any]:
        import torch
        from torch.nn.functional import conv2d

        format = torch.channels_last if channels_last else torch.contiguous_format
        x = x.permute(0, 3, 1, 2).bfloat16().contiguous(memory_format=format)
        kernel = kernel.permute(3, 2, 0, 1).bfloat16().contiguous(memory_format=format)
        return lambda: conv2d(x, kernel, padding=1).permute(0, 2, 3, 1)

    return build


_WHY = (
    "Both use the processor's instructions (AMX; dot products of pairs where there is none). "
    "On Intel PyTorch's time for the convolution was 0.83 ms in one run and 1.80 ms in another."
)

ROWS = [
    Row(
        f"bfloat16 matmul {SIZE}x{SIZE}",
        "bfloat16",
        inputs=_normal((SIZE, SIZE), (SIZE, SIZE)),
        program=lambda lib: lambda a, b: a @ b,
        setup=_short,
        torch={"eager": _matmul_torch},
        tolerance=TOLERANCE,
        why=_WHY,
    ),
    Row(
        "bfloat16 convolution 3x3, 64 to 64, 32x32x32",
        "bfloat16",
        inputs=_normal(IMAGES, KERNEL),
        program=_conv,
        setup=_short,
        torch={"eager": _conv_torch(False), "eager, channels_last": _conv_torch(True)},
        tolerance=TOLERANCE,
        why=_WHY,
    ),
]
