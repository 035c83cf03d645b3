"""Recomputation in the backward pass (the names of jax.ad_checkpoint)."""

from nr.transforms.checkpoint import checkpoint, remat

__all__ = ["checkpoint", "remat"]
