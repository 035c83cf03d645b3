"""Optimizers: pairs of pure functions ``init(params)`` and ``update(grads, state, params)``."""

from nr.optim.base import (
    GradientTransformation,
    apply_updates,
    chain,
    global_norm,
)
from nr.optim.optimizers import (
    AdamState,
    ClipState,
    SGDState,
    adam,
    adamw,
    clip_by_global_norm,
    sgd,
)

__all__ = [
    "AdamState",
    "ClipState",
    "GradientTransformation",
    "SGDState",
    "adam",
    "adamw",
    "apply_updates",
    "chain",
    "clip_by_global_norm",
    "global_norm",
    "sgd",
]
