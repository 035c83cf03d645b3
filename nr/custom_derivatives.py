"""Functions with derivative rules of their own (the names of jax.custom_derivatives)."""

from nr.core.avals import Zero as SymbolicZero
from nr.transforms.custom_derivatives import (
    CustomVJPPrimal,
    custom_jvp,
    custom_jvp_call_p,
    custom_vjp,
    custom_vjp_call_p,
    custom_vjp_primal_tree_values,
    zero_from_primal,
)
from nr.transforms.custom_gradient import closure_convert, custom_gradient
from nr.transforms.linear_call import linear_call

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "closure_convert",
    "custom_gradient",
    "custom_jvp",
    "custom_jvp_call_p",
    "custom_vjp",
    "custom_vjp_call_p",
    "custom_vjp_primal_tree_values",
    "linear_call",
    "zero_from_primal",
]
