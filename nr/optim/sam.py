"""sam_gradient: gradients where the loss is worst nearby, to find flat minima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nr.numpy as jnp
from nr.core.trees import tree_map
from nr.optim.base import global_norm
from nr.optim.hyper import Number, check_nonnegative

__all__ = ["sam_gradient"]


def sam_gradient(gradient: Callable, rho: Number = 0.05, has_aux: bool = False) -> Callable:
    """Sharpness-aware minimization: the gradient at the parameters plus ``rho * g / norm(g)``.

    It makes one function of gradients from another, for any optimizer; each call takes two
    gradients, of the same batch.

    Args:
        gradient: ``gradient(params, *args, **kwargs) -> grads``, as `nr.grad` makes it.
        rho: how far the perturbed parameters are.
        has_aux: whether the gradient function returns ``(grads, aux)``. The aux that is returned is
            that at the parameters themselves, such as the loss or running statistics.

    Returns:
        A function of the same arguments, with the same results.

    Source: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization",
    2020, equations 2 and 3 (with p = 2).

    Example:
        >>> import nr
        >>> gradient = nr.grad(lambda w: (w ** 4).sum() / 4)
        >>> nr.optim.sam_gradient(gradient, rho=1.0)(nr.numpy.array([1.0]))
        Array([8.], dtype=float32)
    """
    check_nonnegative("sam_gradient", rho=rho)

    def perturbed_gradient(params: Any, *args: Any, **kwargs: Any) -> Any:
        out = gradient(params, *args, **kwargs)
        grads = out[0] if has_aux else out
        norm = global_norm(grads)
        # At a stationary point there is no direction, and no perturbation.
        size = jnp.where(norm > 0, rho / jnp.where(norm > 0, norm, 1), 0)
        worst = tree_map(lambda p, g: (p + size * g).astype(p.dtype), params, grads)
        grads = gradient(worst, *args, **kwargs)
        return (grads[0], out[1]) if has_aux else grads

    return perturbed_gradient
