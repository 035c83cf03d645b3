"""The elementary and special functions of primitives, as expressions of a scalar."""

from __future__ import annotations

from collections.abc import Callable

from nr.backends.compiler.expr import Expr
from nr.backends.compiler.math import (
    bessel,
    error,
    exponential,
    gamma,
    gamma_slope,
    hyperbolic,
    incomplete,
    inverse_trigonometric,
    logarithm,
    power,
    trigonometric,
    zeta,
)

# By the primitive's name; a function takes the operands, and the primitive's parameters by name.
FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "logistic": exponential.logistic,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "pow": power.pow,
    "integer_pow": power.integer_pow,
    "rsqrt": power.rsqrt,
    "cbrt": power.cbrt,
    "sinh": hyperbolic.sinh,
    "cosh": hyperbolic.cosh,
    "tanh": hyperbolic.tanh,
    "asinh": hyperbolic.asinh,
    "acosh": hyperbolic.acosh,
    "atanh": hyperbolic.atanh,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
    "tan": trigonometric.tan,
    "asin": inverse_trigonometric.asin,
    "acos": inverse_trigonometric.acos,
    "atan": inverse_trigonometric.atan,
    "atan2": inverse_trigonometric.atan2,
    "erf": error.erf,
    "erfc": error.erfc,
    "erf_inv": error.erf_inv,
    "lgamma": gamma.lgamma,
    "digamma": gamma.digamma,
    "bessel_i0e": bessel.bessel_i0e,
    "bessel_i1e": bessel.bessel_i1e,
    "zeta": zeta.zeta,
    "polygamma": zeta.polygamma,
    "igamma": incomplete.igamma,
    "igammac": incomplete.igammac,
    "igamma_grad_a": gamma_slope.igamma_grad_a,
    "random_gamma_grad": gamma_slope.random_gamma_grad,
    "regularized_incomplete_beta": incomplete.regularized_incomplete_beta,
}
