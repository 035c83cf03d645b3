"""Recomputation in the backward pass (the names of jax.ad_checkpoint)."""

from nr import checkpoint_policies
from nr.transforms.checkpoint import checkpoint, print_saved_residuals, remat
from nr.transforms.checkpoint_policies import checkpoint_name

__all__ = [
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "print_saved_residuals",
    "remat",
]
