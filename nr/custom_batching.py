"""Functions with rules of their own for vmap (the names of jax.custom_batching)."""

from nr.transforms.custom_batching import custom_vmap, sequential_vmap

__all__ = ["custom_vmap", "sequential_vmap"]
