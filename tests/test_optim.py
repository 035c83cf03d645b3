"""Without this an optimizer could take wrong steps, lose its state in jit, or hide its rates."""

import dataclasses
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import optim

STEPS = 200
# A rounding of float32 (6e-8) a step, summed over 200 steps of an iteration that is stable.
TRAJECTORY_RTOL = 200 * 6e-8


def target(params):
    """A smooth function with curvatures from 0.01 to 10."""
    return 0.5 * (jnp.linspace(0.1, 3.0, 4) ** 2 * params["w"] ** 2).sum() + (
        jnp.sin(params["b"]) * params["w"].sum()
    )


def torch_target(torch, w, b):
    return 0.5 * (torch.linspace(0.1, 3.0, 4) ** 2 * w**2).sum() + torch.sin(b) * w.sum()


START = {"w": np.array([1.0, -2.0, 3.0, 0.5], np.float32), "b": np.array(0.3, np.float32)}


def trajectory(optimizer, steps=STEPS):
    @nr.jit
    def step(params, state):
        updates, state = optimizer.update(nr.grad(target)(params), state, params)
        return optim.apply_updates(params, updates), state

    params = nr.tree.map(jnp.asarray, START)
    state, path = optimizer.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        path.append(np.concatenate([params["w"], np.asarray(params["b"])[None]]))
    return np.array(path), state


@pytest.mark.parametrize(
    "name, ours, options",
    [
        ("SGD", lambda: optim.sgd(0.05), {"lr": 0.05}),
        ("SGD", lambda: optim.sgd(0.02, momentum=0.9), {"lr": 0.02, "momentum": 0.9}),
        (
            "SGD",
            lambda: optim.sgd(0.02, momentum=0.9, nesterov=True),
            {"lr": 0.02, "momentum": 0.9, "nesterov": True},
        ),
        ("Adam", lambda: optim.adam(0.05), {"lr": 0.05}),
        (
            "Adam",
            lambda: optim.adam(0.02, b1=0.5, b2=0.99, eps=1e-2),
            {"lr": 0.02, "betas": (0.5, 0.99), "eps": 1e-2},
        ),
        (
            "AdamW",
            lambda: optim.adamw(0.05, weight_decay=0.1),
            {"lr": 0.05, "weight_decay": 0.1},
        ),
    ],
)
def test_trajectories_are_those_of_torch(name, ours, options):
    torch = pytest.importorskip("torch")
    got, _ = trajectory(ours())
    leaves = [torch.tensor(START[k], requires_grad=True) for k in ("w", "b")]
    theirs, expected = getattr(torch.optim, name)(leaves, **options), []
    for _ in range(STEPS):
        theirs.zero_grad()
        torch_target(torch, *leaves).backward()
        theirs.step()
        expected.append(torch.cat([leaves[0], leaves[1][None]]).detach().numpy().copy())
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=TRAJECTORY_RTOL, atol=TRAJECTORY_RTOL * scale)


def test_sgd_with_momentum_on_constant_gradients_is_the_closed_form():
    params, grads = jnp.zeros((), "float64"), jnp.ones((), "float64")
    for nesterov in (False, True):
        optimizer = optim.sgd(0.1, momentum=0.5, nesterov=nesterov)
        state = optimizer.init(params)
        for n in range(1, 6):
            updates, state = optimizer.update(grads, state)
            geometric = 2 * (1 - 0.5 ** (n + nesterov))  # the sum of 0.5**k, k < n (or n + 1)
            np.testing.assert_allclose(updates, -0.1 * geometric, rtol=1e-15)


def test_adam_steps_by_the_rate_on_constant_gradients():
    optimizer = optim.adam(0.1, eps=0.0)
    state = optimizer.init(jnp.zeros(2))
    for _ in range(20):
        updates, state = optimizer.update(jnp.array([1e-3, -7.0]), state)
        # Both averages equal the gradient's own power, whatever the step: only roundings differ.
        np.testing.assert_allclose(updates, [-0.1, 0.1], rtol=2e-6)


def test_adam_without_averages_steps_by_signs():
    optimizer = optim.adam(0.5, b1=0.0, b2=0.0, eps=0.0)
    state = optimizer.init(jnp.zeros(2))
    for grads in ([3.0, -1e-3], [-2.0, 5.0]):
        updates, state = optimizer.update(jnp.array(grads), state)
        np.testing.assert_allclose(updates, -0.5 * np.sign(grads), rtol=1e-6)


def test_hyper_parameters_are_read_and_changed_in_the_state():
    optimizer = optim.adam(0.1)
    state = optimizer.init(jnp.zeros(3))
    assert float(state.learning_rate) == np.float32(0.1)
    assert float(state.b2) == np.float32(0.999)
    grads = jnp.array([1.0, 2.0, 3.0])
    step = nr.jit(optimizer.update)
    full, after = step(grads, state)
    half, _ = step(grads, dataclasses.replace(state, learning_rate=state.learning_rate / 2))
    np.testing.assert_array_equal(half, full / 2)
    assert int(after.step) == 1
    assert len(step.traces()) == 1  # a changed rate is a value, not another program


def test_schedule_gets_the_step_and_shows_its_rate():
    optimizer = optim.sgd(lambda step: jnp.where(step < 2, 1.0, 0.5))
    state = optimizer.init(jnp.zeros(1))
    seen = []
    for _ in range(4):
        updates, state = nr.jit(optimizer.update)(jnp.ones(1), state)
        seen.append((float(updates[0]), float(state.learning_rate)))
    assert seen == [(-1.0, 1.0), (-1.0, 1.0), (-0.5, 0.5), (-0.5, 0.5)]


def test_vmap_over_rates_trains_many_at_once():
    rates = jnp.array([0.1, 0.2, 0.4])

    def train(rate):
        optimizer = optim.adam(rate)
        params = jnp.ones(2)
        updates, _ = optimizer.update(params * 3, optimizer.init(params))
        return updates

    each = jnp.stack([train(rate) for rate in rates])
    np.testing.assert_allclose(nr.vmap(train)(rates), each, rtol=1e-6)


def test_dtypes_of_parameters_stay():
    params = {"a": jnp.ones(2, "bfloat16"), "b": jnp.ones(2), "c": jnp.ones(2, "float64")}
    for optimizer in (optim.sgd(0.1, momentum=0.9, nesterov=True), optim.adamw(0.1)):
        state = optimizer.init(params)
        updates, after = optimizer.update(params, state, params)
        new = optim.apply_updates(params, updates)
        assert [x.dtype for x in nr.tree.leaves(new)] == [x.dtype for x in params.values()]
        assert state.learning_rate.dtype == "float64"  # 0.1 is not rounded for float64 leaves
        assert [x.aval for x in nr.tree.leaves(after)] == [x.aval for x in nr.tree.leaves(state)]


def test_clip_by_global_norm_in_a_chain():
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(1.0))
    params = {"w": jnp.zeros(2), "b": jnp.zeros(())}
    state = optimizer.init(params)
    big = {"w": jnp.array([2.0, 4.0]), "b": jnp.array(4.0)}
    updates, state = nr.jit(optimizer.update)(big, state, params)
    np.testing.assert_allclose(updates["w"], [-2 / 6, -4 / 6], rtol=1e-6)
    assert float(state[0].norm) == 6.0
    small = nr.tree.map(lambda g: g / 8, big)
    updates, state = optimizer.update(small, state, params)
    np.testing.assert_array_equal(updates["w"], -small["w"])
    zero = nr.tree.map(jnp.zeros_like, big)
    assert not np.isnan(optimizer.update(zero, state, params)[0]["w"]).any()


def test_extra_arguments_reach_every_part():
    seen = []

    def update(grads, state, params=None, **extra):
        seen.append(extra)
        return grads, state

    probe = optim.GradientTransformation(lambda params: (), update)
    optimizer = optim.chain(probe, optim.adam(0.1), probe)
    optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)), value=3.0)
    assert seen == [{"value": 3.0}] * 2


def test_state_pickles():
    optimizer = optim.adam(0.1)
    _, state = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
    restored = pickle.loads(pickle.dumps(state))
    assert nr.tree.structure(restored) == nr.tree.structure(state)
    for a, b in zip(nr.tree.leaves(restored), nr.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors():
    with pytest.raises(ValueError, match="sgd: learning_rate must not be negative; got -1"):
        optim.sgd(-1)
    with pytest.raises(ValueError, match="adam: b2 must not be negative and less than 1"):
        optim.adam(0.1, b2=1.0)
    with pytest.raises(ValueError, match="clip_by_global_norm: max_norm must be positive; got 0"):
        optim.clip_by_global_norm(0)
    with pytest.raises(TypeError, match=r"floating parameters were required; got i32\[2\] at"):
        optim.adam(0.1).init({"w": jnp.ones(2), "n": jnp.ones(2, "int32")})
    decaying = optim.adamw(0.1)
    state = decaying.init(jnp.ones(2))
    with pytest.raises(ValueError, match=r"adamw: .* Write update\(grads, state, params\)"):
        decaying.update(jnp.ones(2), state)
    optimizer = optim.chain(optim.sgd(0.1), optim.sgd(0.1))
    with pytest.raises(ValueError, match="a state of 2 parts was required; got 0"):
        optimizer.update(jnp.ones(2), ())
    with pytest.raises(ValueError, match="same structure"):
        optim.adam(0.1).update({"v": jnp.ones(2)}, optim.adam(0.1).init({"w": jnp.ones(2)}))
