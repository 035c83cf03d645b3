"""Muon: directions that change all singular values alike."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core.array import Array
from nr.core.tracing import typeof
from nr.core.trees import keystr, register_dataclass, tree_leaves, tree_leaves_with_path, tree_map
from nr.optim.base import GradientTransformation
from nr.optim.hyper import (
    Number,
    Rate,
    check_nonnegative,
    common_fields,
    current_rate,
    is_zero,
    map_leaves,
    moments_like,
    rate_at,
)
from nr.optim.hyper import bias_correction as _bias_correction
from nr.optim.weight_decay import decaying_leaves, mask_for
from nr.tree import trainable

__all__ = ["MuonState", "muon"]

# Jordan's: steepest at 0 among the quintics that keep singular values near 1.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@register_dataclass
@dataclasses.dataclass(frozen=True)
class MuonState:
    """The state of `muon`.

    Attributes:
        step: i32[], the number of updates made.
        learning_rate: the rate of the last update (before the first: that of the first).
        ns_coeffs: [3], of the polynomial.
        beta: the factor by which the average of matrices' gradients decays.
        eps: what is added to norms of matrices, and to roots by Adam.
        weight_decay: how fast matrices decay.
        consistent_rms: the root mean square of matrices' steps; 0 without one.
        adam_learning_rate, adam_b1, adam_b2, adam_eps_root, adam_weight_decay: of other leaves.
        mu: the average of gradients, like params.
        nu: the average of squared gradients of other leaves; of size 0 for matrices.
    """

    step: Array
    learning_rate: Array
    ns_coeffs: Array
    beta: Array
    eps: Array
    weight_decay: Array
    consistent_rms: Array
    adam_learning_rate: Array
    adam_b1: Array
    adam_b2: Array
    adam_eps_root: Array
    adam_weight_decay: Array
    mu: Any
    nu: Any


def muon(
    learning_rate: Rate,
    ns_coeffs: Any = _COEFFICIENTS,
    ns_steps: int = 5,
    beta: Number = 0.95,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    weight_decay_mask: Any = None,
    *,
    nesterov: bool = True,
    bias_correction: bool = True,
    matrices: Any = None,
    consistent_rms: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
    adam_eps_root: Number = 0.0,
    adam_weight_decay: Number = 0.0,
    adam_learning_rate: Rate | None = None,
) -> GradientTransformation:
    """Muon: for matrices, the average gradient with all singular values near 1; Adam for the rest.

    From ``x = mu / (norm(mu) + eps)``, ns_steps steps of
    ``x = a * x + (b * x @ x.T + c * (x @ x.T) @ (x @ x.T)) @ x`` bring the singular values near 1.
    The step is ``-lr * (sqrt(max(1, columns / rows)) * x + weight_decay * params)``.

    Args:
        learning_rate: a number, or a function from the step (i32[], from 0) to one.
        ns_coeffs: (a, b, c).
        ns_steps: not negative.
        beta: in [0, 1).
        eps: added to the norm, and to the root by Adam.
        weight_decay: of matrices. Where it is not the number 0, ``update`` needs the parameters.
        weight_decay_mask: which leaves decay, as in `add_decayed_weights`.
        nesterov: ``beta * mu + (1 - beta) * g`` in place of mu, and `nadam` for the rest.
        bias_correction: correct the bias of mu before Nesterov's step; False in PyTorch.
        matrices: which leaves are orthogonalized: a tree of bools like params or a function from
            params to one; by default those of rank 2 (embeddings and classifiers, which are better
            left to Adam, included). Leaves of higher rank are batches of matrices [..., in, out].
        consistent_rms: where given, steps are ``sqrt(max(rows, columns)) * consistent_rms * x``;
            0.2 gives those the size of Adam's (PyTorch's "match_rms_adamw").
        adam_b1, adam_b2, adam_eps_root, adam_weight_decay: of the rest, as in `adamw`.
        adam_learning_rate: of the rest; by default learning_rate.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; Liu et
    al., "Muon is Scalable for LLM Training", 2025, for consistent_rms. Rows are inputs here and
    columns outputs, as in `nr.nn.Linear`: PyTorch's matrices are transposed.

    Example:
        >>> import nr
        >>> optimizer = nr.optim.muon(0.1)
        >>> state = optimizer.init(nr.numpy.zeros((2, 2)))
        >>> grads = nr.numpy.array([[3.0, 0.0], [0.0, -3.0]])
        >>> optimizer.update(grads, state)[0].round(2) + 0.0
        Array([[-0.11,  0.  ],
               [ 0.  ,  0.11]], dtype=float32)
    """
    op, corrects = "muon", bias_correction
    decaying = not (is_zero(weight_decay) and is_zero(adam_weight_decay))
    check_nonnegative(op, learning_rate=learning_rate, eps=eps, weight_decay=weight_decay)
    check_nonnegative(op, adam_weight_decay=adam_weight_decay, adam_eps_root=adam_eps_root)
    check_nonnegative(op, adam_learning_rate=adam_learning_rate, consistent_rms=consistent_rms)
    check_nonnegative(op, below=1, beta=beta, adam_b1=adam_b1, adam_b2=adam_b2)
    if np.shape(ns_coeffs) != (3,):
        raise ValueError(
            f"{op}: ns_coeffs must be three numbers; got the shape {np.shape(ns_coeffs)}."
        )
    hyper = {
        "ns_coeffs": ns_coeffs,
        "beta": beta,
        "eps": eps,
        "weight_decay": weight_decay,
        "adam_b1": adam_b1,
        "adam_b2": adam_b2,
        "adam_eps_root": adam_eps_root,
        "adam_weight_decay": adam_weight_decay,
        "consistent_rms": 0.0 if consistent_rms is None else consistent_rms,
    }
    rate_of_rest = learning_rate if adam_learning_rate is None else adam_learning_rate

    def init(params: Any) -> MuonState:
        fields = common_fields(op, params, learning_rate, **hyper)
        rest = rate_at(rate_of_rest, fields["step"], fields["learning_rate"].dtype)
        chosen = _chosen(matrices, params)
        nu = tree_map(
            lambda m, is_matrix: jnp.zeros(0, m.dtype) if is_matrix else m,
            moments_like(params),
            chosen,
        )
        return MuonState(**fields, adam_learning_rate=rest, mu=moments_like(params), nu=nu)

    def update(
        grads: Any, state: MuonState, params: Any = None, **extra: Any
    ) -> tuple[Any, MuonState]:
        decay_mask = decaying_leaves(op, decaying, weight_decay_mask, params)
        rate, step, beta = current_rate(learning_rate, state), state.step + 1, state.beta
        rest = state.adam_learning_rate
        if callable(rate_of_rest):
            rest = rate_at(rate_of_rest, state.step, rest.dtype)
        b1, b2 = state.adam_b1, state.adam_b2
        of_nu = 1 / _bias_correction(b2, step)
        matrix_factors = _average_factors(beta, step, nesterov, corrects)
        rest_factors = _average_factors(b1, step, nesterov, True)

        def mean_of(mu: Array, g: Array, of_mu: Any, of_g: Any) -> Array:
            return of_mu * mu + of_g * g if nesterov else of_mu * mu

        def matrix_rule(g: Array, p: Any, decays: bool, mu: Array) -> tuple[Array, Array]:
            mu = beta * mu + (1 - beta) * g
            out = _orthogonalized(
                mean_of(mu, g, *matrix_factors), state.ns_coeffs, ns_steps, state.eps
            )
            rows, columns = g.shape[-2:]
            if consistent_rms is not None:
                out = (math.sqrt(max(rows, columns)) * state.consistent_rms) * out
            elif columns > rows:
                out = math.sqrt(columns / max(rows, 1)) * out
            if decays and not is_zero(weight_decay):
                out = out + state.weight_decay * p
            return -rate * out, mu

        def rule(g: Array, p: Any, decays: bool, mu: Array, nu: Array) -> tuple:
            if nu.shape != g.shape:  # init made none
                return *matrix_rule(g, p, decays, mu), nu
            mu = b1 * mu + (1 - b1) * g
            nu = b2 * nu + (1 - b2) * jnp.square(g)
            out = mean_of(mu, g, *rest_factors) / (
                jnp.sqrt(of_nu * nu + state.adam_eps_root) + state.eps
            )
            if decays and not is_zero(adam_weight_decay):
                out = out + state.adam_weight_decay * p
            return -rest * out, mu, nu

        updates, mu, nu = map_leaves(rule, grads, params, decay_mask, state.mu, state.nu)
        changes = {"learning_rate": rate, "adam_learning_rate": rest, "mu": mu, "nu": nu}
        return updates, dataclasses.replace(state, step=step, **changes)

    return GradientTransformation(init, update)


def _chosen(matrices: Any, params: Any) -> Any:
    """Which leaves are orthogonalized: a tree of bools."""
    if matrices is None:
        return tree_map(lambda t, p: t and np.ndim(p) == 2, trainable(params), params)
    chosen = mask_for("muon", matrices, params)
    for (path, leaf), is_chosen in zip(tree_leaves_with_path(params), tree_leaves(chosen)):
        if is_chosen and np.ndim(leaf) < 2:
            raise TypeError(
                f'muon: matrices were required; got {typeof(leaf)} at "params{keystr(path)}". '
                'Leave it out of "matrices".'
            )
    return chosen


def _average_factors(decay: Array, step: Array, nesterov: bool, corrects: bool) -> tuple[Any, Any]:
    """The factors of the average of gradients, and of the gradient, in a direction."""
    corrections = [_bias_correction(decay, step + n) if corrects else 1 for n in (0, 1)]
    if not nesterov:
        return 1 / corrections[0], None
    return decay / corrections[1], (1 - decay) / corrections[0]


def _orthogonalized(x: Array, coefficients: Array, steps: int, eps: Array) -> Array:
    """x of [..., rows, columns] with its singular values brought near 1."""
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = jnp.swapaxes(x, -1, -2)
    x = x / (jnp.sqrt(jnp.sum(jnp.square(x), axis=(-2, -1), keepdims=True)) + eps)
    a, b, c = coefficients[0], coefficients[1], coefficients[2]
    for _ in range(steps):
        gram = x @ jnp.swapaxes(x, -1, -2)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return jnp.swapaxes(x, -1, -2) if is_tall else x
