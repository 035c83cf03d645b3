"""Without this optimizers that Optax has and PyTorch mostly lacks could differ from it."""

import functools
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import optim
from tests.test_optimizers import START, assert_follows, falling, of_optax, of_torch, only_w

CASES = {
    "adabelief": (
        lambda: optim.adabelief(0.01, 0.8, 0.99, 1e-3, 1e-6),
        lambda optax: optax.adabelief(0.01, 0.8, 0.99, 1e-3, 1e-6),
    ),
    "adabelief-nesterov": (
        lambda: optim.adabelief(falling(0.01), eps=1e-3, eps_root=1e-6, nesterov=True),
        lambda optax: optax.adabelief(falling(0.01), eps=1e-3, eps_root=1e-6, nesterov=True),
    ),
    "yogi": (
        lambda: optim.yogi(0.02, 0.8, 0.99, 1e-2),
        lambda optax: optax.yogi(0.02, 0.8, 0.99, 1e-2),
    ),
    "adan": (
        lambda: optim.adan(0.01),
        lambda optax: optax.adan(0.01),
    ),
    "adan-decay-schedule": (
        lambda: optim.adan(falling(0.02), 0.9, 0.8, 0.95, 1e-3, 1e-4, 0.1, only_w),
        lambda optax: optax.adan(falling(0.02), 0.9, 0.8, 0.95, 1e-3, 1e-4, 0.1, only_w),
    ),
    # Near the minimum steps of normalized gradients amplify roundings, unless the rate falls.
    "novograd": (
        lambda: optim.novograd(falling(0.02)),
        lambda optax: optax.novograd(falling(0.02)),
    ),
    "novograd-decay": (
        lambda: optim.novograd(falling(0.02), 0.8, 0.5, 1e-3, 1e-4, 0.1),
        lambda optax: optax.novograd(falling(0.02), 0.8, 0.5, 1e-3, 1e-4, 0.1),
    ),
    "signum-is-a-lion": (
        lambda: optim.lion(0.001, 0.8, 0.8, weight_decay=0.0),
        lambda optax: optax.signum(0.001, 0.8),
    ),
    "trust-ratio": (
        lambda: optim.chain(
            optim.scale_by_trust_ratio(trust_coefficient=0.1, eps=1e-2), optim.sgd(falling(0.3))
        ),
        lambda optax: optax.chain(
            optax.scale_by_trust_ratio(trust_coefficient=0.1, eps=1e-2), optax.sgd(falling(0.3))
        ),
    ),
    "trace": (
        lambda: optim.chain(optim.sgd(1.0, 0.9, True), optim.scale(0.02)),
        lambda optax: optax.chain(optax.trace(0.9, True), optax.scale(-0.02)),
    ),
    "parts-of-adam": (
        lambda: optim.chain(optim.adam(1.0), optim.scale(falling(0.02))),
        lambda optax: optax.chain(
            optax.scale_by_adam(), optax.scale_by_learning_rate(falling(0.02))
        ),
    ),
    "schedule-free": (
        lambda: optim.schedule_free(optim.sgd(0.03), 0.03, 0.8),
        lambda optax: optax.contrib.schedule_free(optax.sgd(0.03), 0.03, 0.8),
    ),
    "schedule-free-adam": (
        lambda: optim.schedule_free(optim.adamw(0.02, b1=0.0), 0.02, weight_lr_power=1.0),
        lambda optax: optax.contrib.schedule_free(
            optax.adamw(0.02, b1=0.0, weight_decay=1e-2), 0.02, weight_lr_power=1.0
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_trajectories_are_those_of_optax(name):
    pytest.importorskip("optax.contrib")
    make, theirs = CASES[name]
    assert_follows(make(), of_optax(theirs, list(START)))


def test_rprop_is_that_of_torch():
    # Optax makes each step one call later.
    expected = of_torch(
        lambda torch_optim: functools.partial(
            torch_optim.Rprop, lr=0.01, etas=(0.6, 1.1), step_sizes=(2e-3, 0.05)
        ),
        list(START),
    )
    assert_follows(optim.rprop(0.01, 0.6, 1.1, 2e-3, 0.05), expected)


# ---------------------------------------------------------------- parts
def test_centralize_takes_the_mean_of_each_output_off():
    optax = pytest.importorskip("optax")
    rng = np.random.default_rng(0)
    grads = {"kernel": rng.normal(size=(3, 3, 2, 4)), "weight": rng.normal(size=(5, 3))}
    grads["bias"] = rng.normal(size=3)
    part = optim.centralize()
    updates, _ = part.update(nr.tree.map(jnp.asarray, grads), part.init(grads))
    for name in ("kernel", "weight"):
        axes = tuple(range(grads[name].ndim - 1))
        np.testing.assert_allclose(np.mean(updates[name], axes), 0, atol=1e-15)
        # Optax has outputs on the first axis.
        theirs = np.moveaxis(grads[name], -1, 0)
        theirs, _ = optax.centralize().update(theirs, optax.EmptyState())
        np.testing.assert_allclose(updates[name], np.moveaxis(theirs, 0, -1), atol=1e-6)
    np.testing.assert_array_equal(updates["bias"], grads["bias"])


def test_zero_nans_leaves_infinities():
    part = optim.zero_nans()
    grads = [jnp.array([np.nan, np.inf, 1.0]), jnp.array(-np.inf)]
    updates, _ = nr.jit(part.update)(grads, part.init(grads))
    np.testing.assert_array_equal(updates[0], [0, np.inf, 1])
    np.testing.assert_array_equal(updates[1], -np.inf)


def test_stateless_gets_updates_and_parameters():
    positive = optim.stateless(lambda updates, params: jnp.maximum(updates, -params))
    params = jnp.array([1.0, 2.0])
    updates, _ = positive.update(jnp.array([-3.0, 1.0]), positive.init(params), params)
    np.testing.assert_array_equal(updates, [-1.0, 1.0])


def test_noise_has_the_variance_that_it_says_and_repeats():
    part = optim.add_noise(4.0, 2.0, key=nr.random.key(1))
    grads = {"a": jnp.ones((100, 100)), "b": jnp.ones(10_000)}

    def run():
        state, path = part.init(grads), []
        for _ in range(3):
            updates, state = part.update(grads, state)
            path.append(nr.tree.map(np.asarray, updates))
        return path

    path = run()
    for t, tree in enumerate(path, 1):
        # The deviation of 10,000 numbers is known to 0.7 %; 4 of these.
        for x in tree.values():
            np.testing.assert_allclose(np.std(x), 2 / t, rtol=0.03)
    assert not np.allclose(path[0]["a"].ravel(), path[0]["b"])
    assert not np.allclose(path[0]["a"] - 1, (path[1]["a"] - 1) * 2)
    np.testing.assert_array_equal(path[2]["b"], run()[2]["b"])


def test_uniform_average_is_the_mean_also_of_short_floats():
    rng = np.random.default_rng(0)
    trees = [{"w": jnp.asarray(rng.normal(size=50) + 300, "float16")} for _ in range(20)]
    average = optim.uniform_average()
    state = average.init(trees[0])
    for tree in trees:
        averaged, state = average.update(tree, state)
    mean = np.mean([np.asarray(t["w"], "float64") for t in trees], 0)
    np.testing.assert_allclose(state.average["w"], mean, rtol=20 * 6e-8)
    assert averaged["w"].dtype == np.float16


def test_schedule_free_evaluates_at_the_average_of_optax():
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    ours = optim.schedule_free(optim.sgd(0.1), 0.1)
    theirs = optax.contrib.schedule_free(optax.sgd(0.1), 0.1)
    p, q = jnp.array([1.0, -2.0]), jax.numpy.array([1.0, -2.0])
    state, other = ours.init(p), theirs.init(q)
    for _ in range(30):
        updates, state = ours.update(p * p * p, state, p)
        p = optim.apply_updates(p, updates)
        updates, other = theirs.update(q * q * q, other, q)
        q = optax.apply_updates(q, updates)
    expected = optax.contrib.schedule_free_eval_params(other, q)
    # 30 steps of a rounding each, and of the difference that is divided by b1.
    np.testing.assert_allclose(optim.schedule_free_params(state, p), expected, rtol=30 * 1.2e-7)


def test_schedule_free_leaves_running_statistics_alone():
    norm = nr.nn.BatchNorm.init(3).replace(running_mean=jnp.ones(3))
    optimizer = optim.schedule_free(optim.sgd(0.1), 0.1)
    grads = nr.tree.map(jnp.ones_like, norm).replace(
        running_mean=jnp.zeros(3), running_var=jnp.zeros(3)
    )
    state = optimizer.init(norm)
    updates, state = optimizer.update(grads, state, norm)
    np.testing.assert_array_equal(updates.running_mean, 0)
    moved = optim.apply_updates(norm, updates)
    np.testing.assert_allclose(moved.weight, 0.9, rtol=1e-6)
    averaged = optim.schedule_free_params(state, moved)
    np.testing.assert_array_equal(averaged.running_mean, 1)
    pickle.loads(pickle.dumps(state))


def test_yogi_and_adan_keep_moments_of_short_floats_in_float32():
    params = {"w": jnp.ones(3, "bfloat16")}
    for optimizer in (optim.yogi(0.1), optim.adan(0.1), optim.novograd(0.1), optim.rprop(0.1)):
        state = optimizer.init(params)
        updates, state = nr.jit(optimizer.update)(params, state, params)
        assert updates["w"].dtype == jnp.bfloat16
        kept = [x.dtype for x in nr.tree.leaves(state)]
        assert set(kept) <= {np.dtype("float32"), np.dtype("int32")}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: optim.adan(0.1, b3=1.0), "adan: b3 must not be negative and less than 1"),
        (lambda: optim.novograd(-0.1), "novograd: learning_rate must not be negative"),
        (lambda: optim.rprop(0.1, -0.5), "rprop: eta_minus must not be negative"),
        (lambda: optim.add_noise(-1.0, 0.5, key=None), "add_noise: eta must not be negative"),
        (lambda: optim.schedule_free(optim.sgd(0.1), 0.1, 0.0), "schedule_free: b1 must not be 0"),
    ],
)
def test_impossible_settings_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_parameters_are_asked_for_where_they_are_needed():
    params = jnp.ones(2)
    for optimizer in (
        optim.scale_by_trust_ratio(),
        optim.schedule_free(optim.sgd(0.1), 0.1),
        optim.novograd(0.1, weight_decay=0.1),
        optim.adabelief(0.1, weight_decay=0.1),
    ):
        with pytest.raises(ValueError, match="the parameters were required"):
            optimizer.update(params, optimizer.init(params))
