"""Without this an optimizer could take wrong steps, lose its state in jit, or hide its rates."""

import dataclasses
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import optim

OPTIMIZERS = {
    "sgd": lambda rate=0.001: optim.sgd(rate, 0.9, True, weight_decay=1e-4),
    "adam": lambda rate=0.02: optim.adam(rate, weight_decay=1e-4, amsgrad=True),
    "adamw": lambda rate=0.02: optim.adamw(rate, weight_decay=1e-4),
    "amsgrad": lambda rate=0.02: optim.amsgrad(rate),
    "nadam": lambda rate=0.02: optim.nadam(rate, momentum_decay=4e-3),
    "nadamw": lambda rate=0.02: optim.nadamw(rate, weight_decay=1e-4),
    "radam": lambda rate=0.005: optim.radam(rate, weight_decay=1e-4),
    "adamax": lambda rate=0.02: optim.adamax(rate, weight_decay=1e-4),
    "rmsprop": lambda rate=0.01: optim.rmsprop(rate, centered=True, momentum=0.5),
    "adagrad": lambda rate=0.2: optim.adagrad(rate, weight_decay=1e-4),
    "adadelta": lambda rate=1.0: optim.adadelta(rate, eps=1e-4, weight_decay=1e-4),
    "lion": lambda rate=0.005: optim.lion(rate),
    "lars": lambda rate=0.1: optim.lars(rate, 1e-4, trust_coefficient=0.1),
    "lamb": lambda rate=0.02: optim.lamb(rate, weight_decay=1e-4),
    "adafactor": lambda rate=0.02: optim.adafactor(
        rate, min_dim_size_to_factor=2, momentum=0.5, weight_decay_rate=1e-5
    ),
    "muon": lambda rate=0.02: optim.muon(rate, weight_decay=1e-4, adam_weight_decay=1e-4),
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def rosenbrock(xy):
    return (1 - xy[0]) ** 2 + 100 * (xy[1] - xy[0] ** 2) ** 2


def quadratic(m):
    return (jnp.arange(1, 13).reshape(4, 3) * (m - 1) ** 2).sum()


def losses(params):
    return jnp.stack([rosenbrock(params["xy"]), quadratic(params["m"])])


START = {"xy": np.array([-0.5, 0.5]), "m": np.full((4, 3), 2.0)}


@every_optimizer
def test_decreases_rosenbrock_and_a_quadratic_in_a_scan(name):
    optimizer = OPTIMIZERS[name]()

    def step(carry, _):
        params, state = carry
        grads = nr.grad(lambda p: losses(p).sum())(params)
        updates, state = optimizer.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), None

    @nr.jit
    def train(params):
        carry = (params, optimizer.init(params))
        (params, state), _ = nr.lax.scan(step, carry, None, length=500)
        return losses(params), state

    params = nr.tree.map(lambda x: jnp.asarray(x, "float32"), START)
    after, state = train(params)
    assert int(state.step) == 500
    np.testing.assert_array_less(after, jnp.array([0.5, 0.05]) * losses(params))


@every_optimizer
def test_states_are_donated_to_jit(name):
    optimizer = OPTIMIZERS[name]()
    params = {"m": jnp.full((4, 3), 2.0), "b": jnp.ones(())}
    expected, expected_state = optimizer.update(params, optimizer.init(params), params)
    step = nr.jit(optimizer.update, donate_argnums=1)
    updates, state = step(params, optimizer.init(params), params)
    for a, b in zip(nr.tree.leaves((updates, state)), nr.tree.leaves((expected, expected_state))):
        assert a.aval == b.aval
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)  # a kernel's roundings
    step(params, state, params)
    assert len(step.traces()) == 1


@every_optimizer
def test_vmap_over_rates_trains_an_ensemble(name):
    rates = jnp.array([0.01, 0.02, 0.04])
    params = {"m": jnp.linspace(0.5, 2.0, 12).reshape(4, 3), "b": jnp.ones(2)}

    def train(rate):
        optimizer = OPTIMIZERS[name](rate)
        state = optimizer.init(params)
        _, state = optimizer.update(params, state, params)
        return optimizer.update(params, state, params)[0]

    together = nr.vmap(train)(rates)
    for i, rate in enumerate(rates):
        for a, b in zip(nr.tree.leaves(together), nr.tree.leaves(train(rate))):
            np.testing.assert_allclose(a[i], b, rtol=2e-6)


@every_optimizer
def test_dtypes_of_parameters_stay(name):
    params = {
        "a": jnp.ones((4, 3), "bfloat16"),
        "b": jnp.ones(2, "float16"),
        "c": jnp.ones((3, 4)),
        "d": jnp.ones((), "float64"),
    }
    optimizer = OPTIMIZERS[name]()
    state = optimizer.init(params)
    updates, after = optimizer.update(params, state, params)
    assert nr.tree.map(lambda x: x.aval, updates) == nr.tree.map(lambda x: x.aval, params)
    new = optim.apply_updates(params, updates)
    assert nr.tree.map(lambda x: x.aval, new) == nr.tree.map(lambda x: x.aval, params)
    assert [x.aval for x in nr.tree.leaves(after)] == [x.aval for x in nr.tree.leaves(state)]
    assert state.learning_rate.dtype == "float64"  # 0.1 is not rounded for float64 leaves
    for leaf in nr.tree.leaves(after):  # averages in half precision would stop to change
        assert leaf.dtype in ("int32", "float32", "float64")
    for leaf in nr.tree.leaves(updates):
        assert (leaf < 0).all()


@every_optimizer
def test_moments_of_a_state_share_no_memory(name):
    params = {"m": jnp.ones((4, 3)), "b": jnp.ones(2)}
    arrays = [np.asarray(x) for x in nr.tree.leaves(OPTIMIZERS[name]().init(params)) if x.ndim]
    for i, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[:i])


def test_float16_gradients_whose_squares_overflow_are_squared_in_float32():
    params = jnp.ones(2, "float16")
    optimizer = optim.adam(0.1)
    updates, _ = optimizer.update(params * 1000, optimizer.init(params))
    np.testing.assert_allclose(updates, [-0.1, -0.1], rtol=1e-3)


@every_optimizer
def test_leaves_of_all_sizes_and_none(name):
    optimizer = OPTIMIZERS[name]()
    params = {"none": None, "scalar": jnp.ones(()), "empty": jnp.ones((0, 3)), "no": jnp.ones(0)}
    for update in (optimizer.update, nr.jit(optimizer.update)):
        updates, _ = update(params, optimizer.init(params), params)
        assert nr.tree.structure(updates) == nr.tree.structure(params)
        assert updates["empty"].shape == (0, 3)
        assert float(updates["scalar"]) < 0
        assert update({}, optimizer.init({}), {})[0] == {}


@every_optimizer
def test_zero_gradients_change_no_buffer(name):
    @nr.nn.module
    class Layer:
        weight: nr.Array
        running_mean: nr.Array = nr.nn.buffer()

    params = Layer(jnp.ones((3, 2)), jnp.full(4, 5.0))
    grads = Layer(jnp.ones((3, 2)), jnp.zeros(4))
    optimizer = OPTIMIZERS[name]()
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    np.testing.assert_array_equal(updates.running_mean, 0)
    assert (updates.weight < 0).all()


@every_optimizer
def test_states_pickle_and_show_their_hyper_parameters(name):
    optimizer = OPTIMIZERS[name](0.125)
    params = {"m": jnp.ones((4, 3)), "b": jnp.ones(2)}
    _, state = optimizer.update(params, optimizer.init(params), params)
    assert float(state.learning_rate) == 0.125
    assert int(state.step) == 1
    restored = pickle.loads(pickle.dumps(state))
    assert nr.tree.structure(restored) == nr.tree.structure(state)
    for a, b in zip(nr.tree.leaves(restored), nr.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)


@every_optimizer
def test_rates_are_replaced_in_states_and_follow_schedules(name):
    params = {"m": jnp.linspace(0.5, 2.0, 12).reshape(4, 3), "b": jnp.ones(2)}
    fixed, moving = OPTIMIZERS[name](0.25), OPTIMIZERS[name](lambda step: 0.5 / (2 + step))
    state = fixed.init(params)
    at_zero = dataclasses.replace(state, learning_rate=jnp.zeros(()))
    if name == "muon":
        at_zero = dataclasses.replace(at_zero, adam_learning_rate=jnp.zeros(()))
    for leaf in nr.tree.leaves(fixed.update(params, at_zero, params)[0]):
        if name != "adafactor":  # its decay is no part of the rate
            np.testing.assert_array_equal(leaf, 0)
    expected, _ = fixed.update(params, state, params)
    updates, state = moving.update(params, moving.init(params), params)
    for a, b in zip(nr.tree.leaves(updates), nr.tree.leaves(expected)):
        np.testing.assert_array_equal(a, b)
    _, state = moving.update(params, state, params)
    np.testing.assert_allclose(state.learning_rate, 0.5 / 3, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: optim.sgd(0.1, weight_decay=0.5, **o),
        lambda **o: optim.adam(0.1, weight_decay=0.5, **o),
        lambda **o: optim.adamw(0.1, weight_decay=0.5, **o),
        lambda **o: optim.nadamw(0.1, weight_decay=0.5, **o),
        lambda **o: optim.radam(0.1, weight_decay=0.5, **o),
        lambda **o: optim.adamax(0.1, weight_decay=0.5, decoupled_weight_decay=True, **o),
        lambda **o: optim.rmsprop(0.1, weight_decay=0.5, **o),
        lambda **o: optim.adagrad(0.1, weight_decay=0.5, **o),
        lambda **o: optim.adadelta(0.1, weight_decay=0.5, **o),
        lambda **o: optim.lion(0.1, weight_decay=0.5, **o),
        lambda **o: optim.lamb(0.1, weight_decay=0.5, **o),
        lambda mask=None: optim.lars(0.1, 0.5, mask, trust_coefficient=0.1),
        lambda mask=None: optim.adafactor(0.1, weight_decay_rate=0.5, weight_decay_mask=mask),
        lambda mask=None: optim.muon(
            0.1, adam_weight_decay=0.5, weight_decay_mask=mask, matrices=False
        ),
        lambda mask=None: optim.muon(0.1, weight_decay=0.5, weight_decay_mask=mask),
        lambda **o: optim.chain(optim.add_decayed_weights(0.5, **o), optim.sgd(0.1)),
    ],
)
def test_masks_of_weight_decay(make):
    @nr.nn.module
    class Layer:
        weight: nr.Array
        other: dict
        running_mean: nr.Array = nr.nn.buffer()

    params = Layer(jnp.ones((3, 3)), {"weight": jnp.ones((3, 3)), "no": None}, jnp.ones((3, 3)))
    grads = nr.tree.map(jnp.zeros_like, params)

    def decayed(**options):
        optimizer = make(**options)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return [bool((leaf < 0).all()) for leaf in nr.tree.leaves(updates)]

    assert decayed() == [True, True, False]
    only_weight = Layer(True, {"weight": False, "no": None}, False)
    assert decayed(mask=only_weight) == [True, False, False]
    assert decayed(mask=lambda _: Layer(False, True, False)) == [False, True, False]  # a prefix
    with pytest.raises(ValueError, match=r"a mask like the parameters was required: a tree"):
        decayed(mask={"weight": True})
    optimizer = make()
    with pytest.raises(ValueError, match=r"the parameters were required.*got None for \"params\""):
        optimizer.update(grads, optimizer.init(params))


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


def test_errors():
    with pytest.raises(ValueError, match="sgd: learning_rate must not be negative; got -1"):
        optim.sgd(-1)
    with pytest.raises(ValueError, match="sgd: weight_decay must not be negative; got -1"):
        optim.sgd(0.1, weight_decay=-1)
    with pytest.raises(ValueError, match="adagrad: initial_accumulator_value must not be negative"):
        optim.adagrad(0.1, -1.0)
    with pytest.raises(ValueError, match="lars: momentum must not be negative and less than 1"):
        optim.lars(0.1, momentum=1)
    with pytest.raises(ValueError, match="radam: threshold must be at least 4; got 3"):
        optim.radam(0.1, threshold=3)
    with pytest.raises(ValueError, match="adafactor: clipping_threshold must be positive; got 0"):
        optim.adafactor(0.1, clipping_threshold=0)
    with pytest.raises(ValueError, match=r"muon: ns_coeffs must be three numbers; got .* \(2,\)"):
        optim.muon(0.1, (1.0, 2.0))
    with pytest.raises(TypeError, match=r'muon: matrices were required; got f32\[2\] at "params'):
        optim.muon(0.1, matrices=True).init({"w": jnp.ones(2)})
    for make in (optim.lars, optim.lamb, optim.adafactor):
        state = make(0.1).init(jnp.ones(2))
        with pytest.raises(ValueError, match="since steps are in proportion to them"):
            make(0.1).update(jnp.ones(2), state)
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
