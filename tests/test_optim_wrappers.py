"""Without this gradients could be clipped wrongly, frozen weights move, or steps be lost."""

import dataclasses
import functools
import pickle

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import optim

STEPS = 200
# A rounding of float32 (6e-8) a step, summed over 200 steps of an iteration that is stable.
TRAJECTORY_RTOL = 200 * 6e-8

RNG = np.random.default_rng(0)
START = {
    "conv": RNG.normal(size=(3, 3, 2, 4)).astype(np.float32),
    "weight": RNG.normal(size=(5, 3)).astype(np.float32),
    "bias": RNG.normal(size=3).astype(np.float32),
    "gain": np.float32(0.7),
}


def target(params, xp):
    """A smooth function of all leaves whose gradients fall from large to small."""
    w, b, c, s = params["weight"], params["bias"], params["conv"], params["gain"]
    curvatures = np.asarray(np.linspace(0.1, 3.0, 15).reshape(5, 3) ** 2, w.dtype)
    return (
        0.5 * (curvatures * w**2).sum()
        + xp.sin(w @ b).sum()
        + (c**2).sum() * (1 + s**2) / 2
        + (b**4).sum() / 4
    )


def our_trajectory(optimizer, steps=STEPS, extra=lambda loss: {}):
    @nr.jit
    def step(params, state):
        loss, grads = nr.value_and_grad(lambda p: target(p, jnp))(params)
        updates, state = optimizer.update(grads, state, params, **extra(loss))
        return optim.apply_updates(params, updates), state

    params = nr.tree.map(jnp.asarray, START)
    state, path = optimizer.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        path.append(nr.tree.map(np.asarray, params))
    assert len(step.traces()) == 1  # the state keeps its types
    return path, state


def optax_trajectory(optimizer, steps=STEPS, extra=lambda loss: {}):
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")

    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(lambda p: target(p, jax.numpy))(params)
        updates, state = optimizer.update(grads, state, params, **extra(loss))
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jax.numpy.asarray, START)
    state, path = optimizer.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        path.append(jax.tree.map(np.asarray, params))
    return path, state


def assert_same_path(ours, theirs, tolerance=TRAJECTORY_RTOL):
    for name in START:
        a, b = np.array([p[name] for p in ours]), np.array([p[name] for p in theirs])
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


WRAPPED = {
    "clip": lambda o: o.chain(o.clip(0.2), o.sgd(0.02)),
    "clip_by_block_rms": lambda o: o.chain(o.clip_by_block_rms(0.1), o.sgd(0.02)),
    "clip_by_global_norm": lambda o: o.chain(o.clip_by_global_norm(0.5), o.sgd(0.02)),
    "adaptive_grad_clip": lambda o: o.chain(o.adaptive_grad_clip(0.1, 0.01), o.sgd(0.02)),
    "adaptive_grad_clip_axis": lambda o: o.chain(
        o.masked(o.adaptive_grad_clip(0.1, axis=1), matrices), o.sgd(0.02)
    ),
}


def matrices(params):
    return {name: name == "weight" for name in params}


@pytest.mark.parametrize("name", WRAPPED)
def test_trajectories_are_those_of_optax(name):
    optax = pytest.importorskip("optax")
    ours, _ = our_trajectory(WRAPPED[name](optim))
    theirs, _ = optax_trajectory(WRAPPED[name](optax))
    assert_same_path(ours, theirs)


# ---------------------------------------------------------------- clipping
def test_clip_by_norm_scales_each_leaf_by_itself():
    grads = {"large": jnp.array([3.0, 4.0]), "small": jnp.array([0.3, 0.4]), "zero": jnp.zeros(2)}
    transformation = optim.clip_by_norm(1.0)
    updates, _ = nr.jit(transformation.update)(grads, transformation.init(grads))
    np.testing.assert_allclose(updates["large"], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(updates["small"], grads["small"])
    np.testing.assert_array_equal(updates["zero"], grads["zero"])


@pytest.mark.parametrize(
    "make", [optim.clip_by_norm, optim.clip_by_block_rms, optim.clip_by_global_norm, optim.clip]
)
def test_clipping_of_half_precision(make):
    grads = jnp.array([300.0, 400.0], "float16")  # squares overflow float16
    transformation = make(5.0)
    updates, state = transformation.update(grads, transformation.init(grads))
    assert updates.dtype == "float16"
    expected = {optim.clip: [5, 5], optim.clip_by_block_rms: [3 * 2**0.5, 4 * 2**0.5]}
    np.testing.assert_allclose(updates, expected.get(make, [3, 4]), rtol=1e-3)
    assert nr.tree.leaves(state)[0].dtype == "float32"


def test_units_of_convolutions_and_vectors():
    transformation = optim.adaptive_grad_clip(1.0, eps=1e-3)
    for shape, units in [((4,), 1), ((1, 4), 1), ((3, 4), 4), ((2, 3, 4), 4), ((2, 2, 2, 3, 5), 5)]:
        params = jnp.ones(shape)
        grads = jnp.asarray(RNG.normal(size=shape) * 100, "float32")
        updates, _ = transformation.update(grads, transformation.init(params), params)
        norms = np.linalg.norm(np.asarray(updates).reshape(-1, units), axis=0)
        size = np.sqrt(params.size / units)
        np.testing.assert_allclose(norms, size, rtol=1e-6)


def test_zeros_can_change_in_spite_of_adaptive_clipping():
    transformation = optim.adaptive_grad_clip(0.5, eps=0.01)
    params = jnp.zeros((2, 2))
    grads = jnp.array([[3.0, 0.0], [4.0, 0.001]])
    updates, _ = transformation.update(grads, transformation.init(params), params)
    np.testing.assert_allclose(updates, [[0.003, 0.0], [0.004, 0.001]], rtol=1e-6)


def test_clipping_bounds_are_changed_in_the_state():
    transformation = optim.clip(1.0)
    state = transformation.init(jnp.ones(1))
    state = dataclasses.replace(state, bound=state.bound * 2)
    assert transformation.update(jnp.array([5.0]), state)[0] == 2


# ---------------------------------------------------------------- plateau
PLATEAU = [
    {"factor": 0.5, "patience": 3},
    {"factor": 0.5, "patience": 1, "cooldown": 4},
    {"factor": 0.1, "patience": 2, "min_scale": 1e-3, "rtol": 0.05},
    {"factor": 0.5, "patience": 4, "rtol": 0.0, "atol": 0.02, "cooldown": 1},
]


def losses(steps=STEPS):
    rng = np.random.default_rng(1)
    out = np.maximum(np.exp(-np.arange(steps) / 30), 0.2) + rng.normal(size=steps) * 0.02
    out[50] = np.nan
    return out.astype(np.float32)


def our_scales(options, values):
    transformation = optim.reduce_on_plateau(**options)
    state, scales = transformation.init(jnp.zeros(2)), []
    update = nr.jit(lambda state, value: transformation.update(jnp.ones(2), state, value=value))
    for value in values:
        updates, state = update(state, value)
        np.testing.assert_array_equal(updates, state.scale)
        scales.append(float(state.scale))
    assert len(set(scales)) > 3
    return scales


@pytest.mark.parametrize("options", PLATEAU)
def test_plateaus_are_those_of_torch(options):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    relative = options.get("rtol", 1e-4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=options["factor"],
        patience=options["patience"] - 1,
        threshold=relative or options["atol"],
        threshold_mode="rel" if relative else "abs",
        cooldown=options.get("cooldown", 0),
        min_lr=options.get("min_scale", 0.0),
        eps=0.0,
    )
    expected = []
    for value in losses():
        scheduler.step(float(value))
        expected.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(our_scales(options, losses()), expected, rtol=1e-6)


@pytest.mark.parametrize("options", [*PLATEAU, {"patience": 2, "accumulation_size": 5}])
def test_plateaus_are_those_of_optax(options):
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    contrib = pytest.importorskip("optax.contrib")
    del optax
    values = losses()[51:]  # in optax a NaN stays in the average for ever
    transformation = contrib.reduce_on_plateau(**options)
    state, expected = transformation.init(jax.numpy.zeros(2)), []
    update = jax.jit(
        lambda state, value: transformation.update(jax.numpy.ones(2), state, value=value)
    )
    for value in values:
        _, state = update(state, value)
        expected.append(float(state.scale))
    np.testing.assert_allclose(our_scales(options, values), expected, rtol=1e-6)


def test_plateau_stops_a_trajectory_like_that_of_optax():
    pytest.importorskip("optax")
    optax, contrib = pytest.importorskip("optax"), pytest.importorskip("optax.contrib")
    options = {"factor": 0.7, "patience": 3, "rtol": 0.0, "atol": 1e-2, "cooldown": 2}

    def extra(loss):
        return {"value": loss}

    ours, state = our_trajectory(
        optim.chain(optim.sgd(0.02), optim.reduce_on_plateau(**options)), extra=extra
    )
    theirs, _ = optax_trajectory(
        optax.chain(optax.sgd(0.02), contrib.reduce_on_plateau(**options)), extra=extra
    )
    assert state[1].scale < 0.1
    assert_same_path(ours, theirs)


# ---------------------------------------------------------------- masks and groups
@nr.nn.module
class Normed:
    """A model with a running statistic, which its user changes from step to step."""

    weight: nr.Array
    running: nr.Array = nr.nn.buffer()


def normed():
    return Normed(jnp.array([1.0, -2.0]), jnp.array([5.0, 6.0]))


def test_mask_leaves_no_state_for_others_and_passes_their_gradients():
    params = nr.tree.map(jnp.asarray, START)
    optimizer = optim.masked(optim.adam(0.1), {k: k != "conv" for k in START})
    state = optimizer.init(params)
    assert state.mu["conv"] is None and state.mu["weight"].aval.shape == (5, 3)
    grads = nr.tree.map(lambda p: 0.5 * p, params)
    updates, state = nr.jit(optimizer.update)(grads, state, params)
    assert nr.tree.structure(updates) == nr.tree.structure(grads)
    np.testing.assert_array_equal(updates["conv"], grads["conv"])
    whole = optim.adam(0.1)
    expected, _ = nr.jit(whole.update)(grads, whole.init(params), params)
    np.testing.assert_array_equal(updates["weight"], expected["weight"])


def test_default_mask_is_what_is_trained():
    model = normed()
    optimizer = optim.masked(optim.clip(0.5))
    updates, _ = optimizer.update(model, optimizer.init(model))
    np.testing.assert_array_equal(updates.weight, [0.5, -0.5])
    np.testing.assert_array_equal(updates.running, model.running)


def test_masks_may_be_prefixes_and_functions():
    params = {"a": [jnp.ones(2), jnp.ones((2, 2))], "b": jnp.ones(2)}

    def is_matrix(tree):
        return nr.tree.map(lambda x: x.ndim == 2, tree)

    for mask, expected in [
        ({"a": True, "b": False}, [0, 0, 1]),
        (is_matrix, [1, 0, 1]),
        (False, [1, 1, 1]),
        (None, [0, 0, 0]),
    ]:
        transformation = optim.masked(optim.set_to_zero(), mask)
        updates, _ = transformation.update(params, transformation.init(params))
        assert [float(x.max()) for x in nr.tree.leaves(updates)] == expected


def groups(o):
    return o.partition(
        {"adam": o.adam(0.02), "sgd": o.sgd(0.02, momentum=0.9), "frozen": o.set_to_zero()},
        {"conv": "sgd", "weight": "adam", "bias": "adam", "gain": "frozen"},
    )


def grouped_by_rank(o):
    def labels(params):
        return {name: f"rank{np.ndim(leaf)}" for name, leaf in params.items()}

    rates = {0: 0.01, 1: 0.02, 2: 0.05, 4: 0.02}
    return o.partition({f"rank{n}": o.sgd(rate) for n, rate in rates.items()}, labels)


@pytest.mark.parametrize("make", [groups, grouped_by_rank])
def test_groups_are_those_of_optax(make):
    optax = pytest.importorskip("optax")
    ours, state = our_trajectory(make(optim))
    theirs, _ = optax_trajectory(make(optax))
    assert_same_path(ours, theirs)
    if make is groups:
        assert all(step["gain"] == START["gain"] for step in ours)
        assert state.states["adam"].mu["conv"] is None


def test_groups_of_a_model_take_prefixes_of_labels():
    model = [normed(), normed()]
    optimizer = optim.partition({"a": optim.sgd(1.0), "b": optim.sgd(2.0)}, ["a", "b"])
    updates, _ = optimizer.update(model, optimizer.init(model), model)
    np.testing.assert_array_equal(updates[0].weight, -model[0].weight)
    np.testing.assert_array_equal(updates[1].weight, -2 * model[1].weight)


def test_groups_may_freeze_integers():
    params = {"w": jnp.ones(2), "table": jnp.arange(3)}
    optimizer = optim.partition(
        {"train": optim.adam(0.1), "keep": optim.set_to_zero()}, {"w": "train", "table": "keep"}
    )
    grads = {"w": jnp.ones(2), "table": jnp.zeros(3, "int32")}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    after = optim.apply_updates(params, updates)
    np.testing.assert_array_equal(after["table"], params["table"])


# ---------------------------------------------------------------- accumulation
def test_accumulated_steps_are_those_of_optax():
    optax = pytest.importorskip("optax")
    ours, state = our_trajectory(optim.accumulate(optim.adam(0.05), 4))
    theirs, _ = optax_trajectory(optax.MultiSteps(optax.adam(0.05), 4))
    assert_same_path(ours, theirs)
    assert int(state.inner.step) == STEPS // 4 and int(state.count) == 0
    np.testing.assert_array_equal(ours[3]["weight"], ours[6]["weight"])


def test_micro_batches_give_the_step_of_the_whole_batch():
    rng = np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(32, 5)), "float32"), jnp.asarray(rng.normal(size=32))

    def loss(w, x, y):
        return ((x @ w - y) ** 2).mean()

    w = jnp.zeros(5)
    whole = optim.adam(0.1)
    expected, _ = whole.update(nr.grad(loss)(w, x, y), whole.init(w), w)
    parts = optim.accumulate(optim.adam(0.1), 4)
    state = parts.init(w)
    for i in range(4):
        grads = nr.grad(loss)(w, x[i * 8 : i * 8 + 8], y[i * 8 : i * 8 + 8])
        updates, state = parts.update(grads, state, w)
        assert (i == 3) == bool(np.asarray(updates).any())
    np.testing.assert_allclose(updates, expected, rtol=1e-5)


def test_accumulation_in_float16_keeps_a_float32_mean():
    optimizer = optim.accumulate(optim.sgd(1.0), 100)
    grads = jnp.asarray([60000.0, 1.0], "float16")  # sums would overflow
    state = optimizer.init(grads)

    @nr.jit
    def run(state):
        def body(state, _):
            updates, state = optimizer.update(grads, state)
            return state, updates

        return nr.lax.scan(body, state, None, length=100)

    state, updates = run(state)
    assert updates.dtype == "float16"
    np.testing.assert_array_equal(updates[-1], -grads)
    assert not np.asarray(updates[:-1]).any()


def test_accumulation_forgets_what_was_not_finite():
    optimizer = optim.accumulate(optim.sgd(1.0), 2)
    state, seen = optimizer.init(jnp.zeros(())), []
    for g in (np.inf, 1.0, 2.0, 4.0):
        updates, state = optimizer.update(jnp.asarray(g), state)
        seen.append(float(updates))
    np.testing.assert_array_equal(seen, [0, np.nan, 0, -3])


def test_accumulated_steps_are_changed_in_the_state():
    optimizer = optim.accumulate(optim.sgd(1.0), 3)
    state = optimizer.init(jnp.zeros(()))
    state = dataclasses.replace(state, steps=jnp.asarray(1, "int32"))
    assert optimizer.update(jnp.ones(()), state)[0] == -1


# ---------------------------------------------------------------- steps that are not finite
def test_steps_that_are_not_finite_are_skipped_as_in_optax():
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    ours, theirs = (
        optim.apply_if_finite(optim.adam(0.1), 2),
        optax.apply_if_finite(optax.adam(0.1), 2),
    )
    params = jnp.zeros(3)
    state, their_state = ours.init(params), theirs.init(jax.numpy.zeros(3))
    update, their_update = nr.jit(ours.update), jax.jit(theirs.update)
    rng = np.random.default_rng(3)
    bad = {5, 6, 9, 20, 21, 50}
    for i in range(STEPS):
        grads = rng.normal(size=3).astype(np.float32)
        if i in bad:
            grads[i % 3] = [np.nan, np.inf, -np.inf][i % 3]
        updates, state = update(grads, state)
        expected, their_state = their_update(grads, their_state)
        np.testing.assert_allclose(updates, expected, rtol=1e-4, atol=1e-7)
        assert bool(state.last_finite) == (i not in bad) == bool(their_state.last_finite)
        assert int(state.consecutive_errors) == int(their_state.notfinite_count)
        assert not np.asarray(updates).any() or i not in bad
    assert int(state.total_errors) == len(bad) == int(their_state.total_notfinite)
    assert int(state.inner.step) == STEPS - len(bad)
    assert len(update.traces()) == 1


def test_errors_that_stay_are_let_through():
    optimizer = optim.apply_if_finite(optim.sgd(1.0), 2)
    state = optimizer.init(jnp.zeros(1))
    seen = []
    for _ in range(4):
        updates, state = optimizer.update(jnp.array([np.nan]), state)
        seen.append(bool(np.isnan(np.asarray(updates)).any()))
    assert seen == [False, False, True, True]


def test_all_finite_and_select_tree():
    tree = {"a": jnp.ones((2, 3)), "n": jnp.arange(3), "h": jnp.array([6e4], "float16")}
    assert bool(optim.all_finite(tree)) and bool(optim.all_finite({}))
    for bad in (np.nan, np.inf, -np.inf):
        changed = {**tree, "a": jnp.asarray(tree["a"]).at[1, 2].set(bad)}
        assert not bool(nr.jit(optim.all_finite)(changed))
        chosen = optim.select_tree(optim.all_finite(changed), changed, tree)
        np.testing.assert_array_equal(chosen["a"], tree["a"])
        assert chosen["n"].dtype == tree["n"].dtype


# ---------------------------------------------------------------- averages
@pytest.mark.parametrize("debias", [True, False])
def test_averages_are_those_of_optax(debias):
    optax = pytest.importorskip("optax")

    def make(o):
        return o.chain(o.ema(0.9, debias), o.sgd(0.02))

    assert_same_path(our_trajectory(make(optim))[0], optax_trajectory(make(optax))[0])


def test_average_of_weights_is_the_weighted_mean():
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(50, 3)).astype(np.float32)
    average = optim.ema(0.95)
    state, update = average.init(jnp.zeros(3, "bfloat16")), nr.jit(average.update)
    for w in weights:
        averaged, state = update(w, state)
    factors = 0.95 ** np.arange(49, -1, -1)
    expected = (factors[:, None] * weights).sum(axis=0) / factors.sum()
    np.testing.assert_allclose(averaged, expected, rtol=1e-5, atol=1e-6)
    assert state.average.dtype == "float32"  # of bfloat16 weights too


def test_average_of_a_model_leaves_running_statistics():
    average = optim.masked(optim.ema(0.5))
    state = average.init(normed())
    for model in (normed(), nr.tree.map(lambda x: 2 * x, normed())):
        averaged, state = average.update(model, state)
    np.testing.assert_allclose(averaged.weight, normed().weight * 5 / 3, rtol=1e-6)
    np.testing.assert_array_equal(averaged.running, model.running)


# ---------------------------------------------------------------- lookahead
def test_lookahead_is_that_of_optax():
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    ours, state = our_trajectory(optim.lookahead(optim.adam(0.05), 6, 0.4))
    optimizer = optax.lookahead(optax.adam(0.05), 6, 0.4)

    @jax.jit
    def step(params, state):
        grads = jax.grad(lambda p: target(p, jax.numpy))(params.fast)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = optax.LookaheadParams.init_synced(jax.tree.map(jax.numpy.asarray, START))
    their_state, theirs = optimizer.init(params), []
    for _ in range(STEPS):
        params, their_state = step(params, their_state)
        theirs.append(jax.tree.map(np.asarray, params.fast))
    assert_same_path(ours, theirs)
    assert_same_path([state.slow], [params.slow])


def test_lookahead_does_not_hold_running_statistics_back():
    optimizer = optim.lookahead(optim.sgd(1.0), 2, 0.5)
    model = normed()
    state = optimizer.init(model)
    assert state.slow.running is None
    grads = Normed(jnp.ones(2), jnp.zeros(2))
    for _ in range(2):
        model = model.replace(running=model.running + 1)
        updates, state = optimizer.update(grads, state, model)
        model = optim.apply_updates(model, updates)
    np.testing.assert_array_equal(model.running, normed().running + 2)
    np.testing.assert_array_equal(model.weight, normed().weight - 1)


# ---------------------------------------------------------------- sharpness
def test_sharpness_aware_steps_are_those_of_optax():
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    contrib = pytest.importorskip("optax.contrib")
    rho = 0.05
    optimizer = optim.sgd(0.005, momentum=0.5)
    gradient = optim.sam_gradient(nr.grad(lambda p: target(p, jnp)), rho)
    start = {name: np.asarray(leaf, np.float64) for name, leaf in START.items()}

    @nr.jit
    def step(params, state):
        updates, state = optimizer.update(gradient(params), state, params)
        return optim.apply_updates(params, updates), state

    params = nr.tree.map(jnp.asarray, start)
    state, ours = optimizer.init(params), []
    for _ in range(STEPS):
        params, state = step(params, state)
        ours.append(nr.tree.map(np.asarray, params))

    def their_gradient(params, _):
        return jax.grad(lambda p: target(p, jax.numpy))(params)

    # In float64: where all gradients are small their direction, and so the perturbation, hangs on
    # roundings, and larger steps make paths near the minimum chaotic.
    with jax.enable_x64(True):
        adversary = optax.chain(contrib.normalize(), optax.sgd(rho))
        sam = contrib.sam(optax.sgd(0.005, momentum=0.5), adversary, opaque_mode=True)
        jitted = jax.jit(functools.partial(sam.update, grad_fn=their_gradient))
        their_params = jax.tree.map(jax.numpy.asarray, start)
        their_state, theirs = sam.init(their_params), []
        for _ in range(STEPS):
            grads = their_gradient(their_params, 0)
            updates, their_state = jitted(grads, their_state, their_params)
            their_params = optax.apply_updates(their_params, updates)
            theirs.append(jax.tree.map(np.asarray, their_params))
    assert_same_path(ours, theirs, tolerance=STEPS * 2.3e-16)


def test_sharpness_aware_gradients_at_a_stationary_point_and_with_aux():
    def loss(w, x):
        return (w**2).sum() * x, {"w": w}

    gradient = optim.sam_gradient(nr.grad(loss, has_aux=True), rho=0.5, has_aux=True)
    grads, aux = nr.jit(gradient)(jnp.array([3.0, 4.0]), 1.0)
    np.testing.assert_allclose(grads, [2 * 3.3, 2 * 4.4], rtol=1e-6)
    np.testing.assert_array_equal(aux["w"], [3.0, 4.0])
    grads, _ = gradient(jnp.zeros(2), 1.0)
    np.testing.assert_array_equal(grads, [0, 0])


# ---------------------------------------------------------------- all of them
ALL = {
    "clip": lambda: optim.clip(0.2),
    "clip_by_norm": lambda: optim.clip_by_norm(0.2),
    "clip_by_block_rms": lambda: optim.clip_by_block_rms(0.2),
    "clip_by_global_norm": lambda: optim.clip_by_global_norm(0.2),
    "adaptive_grad_clip": lambda: optim.adaptive_grad_clip(0.2),
    "reduce_on_plateau": lambda: optim.reduce_on_plateau(patience=1),
    "masked": lambda: optim.masked(optim.adam(0.1)),
    "partition": lambda: optim.partition({"a": optim.adam(0.1)}, lambda p: "a"),
    "accumulate": lambda: optim.accumulate(optim.adam(0.1), 2),
    "apply_if_finite": lambda: optim.apply_if_finite(optim.adam(0.1), 2),
    "ema": lambda: optim.ema(0.9),
    "lookahead": lambda: optim.lookahead(optim.adam(0.1), 2),
    "scale": lambda: optim.scale(lambda step: 1 / (1.0 + step)),
    "nested": lambda: optim.lookahead(
        optim.accumulate(optim.apply_if_finite(optim.masked(optim.adam(0.1)), 2), 2), 2
    ),
    "masters": lambda: optim.apply_if_finite(optim.with_master_weights(optim.adam(0.1)), 2),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_runs_eagerly_and_under_jit_scan_vmap_and_donation(name, dtype):
    optimizer = ALL[name]()
    model = nr.tree.map(lambda x: x.astype(dtype), normed())
    gradients = jnp.asarray(RNG.normal(size=(4, 2)), dtype)

    def step(model, state, g):
        grads = Normed(g, jnp.zeros(2, dtype))
        updates, state = optimizer.update(grads, state, model, value=jnp.abs(g).sum())
        return optim.apply_updates(model, updates), state

    def run(take, model):
        state = optimizer.init(model)
        types = [x.aval for x in nr.tree.leaves(state)]
        for g in gradients:
            model, state = take(model, state, g)
        assert [x.aval for x in nr.tree.leaves(state)] == types
        assert [x.dtype for x in nr.tree.leaves(model)] == [dtype, dtype]
        np.testing.assert_array_equal(model.running, normed().running)
        return model.weight

    def scanned(model):
        def body(carry, g):
            return step(*carry, g), None

        return nr.lax.scan(body, (model, optimizer.init(model)), gradients)[0][0].weight

    eager = run(step, model)
    # Compiled code rounds bfloat16 in fewer places; both are within a rounding a step.
    near = functools.partial(np.testing.assert_allclose, atol=1e-6 if dtype == "float32" else 0.05)
    near(run(nr.jit(step), model), eager)
    near(run(nr.jit(step, donate_argnums=(0, 1)), nr.tree.map(jnp.copy, model)), eager)
    near(nr.jit(scanned)(model), eager)
    both = nr.vmap(scanned)(nr.tree.map(lambda x: jnp.stack([x, x]), model))
    near(both, jnp.stack([eager, eager]))


def test_states_pickle():
    model = normed()
    for make in ALL.values():
        state = make().init(model)
        restored = pickle.loads(pickle.dumps(state))
        assert nr.tree.structure(restored) == nr.tree.structure(state)


def test_scale_shows_its_factor():
    transformation = optim.scale(lambda step: 1 / (1.0 + step))
    state = transformation.init(jnp.ones(1))
    for expected in (1.0, 0.5):
        updates, state = nr.jit(transformation.update)(jnp.array([4.0]), state)
        assert updates[0] == 4 * expected and state.factor == expected
    fixed = optim.scale(-2.0)
    assert fixed.update(jnp.array([4.0]), fixed.init(jnp.ones(1)))[0][0] == -8


def test_errors():
    params = {"w": jnp.ones(2)}
    for make, name in [
        (optim.clip, "max_delta"),
        (optim.clip_by_norm, "max_norm"),
        (optim.clip_by_block_rms, "threshold"),
        (optim.clip_by_global_norm, "max_norm"),
        (optim.adaptive_grad_clip, "clipping"),
    ]:
        with pytest.raises(ValueError, match=rf"{name} must be positive; got -1"):
            make(-1)
    with pytest.raises(ValueError, match="adaptive_grad_clip: the parameters were required"):
        clip = optim.adaptive_grad_clip(0.1)
        clip.update(params, clip.init(params))
    with pytest.raises(ValueError, match="lookahead: the parameters were required"):
        ahead = optim.lookahead(optim.sgd(0.1))
        ahead.update(params, ahead.init(params))
    with pytest.raises(ValueError, match="sync_period must be at least 1; got 0"):
        optim.lookahead(optim.sgd(0.1), 0)
    with pytest.raises(ValueError, match="slow_step_size must not be negative"):
        optim.lookahead(optim.sgd(0.1), 5, -0.5)
    with pytest.raises(ValueError, match="factor must be between 0 and 1; got 1"):
        optim.reduce_on_plateau(1)
    with pytest.raises(ValueError, match="patience .* required; got 0, 1 and 0"):
        optim.reduce_on_plateau(patience=0)
    plateau = optim.reduce_on_plateau()
    with pytest.raises(TypeError, match=r'got None for "value". Write update\(.* value=loss\)'):
        plateau.update(params, plateau.init(params))
    with pytest.raises(TypeError, match=r"rank 0 was required; got shape \(3,\)"):
        plateau.update(params, plateau.init(params), value=jnp.ones(3))
    with pytest.raises(ValueError, match="masked: a mask like the parameters was required"):
        optim.masked(optim.sgd(0.1), {"v": True}).init(params)
    with pytest.raises(ValueError, match=r"labels among 'a' were required; got 'b' at \"labels\["):
        optim.partition({"a": optim.sgd(0.1)}, {"w": "b"}).init(params)
    with pytest.raises(ValueError, match="partition: labels like the parameters were required"):
        optim.partition({"a": optim.sgd(0.1)}, {"v": "a"}).init(params)
    with pytest.raises(ValueError, match="accumulate: steps must be an integer of at least 1"):
        optim.accumulate(optim.sgd(0.1), 0)
    with pytest.raises(TypeError, match=r"accumulate: floating parameters .* got i32\[2\]"):
        optim.accumulate(optim.set_to_zero(), 2).init(jnp.ones(2, "int32"))
    with pytest.raises(ValueError, match="max_consecutive_errors must not be negative; got -1"):
        optim.apply_if_finite(optim.sgd(0.1), -1)
    with pytest.raises(TypeError, match=r"select_tree: a b1\[\] was required; got f32\[2\]"):
        optim.select_tree(jnp.ones(2), params, params)
    with pytest.raises(ValueError, match="ema: decay must not be negative and less than 1; got 1"):
        optim.ema(1.0)
    with pytest.raises(ValueError, match="sam_gradient: rho must not be negative; got -1"):
        optim.sam_gradient(nr.grad(lambda w: w), -1)
