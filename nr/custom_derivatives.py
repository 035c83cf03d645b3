"""Functions with derivative rules of their own (the names of jax.custom_derivatives)."""

from nr.transforms.custom_derivatives import (
    closure_convert,
    custom_gradient,
    custom_jvp,
    custom_vjp,
)

__all__ = ["closure_convert", "custom_gradient", "custom_jvp", "custom_vjp"]
