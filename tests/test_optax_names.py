"""Without this the page for users of optax could say what is no longer the same as in optax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from tests.test_torch_coverage import ROOTS, code, tables

# A few float32 operations on numbers around 1; of three steps and a root for optimizers.
RTOL = 3e-6
RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.normal(size=(4, 3)).astype("f"), "b": RNG.normal(size=3).astype("f")}
GRADS = {"w": RNG.normal(size=(4, 3)).astype("f"), "b": RNG.normal(size=3).astype("f")}


@pytest.fixture
def optax() -> Any:
    return pytest.importorskip("optax")


def written(name: str, **values: Any) -> Any:
    """What a row of the page makes, with arrays for the names in it."""
    for _, row in tables("from_jax.md"):
        names = code(row.get("optax", ""))
        if name in names:
            made = eval(code(row["nr"])[0], {**ROOTS, **values})
            return made[names.index(name)] if isinstance(made, tuple) else made
    raise KeyError(name)


# The sign of what is written is optax's, or the other one: of optimizers, which descend.
PARTS: list[tuple[str, tuple[float, ...], int]] = [
    ("identity", (), 1), ("trace", (0.9,), 1), ("scale_by_sign", (), 1),
    ("scale_by_param_block_norm", (), 1), ("normalize_by_update_norm", (), 1),
    ("keep_params_nonnegative", (), 1), ("adamaxw", (1e-3,), 1), ("sign_sgd", (1e-3,), 1),
    ("signum", (1e-3,), 1), ("scale_by_adam", (), -1), ("scale_by_radam", (), -1),
    ("scale_by_adamax", (), -1), ("scale_by_amsgrad", (), -1), ("scale_by_adan", (), -1),
    ("scale_by_belief", (), -1), ("scale_by_yogi", (), -1), ("scale_by_lion", (), -1),
    ("scale_by_novograd", (), -1), ("scale_by_adadelta", (), -1), ("scale_by_rms", (), -1),
    ("scale_by_stddev", (), -1), ("scale_by_rss", (), -1), ("scale_by_factored_rms", (), -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "sign"), PARTS)
def test_transformations_are_those_of_optax(
    optax: Any, name: str, args: tuple[float, ...], sign: int
) -> None:
    theirs, ours = getattr(optax, name)(*args), written(name)
    params, grads = nr.tree.map(jnp.asarray, PARAMS), nr.tree.map(jnp.asarray, GRADS)
    states = theirs.init(PARAMS), ours.init(params)
    for _ in range(3):
        expected, first = theirs.update(GRADS, states[0], PARAMS)
        got, second = ours.update(grads, states[1], params)
        states = first, second
    for key, x in expected.items():
        scale = np.abs(x).max()
        # Optax corrects the bias of 0.999 by a difference that loses two digits of float32.
        np.testing.assert_allclose(sign * got[key], x, rtol=0, atol=10 * RTOL * scale)


# ---------------------------------------------------------------- losses
X = RNG.normal(size=(5, 4)).astype("f")
LABELS = RNG.integers(0, 4, 5)
ONE_HOT = np.eye(4, dtype="f")[LABELS]
SIGNS = np.sign(RNG.normal(size=(5, 4))).astype("f")
LOG_P = np.log(np.exp(X) / np.exp(X).sum(-1, keepdims=True))
Q = np.abs(RNG.normal(size=(5, 4))).astype("f")


def test_losses_are_those_of_optax(optax: Any) -> None:
    losses = optax.losses

    def same(name: str, expected: Any, **values: Any) -> None:
        values = {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in values.items()}
        got = written(name, **values)
        if np.ndim(got) == 0:
            expected = np.mean(expected)
        np.testing.assert_allclose(got, expected, rtol=RTOL, atol=RTOL, err_msg=name)

    same("squared_error", losses.squared_error(X, Q), x=X, y=Q)
    same("log_cosh", losses.log_cosh(X, Q), x=X, y=Q)
    same("huber_loss", losses.huber_loss(X, Q), x=X, y=Q)
    same("hinge_loss", losses.hinge_loss(X, SIGNS), x=X, y=SIGNS)
    same("cosine_similarity", losses.cosine_similarity(X, Q), x=X, y=Q)
    same("cosine_distance", losses.cosine_distance(X, Q), x=X, y=Q)
    same("kl_divergence", losses.kl_divergence(LOG_P, Q), log_predictions=LOG_P, targets=Q)
    same("generalized_kl_divergence", losses.generalized_kl_divergence(LOG_P, Q), x=LOG_P, y=Q)
    same("softmax_cross_entropy", losses.softmax_cross_entropy(X, Q), logits=X, labels=Q)
    same(
        "softmax_cross_entropy_with_integer_labels",
        losses.softmax_cross_entropy_with_integer_labels(X, LABELS),
        logits=X,
        labels=LABELS,
    )
    same(
        "smooth_labels",
        losses.softmax_cross_entropy(X, losses.smooth_labels(ONE_HOT, 0.1)),
        logits=X,
        labels=LABELS,
    )
    same(
        "sigmoid_binary_cross_entropy",
        losses.sigmoid_binary_cross_entropy(X, ONE_HOT),
        logits=X,
        labels=ONE_HOT,
    )
    p = nn.softmax(X)[jnp.arange(5), jnp.asarray(LABELS)]
    expected = losses.poly_loss_cross_entropy(X, ONE_HOT)
    same("poly_loss_cross_entropy", expected, logits=X, labels=LABELS, p=p)
    both = {"x": X, "y": SIGNS, "scores": X, "labels": LABELS, "classes": 4}
    same("perceptron_loss", losses.perceptron_loss(X, SIGNS), **both)
    same("multiclass_perceptron_loss", losses.multiclass_perceptron_loss(X, LABELS), **both)
    expected = losses.multiclass_hinge_loss(X, LABELS)
    same("multiclass_hinge_loss", expected, scores=X, one_hot=ONE_HOT)
    same("ranking_softmax_loss", losses.ranking_softmax_loss(X, Q), scores=X, relevance=Q)
    same("sparsemax_loss", losses.sparsemax_loss(X, SIGNS > 0), x=X, y=SIGNS > 0)
    expected = losses.triplet_margin_loss(X, SIGNS, Q)
    same("triplet_margin_loss", expected, anchor=X, positive=SIGNS, negative=Q)
    focal = losses.sigmoid_focal_loss(X, ONE_HOT, alpha=0.25)
    same("sigmoid_focal_loss", focal, x=X, y=ONE_HOT)
