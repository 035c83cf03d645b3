"""`pad`: borders around space, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.tracing import typeof
from nr.lax.convert import convert_element_type
from nr.lax.rules import operand
from nr.lax.shape import pad as lax_pad
from nr.nn.spatial import pairs_of, space_of

__all__ = ["NUMPY_MODES", "PadMode", "pad"]

PadMode = Literal["constant", "reflect", "replicate", "circular"]
# The modes that continue x, by their names in `nr.numpy.pad`.
NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(
    x: Any,
    widths: Sequence[int] | Sequence[tuple[int, int]],
    *,
    mode: PadMode = "constant",
    value: Any = 0,
) -> Array:
    """x with a border around its space.

    Args:
        x: [..., *space, C].
        widths: an int or a (before, after) pair for each spatial dimension; their number is the
            rank, so that ``[(1, 1), (2, 3)]`` pads the height by 1 + 1 and the width by 2 + 3. In
            mode "constant" negative widths cut off.
        mode: "constant"; "reflect", the mirror image without the outermost element; "replicate",
            the outermost element; "circular", the other end.
        value: what mode "constant" fills with.

    Returns:
        [..., *padded space, C].

    Raises:
        TypeError: x has too few dimensions, or is empty where it should be continued.
        ValueError: for an unknown mode, or widths that are an int or negative.

    PyTorch's layers, whose arguments begin with the last spatial dimension:
    ``ZeroPad2d((l, r, t, b))`` is ``pad(x, [(t, b), (l, r)])``; ``ConstantPad1d((l, r), v)`` is
    ``pad(x, [(l, r)], value=v)``; ``ReflectionPad2d``, ``ReplicationPad2d`` and ``CircularPad2d``
    are modes "reflect", "replicate" and "circular"; their n as an int is ``[n, n]``.

    Example:
        >>> import nr
        >>> x = nr.numpy.array([[1.0], [2.0], [3.0]])  # T = 3, C = 1
        >>> nr.nn.pad(x, [(2, 1)], mode="reflect")[:, 0]
        Array([3., 2., 1., 2., 3., 2.], dtype=float32)
    """
    op = "pad"
    x = operand(op, x)
    pairs = pairs_of(widths)
    if not pairs:
        raise ValueError(
            f"{op}: an int or a (before, after) pair for each spatial dimension was required; got "
            f'{widths!r} for "widths". Write [n] for sequences, [n, n] for images.'
        )
    space = space_of(op, x, len(pairs))
    if mode == "constant":
        for n, (lo, hi) in zip(space, pairs, strict=True):
            if n + lo + hi < 0:
                raise TypeError(
                    f"{op}: more space than negative widths cut off was required; got {x.aval} "
                    f'for "x" and {pairs} for "widths".'
                )
        lead = [(0, 0, 0)] * (x.ndim - len(pairs) - 1)
        config = [*lead, *[(lo, hi, 0) for lo, hi in pairs], (0, 0, 0)]
        value = operand(op, value)
        if value.ndim:
            raise TypeError(f'{op}: a number was required; got {typeof(value)} for "value".')
        return lax_pad(x, convert_element_type(value, x.dtype), config)
    if mode not in NUMPY_MODES:
        raise ValueError(
            f'{op}: "constant", "reflect", "replicate" or "circular" was required; got {mode!r} '
            f'for "mode".'
        )
    for n, (lo, hi) in zip(space, pairs, strict=True):
        if min(lo, hi) < 0:
            raise ValueError(
                f'{op}: widths of 0 or more were required in mode "{mode}"; got {pairs}. Cut x '
                f"with a slice."
            )
        if n == 0 and (lo or hi):
            raise TypeError(
                f'{op}: space that is not empty was required in mode "{mode}"; got {x.aval} for '
                f'"x".'
            )
    lead_pairs = ((0, 0),) * (x.ndim - len(pairs) - 1)
    return jnp.pad(x, (*lead_pairs, *pairs, (0, 0)), NUMPY_MODES[mode])
