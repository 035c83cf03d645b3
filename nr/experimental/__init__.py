"""What JAX keeps under jax.experimental and nr has, too."""

from nr.transforms.callbacks import io_callback

__all__ = ["io_callback"]
