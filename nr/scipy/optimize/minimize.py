"""`minimize`, for users: which method, and its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nr.core import dtypes
from nr.core.array import Array
from nr.numpy.promotion import promote_inexact
from nr.scipy.optimize import bfgs, lbfgs

__all__ = ["OptimizeResults", "minimize"]


class OptimizeResults(NamedTuple):
    """What a minimization gives.

    Attributes:
        x: the place.
        success: whether the gradient there is small enough.
        status: 0 for success; 1 for too many steps, 2 for too many values, 3 or 5 for a line
            search that ended early, 4 for a step that changed next to nothing.
        fun: the function's value.
        jac: its gradient.
        hess_inv: the approximate inverse of its Hessian, or None.
        nfev, njev: how many values and gradients were computed.
        nit: how many steps were done.
    """

    x: Array
    success: bool | Array
    status: int | Array
    fun: Array
    jac: Array
    hess_inv: Array | None
    nfev: int | Array
    njev: int | Array
    nit: int | Array


_METHODS: dict[str, Callable[..., Any]] = {
    "bfgs": bfgs.minimize,
    "l-bfgs-experimental-do-not-rely-on-this": lbfgs.minimize,
}


def minimize(
    fun: Callable,
    x0: Any,
    args: tuple = (),
    *,
    method: str,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResults:
    """A local minimum of a differentiable function of a vector.

    It may be jitted and batched. For derivatives of the minimum use the implicit function theorem
    (`nr.lax.custom_root` of the gradient).

    Args:
        fun: a function ``fun(x, *args)`` with a rank-0 real result.
        x0: where to start, a vector.
        args: further arguments.
        method: "BFGS", or "l-bfgs-experimental-do-not-rely-on-this", which keeps no matrix.
        tol: the tolerance gtol, unless options say it.
        options: maxiter, the most steps (default 200 times the size of x0; for L-BFGS no limit);
            gtol, the gradient's norm at which to end (1e-5); norm, which norm (inf). BFGS:
            line_search_maxiter, evaluations in one step (10). L-BFGS: maxls, the same (20); maxcor,
            pairs of differences that are kept (10); ftol, the decrease at which to end (2.2e-9);
            maxfun and maxgrad, the most values and gradients.

    Raises:
        TypeError: if args is no tuple.
        ValueError: if x0 is no vector, or for an unknown method.

    Example:
        >>> import nr.numpy as jnp
        >>> result = minimize(lambda x: ((x - 3.0) ** 2).sum(), jnp.zeros(2), method="BFGS")
        >>> result.x.round(3), bool(result.success)
        (Array([3., 3.], dtype=float32), True)
    """
    if not isinstance(args, tuple):
        raise TypeError(f"minimize: args must be a tuple; got {args!r}. Write args=(a,) for one.")
    if method.lower() not in _METHODS:
        raise ValueError(
            f'minimize: method must be "BFGS" or "l-bfgs-experimental-do-not-rely-on-this"; '
            f"got {method!r}."
        )
    (x,) = promote_inexact("minimize", x0)
    if x.ndim != 1 or x.dtype in dtypes.COMPLEX:
        raise ValueError(f"minimize: x0 must be a vector of real numbers; got {x.aval}.")
    given = {} if tol is None else {"gtol": tol}
    last = _METHODS[method.lower()](lambda x: fun(x, *args), x, **{**given, **(options or {})})
    return OptimizeResults(
        x=last.x,
        success=last.status == 0,
        status=last.status,
        fun=last.value,
        jac=last.gradient,
        hess_inv=getattr(last, "inverse", None),
        nfev=last.evaluations,
        njev=last.evaluations,
        nit=last.steps,
    )
