"""Without this an optimizer's trajectory could differ from PyTorch's and Optax's, in any option."""

import functools

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import optim

STEPS = 200
# 200 steps of an iteration that is stable, each of some ten operations rounded to 1e-16 of values
# that differ in size by 1e2 or less.
RTOL64 = 1e-10
# A rounding of float32 (6e-8) a step, summed over 200 steps.
RTOL32 = STEPS * 6e-8
# Optax finds the decay of Adafactor's averages in float32, whatever the parameters.
ADAFACTOR_RTOL64 = 1e-7

RNG = np.random.default_rng(0)
CONSTANTS = {
    "curvature": np.linspace(0.1, 3.0, 4) ** 2,
    "A": RNG.normal(size=(6, 5)),
    "B": RNG.normal(size=(6, 3)),
    "C": RNG.normal(size=(4, 3)),
    "D": RNG.normal(size=(4, 5)),
}
START = {
    "w": np.array([1.0, -2.0, 3.0, 0.5]),
    "b": np.array(0.3),
    "m": RNG.normal(size=(5, 3)),
    "n": RNG.normal(size=(3, 5)),
}


def target(p, c, sin):
    """Smooth, of a vector, a scalar and two matrices, with curvatures from 0.01 to 10."""
    value = 0.5 * (c["curvature"] * p["w"] ** 2).sum() + sin(p["b"]) * p["w"].sum()
    value = value + 0.5 * ((c["A"] @ p["m"] - c["B"]) ** 2).sum() / 6
    return value + 0.5 * ((c["C"] @ p["n"] - c["D"]) ** 2).sum() / 4


def matrices(p, c, sin):
    """The part of `target` that is of matrices, which have PyTorch's layout."""
    p = START | {"m": p["m"].T, "n": p["n"].T, "w": 0 * p["m"][0], "b": 0 * p["m"][0, 0]}
    return target(p, c | {"curvature": 0}, sin)


# ---------------------------------------------------------------- trajectories
def ours(optimizer, dtype, names):
    constants = {k: jnp.asarray(v, dtype) for k, v in CONSTANTS.items()}
    params = {k: jnp.asarray(v, dtype) for k, v in START.items()}

    def loss(some):
        return target(params | some, constants, jnp.sin)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(nr.grad(loss)(params), state, params)
        params = optim.apply_updates(params, updates)
        return (params, state), params

    some = {k: params[k] for k in names}
    run = nr.jit(lambda some: nr.lax.scan(step, (some, optimizer.init(some)), None, length=STEPS))
    _, path = run(some)
    return {k: np.asarray(v) for k, v in path.items()}


def of_torch(make, names):
    torch = pytest.importorskip("torch")
    constants = {k: torch.tensor(v) for k, v in CONSTANTS.items()}
    transposed = "w" not in names
    some = {k: START[k].T.copy() if transposed else START[k] for k in names}
    some = {k: torch.tensor(v, requires_grad=True) for k, v in some.items()}
    path = {k: [] for k in names}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of scalars in states
    try:
        optimizer = make(torch.optim)(list(some.values()))
        for _ in range(STEPS):
            optimizer.zero_grad()
            (matrices if transposed else target)(some, constants, torch.sin).backward()
            optimizer.step()
            for k, v in some.items():
                path[k].append((v.T if transposed else v).detach().numpy().copy())
    finally:
        torch.set_default_dtype(default)
    return {k: np.array(v) for k, v in path.items()}


def of_optax(make, names):
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    with jax.enable_x64(True):
        optimizer = make(optax)
        constants = {k: jax.numpy.asarray(v) for k, v in CONSTANTS.items()}
        params = {k: jax.numpy.asarray(START[k]) for k in names}

        def step(carry, _):
            params, state = carry
            grads = jax.grad(lambda p: target(p, constants, jax.numpy.sin))(params)
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        run = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), None, length=STEPS))
        return {k: np.asarray(v) for k, v in run(params)[1].items()}


def assert_follows(optimizer, expected, rtol64=RTOL64):
    for dtype, rtol in (("float64", rtol64), ("float32", RTOL32)):
        got = ours(optimizer, dtype, list(expected))
        for name, path in expected.items():
            scale = np.abs(path).max()
            assert np.ptp(path) > 1e-3 * scale  # it went somewhere
            np.testing.assert_allclose(
                got[name], path, rtol=0, atol=rtol * scale, err_msg=f"{name} {dtype}"
            )


def falling(rate, by=0.1):
    """A schedule in float64, for any library."""
    return lambda step: rate / (1 + by * step.astype("float64"))


def root(most):
    """PyTorch's schedule of Adafactor."""
    return lambda step: jnp.minimum(most, (step.astype("float64") + 1) ** -0.5)


def only_w(params):
    return {name: name == "w" for name in params}


TORCH = {
    "sgd": (lambda: optim.sgd(0.05), ("SGD", {"lr": 0.05})),
    "sgd-momentum": (
        lambda: optim.sgd(0.02, momentum=0.9),
        ("SGD", {"lr": 0.02, "momentum": 0.9}),
    ),
    "sgd-nesterov-decay": (
        lambda: optim.sgd(0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
        ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ),
    "sgd-dampening": (
        lambda: optim.sgd(0.02, momentum=0.9, dampening=0.3),
        ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.3}),
    ),
    "adam": (
        lambda: optim.adam(0.02, b1=0.5, b2=0.99, eps=1e-2),
        ("Adam", {"lr": 0.02, "betas": (0.5, 0.99), "eps": 1e-2}),
    ),
    "adam-l2-amsgrad": (
        lambda: optim.adam(0.05, weight_decay=0.1, amsgrad=True),
        ("Adam", {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True}),
    ),
    "adam-decoupled": (
        lambda: optim.adam(0.05, weight_decay=0.1, decoupled_weight_decay=True),
        ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ),
    "adamw": (
        lambda: optim.adamw(0.05, weight_decay=0.1),
        ("AdamW", {"lr": 0.05, "weight_decay": 0.1}),
    ),
    "adamw-amsgrad": (
        lambda: optim.adamw(0.05, eps=1e-3, amsgrad=True),
        ("AdamW", {"lr": 0.05, "eps": 1e-3, "amsgrad": True}),
    ),
    "nadam": (
        lambda: optim.nadam(0.005, momentum_decay=4e-3),
        ("NAdam", {"lr": 0.005}),
    ),
    "nadam-l2": (
        lambda: optim.nadam(0.003, b1=0.8, eps=1e-3, momentum_decay=0.05, weight_decay=0.1),
        (
            "NAdam",
            {
                "lr": 0.003,
                "eps": 1e-3,
                "betas": (0.8, 0.999),
                "momentum_decay": 0.05,
                "weight_decay": 0.1,
            },
        ),
    ),
    "nadamw": (
        lambda: optim.nadamw(0.005, momentum_decay=4e-3, weight_decay=0.1),
        ("NAdam", {"lr": 0.005, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ),
    # PyTorch corrects the bias of eps, too, in RAdam: with 0 there is no difference.
    "radam": (lambda: optim.radam(0.02, eps=0.0), ("RAdam", {"lr": 0.02, "eps": 0.0})),
    "radam-l2": (
        lambda: optim.radam(0.02, b2=0.99, eps=0.0, weight_decay=0.1),
        ("RAdam", {"lr": 0.02, "betas": (0.9, 0.99), "eps": 0.0, "weight_decay": 0.1}),
    ),
    "radam-decoupled": (
        lambda: optim.radam(0.02, eps=0.0, weight_decay=0.1, decoupled_weight_decay=True),
        ("RAdam", {"lr": 0.02, "eps": 0.0, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ),
    "adamax": (
        lambda: optim.adamax(0.02, eps=1e-3),
        ("Adamax", {"lr": 0.02, "eps": 1e-3}),
    ),
    "adamax-l2": (
        lambda: optim.adamax(0.02, weight_decay=0.1),
        ("Adamax", {"lr": 0.02, "weight_decay": 0.1}),
    ),
    "rmsprop": (
        lambda: optim.rmsprop(0.002, decay=0.99, eps_in_sqrt=False),
        ("RMSprop", {"lr": 0.002}),
    ),
    "rmsprop-momentum-l2": (
        lambda: optim.rmsprop(0.003, 0.99, 1e-3, eps_in_sqrt=False, momentum=0.9, weight_decay=0.1),
        ("RMSprop", {"lr": 0.003, "eps": 1e-3, "momentum": 0.9, "weight_decay": 0.1}),
    ),
    "rmsprop-centered": (
        lambda: optim.rmsprop(0.003, 0.99, 1e-2, eps_in_sqrt=False, centered=True),
        ("RMSprop", {"lr": 0.003, "eps": 1e-2, "centered": True}),
    ),
    "adagrad": (
        lambda: optim.adagrad(0.2, 0.0, 1e-10, eps_in_sqrt=False),
        ("Adagrad", {"lr": 0.2}),
    ),
    "adagrad-rate-decay": (
        lambda: optim.adagrad(falling(0.2, 0.01), 0.3, 1e-2, eps_in_sqrt=False, weight_decay=0.1),
        (
            "Adagrad",
            {
                "lr": 0.2,
                "lr_decay": 0.01,
                "weight_decay": 0.1,
                "initial_accumulator_value": 0.3,
                "eps": 1e-2,
            },
        ),
    ),
    "adadelta": (
        lambda: optim.adadelta(1.0, rho=0.95, eps=1e-5, weight_decay=0.1),
        ("Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-5, "weight_decay": 0.1}),
    ),
    # PyTorch bounds averages where we add to squares; the bound is out of reach here.
    "adafactor": (
        lambda: optim.adafactor(
            root(0.02),
            min_dim_size_to_factor=1,
            weight_decay_rate=0.02 * 0.1,
        ),
        ("Adafactor", {"lr": 0.02, "weight_decay": 0.1, "eps": (1e-15, 1e-3)}),
    ),
    "adafactor-clipping": (
        lambda: optim.adafactor(
            root(0.002),
            min_dim_size_to_factor=1,
            decay_rate=0.5,
            clipping_threshold=1.1,
        ),
        ("Adafactor", {"lr": 0.002, "beta2_decay": -0.5, "d": 1.1, "eps": (1e-15, 1e-3)}),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_trajectories_are_those_of_torch(name):
    make, (theirs, options) = TORCH[name]
    expected = of_torch(
        lambda torch_optim: functools.partial(getattr(torch_optim, theirs), **options),
        list(START),
    )
    assert_follows(make(), expected)


MUON = {
    "plain": ({"nesterov": False}, {"nesterov": False, "weight_decay": 0.0}),
    "nesterov-decay": ({"weight_decay": 0.1}, {"weight_decay": 0.1}),
    "rms": (
        {"consistent_rms": 0.2, "beta": 0.8, "ns_steps": 3},
        {
            "adjust_lr_fn": "match_rms_adamw",
            "weight_decay": 0.0,
            "momentum": 0.8,
            "ns_steps": 3,
        },
    ),
}


@pytest.mark.parametrize("name", MUON)
def test_muon_is_that_of_torch(name, monkeypatch):
    torch = pytest.importorskip("torch")
    # PyTorch orthogonalizes in bfloat16, which is not what is compared here.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    options, theirs = MUON[name]
    expected = of_torch(
        lambda torch_optim: functools.partial(torch_optim.Muon, lr=0.01, eps=1e-12, **theirs),
        ["m", "n"],
    )
    optimizer = optim.muon(0.01, eps=1e-12, bias_correction=False, **options)
    assert_follows(optimizer, expected)


def test_muon_takes_leaves_of_higher_rank_as_batches_of_matrices():
    stacked = jnp.asarray(np.stack([START["m"], START["m"][::-1] + 1]))
    optimizer = optim.muon(0.01, matrices=True)
    together, _ = optimizer.update(stacked, optimizer.init(stacked), stacked)
    for i in range(2):
        alone, _ = optimizer.update(stacked[i], optimizer.init(stacked[i]), stacked[i])
        np.testing.assert_allclose(together[i], alone, rtol=1e-12)
    # The singular values of steps are about the rate, by the polynomial between 0.7 and 1.2 of it.
    values = np.linalg.svd(together / 0.01, compute_uv=False)
    assert ((values > 0.65) & (values < 1.25)).all()


OPTAX = {
    "sgd": (
        lambda: optim.sgd(0.02, 0.9, True),
        lambda optax: optax.sgd(0.02, 0.9, True),
    ),
    "adam-nesterov": (
        lambda: optim.adam(0.02, 0.8, 0.99, 1e-3, 1e-4, nesterov=True),
        lambda optax: optax.adam(0.02, 0.8, 0.99, 1e-3, 1e-4, nesterov=True),
    ),
    "adamw-mask-schedule": (
        lambda: optim.adamw(falling(0.05), eps_root=1e-3, weight_decay=0.3, mask=only_w),
        lambda optax: optax.adamw(falling(0.05), eps_root=1e-3, weight_decay=0.3, mask=only_w),
    ),
    "amsgrad": (
        lambda: optim.amsgrad(0.02, 0.8, 0.99, 1e-3, 1e-4),
        lambda optax: optax.amsgrad(0.02, 0.8, 0.99, 1e-3, 1e-4),
    ),
    "nadam": (
        lambda: optim.nadam(0.005, 0.8, 0.99, 1e-3, 1e-4),
        lambda optax: optax.nadam(0.005, 0.8, 0.99, 1e-3, 1e-4),
    ),
    "nadamw": (
        lambda: optim.nadamw(0.02, weight_decay=0.3, mask=only_w),
        lambda optax: optax.nadamw(0.02, weight_decay=0.3, mask=only_w),
    ),
    "radam": (
        lambda: optim.radam(0.02, 0.8, 0.99, 1e-3, 1e-4),
        lambda optax: optax.radam(0.02, 0.8, 0.99, 1e-3, 1e-4),
    ),
    "radam-nesterov-threshold": (
        lambda: optim.radam(0.02, threshold=20.5, nesterov=True),
        lambda optax: optax.radam(0.02, threshold=20.5, nesterov=True),
    ),
    "adamax-decoupled": (
        lambda: optim.adamax(0.02, weight_decay=0.3, decoupled_weight_decay=True, mask=only_w),
        lambda optax: optax.adamaxw(0.02, weight_decay=0.3, mask=only_w),
    ),
    "rmsprop": (
        lambda: optim.rmsprop(0.01, 0.95, 1e-3),
        lambda optax: optax.rmsprop(0.01, 0.95, 1e-3),
    ),
    "rmsprop-nesterov": (
        lambda: optim.rmsprop(0.003, 0.95, 1e-3, 0.5, momentum=0.9, nesterov=True),
        lambda optax: optax.rmsprop(0.003, 0.95, 1e-3, 0.5, momentum=0.9, nesterov=True),
    ),
    "rmsprop-centered-corrected": (
        lambda: optim.rmsprop(0.003, 0.95, 1.0, centered=True, bias_correction=True),
        lambda optax: optax.rmsprop(0.003, 0.95, 1.0, centered=True, bias_correction=True),
    ),
    "adagrad": (
        lambda: optim.adagrad(0.2, 0.3, 1e-2),
        lambda optax: optax.adagrad(0.2, 0.3, 1e-2),
    ),
    "adadelta": (
        lambda: optim.adadelta(0.8, 0.95, 1e-4, 0.1, only_w),
        lambda optax: optax.adadelta(0.8, 0.95, 1e-4, 0.1, only_w),
    ),
    "lion": (
        lambda: optim.lion(0.001, weight_decay=0.3, mask=only_w),
        lambda optax: optax.lion(0.001, weight_decay=0.3, mask=only_w),
    ),
    "lars": (
        lambda: optim.lars(0.3),
        lambda optax: optax.lars(0.3),
    ),
    "lars-masks-schedule": (
        lambda: optim.lars(falling(0.3), 0.1, only_w, 0.01, 1e-2, only_w, 0.8, True),
        lambda optax: optax.lars(falling(0.3), 0.1, only_w, 0.01, 1e-2, only_w, 0.8, True),
    ),
    "lamb": (
        lambda: optim.lamb(0.01),
        lambda optax: optax.lamb(0.01),
    ),
    "lamb-decay": (
        lambda: optim.lamb(0.01, 0.8, 0.99, 1e-3, 1e-4, 0.1, only_w),
        lambda optax: optax.lamb(0.01, 0.8, 0.99, 1e-3, 1e-4, 0.1, only_w),
    ),
    "adafactor": (
        lambda: optim.adafactor(0.001),
        lambda optax: optax.adafactor(0.001),
    ),
    "adafactor-factored": (
        lambda: optim.adafactor(0.01, 3, 0.7, -2, True, 0.5, 0.8, weight_decay_rate=1e-3),
        lambda optax: optax.adafactor(0.01, 3, 0.7, -2, True, 0.5, 0.8, weight_decay_rate=1e-3),
    ),
    "adafactor-plain": (
        lambda: optim.adafactor(
            *(0.01, 3, 0.8, 0, False, None),
            eps=1e-4,
            weight_decay_rate=0.01,
            weight_decay_mask=only_w,
        ),
        lambda optax: optax.adafactor(
            *(0.01, 3, 0.8, 0, False, None),
            eps=1e-4,
            weight_decay_rate=0.01,
            weight_decay_mask=only_w,
        ),
    ),
    "muon": (
        lambda: optim.muon(0.01),
        lambda optax: optax.contrib.muon(0.01),
    ),
    "muon-options": (
        lambda: optim.muon(
            *(0.01, (2.0, -1.5, 0.5), 3, 0.8, 1e-3, 0.1),
            nesterov=False,
            consistent_rms=0.2,
            adam_b1=0.8,
            adam_b2=0.99,
            adam_eps_root=1e-4,
            adam_weight_decay=0.2,
            adam_learning_rate=falling(0.02),
        ),
        lambda optax: optax.contrib.muon(
            *(0.01, (2.0, -1.5, 0.5), 3, 0.8, 1e-3, 0.1),
            nesterov=False,
            consistent_rms=0.2,
            adam_b1=0.8,
            adam_b2=0.99,
            adam_eps_root=1e-4,
            adam_weight_decay=0.2,
            adam_learning_rate=falling(0.02),
        ),
    ),
    "added-decay": (
        lambda: optim.chain(optim.add_decayed_weights(0.3, only_w), optim.sgd(0.05)),
        lambda optax: optax.chain(optax.add_decayed_weights(0.3, only_w), optax.sgd(0.05)),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_trajectories_are_those_of_optax(name):
    pytest.importorskip("optax.contrib")
    make, theirs = OPTAX[name]
    rtol64 = ADAFACTOR_RTOL64 if name.startswith("adafactor") else RTOL64
    assert_follows(make(), of_optax(theirs, list(START)), rtol64)
