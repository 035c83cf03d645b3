"""Without this a learning rate could be wrong at some step: at a boundary, at an end, late."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import optim

# Some ten roundings of float32 (6e-8), of which an exponential multiplies one by its exponent.
RTOL = 2e-6
STEPS = np.arange(260, dtype=np.int32)

OPTAX_CASES = {
    "constant": lambda o: o.constant_schedule(0.3),
    "polynomial": lambda o: o.polynomial_schedule(0.5, 0.01, 2, 100, 20),
    "polynomial_rising": lambda o: o.polynomial_schedule(0.0, 0.7, 0.5, 100),
    "linear": lambda o: o.linear_schedule(0.1, 0.9, 130, 7),
    "linear_to_zero": lambda o: o.linear_schedule(0.1, 0.0, 259),
    "piecewise_constant": lambda o: o.piecewise_constant_schedule(
        0.7, {200: 0.3, 50: 0.5, 120: 2.0}
    ),
    "piecewise_constant_plain": lambda o: o.piecewise_constant_schedule(0.7),
    "exponential": lambda o: o.exponential_decay(0.7, 10, 0.9, 30),
    "exponential_staircase": lambda o: o.exponential_decay(0.7, 10, 0.9, 3, True),
    "exponential_floor": lambda o: o.exponential_decay(0.7, 10, 0.5, end_value=0.01),
    "exponential_ceiling": lambda o: o.exponential_decay(0.1, 10, 1.5, end_value=3.0),
    "cosine": lambda o: o.cosine_decay_schedule(0.5, 200),
    "cosine_alpha": lambda o: o.cosine_decay_schedule(0.5, 200, 0.1, 1.5),
    "warmup_constant": lambda o: o.warmup_constant_schedule(0.01, 0.5, 40),
    "warmup_cosine": lambda o: o.warmup_cosine_decay_schedule(0.0, 0.5, 40, 220, 0.05),
    "warmup_cosine_exponent": lambda o: o.warmup_cosine_decay_schedule(
        0.1, 0.5, 40, 220, 0.05, 2.0
    ),
    "warmup_cosine_cold": lambda o: o.warmup_cosine_decay_schedule(0.0, 0.5, 0, 220),
    "warmup_exponential": lambda o: o.warmup_exponential_decay_schedule(
        0.0, 0.5, 40, 10, 0.8, 5, True, 0.01
    ),
    "sgdr": lambda o: o.sgdr_schedule(
        [
            {"init_value": 0.0, "peak_value": 0.5, "warmup_steps": 5, "decay_steps": 50},
            {"init_value": 0.1, "peak_value": 0.3, "warmup_steps": 10, "decay_steps": 90},
            {"init_value": 0.0, "peak_value": 0.2, "warmup_steps": 5, "decay_steps": 70},
        ]
    ),
    "piecewise_linear": lambda o: o.piecewise_interpolate_schedule(
        "linear", 0.5, {50: 0.1, 100: 3.0, 200: 0.0}
    ),
    "piecewise_cosine": lambda o: o.piecewise_interpolate_schedule(
        "cosine", 0.5, {50: 0.1, 100: 3.0}
    ),
    "linear_onecycle": lambda o: o.linear_onecycle_schedule(200, 0.4),
    "linear_onecycle_options": lambda o: o.linear_onecycle_schedule(
        201, 0.4, 0.21, 0.52, 10.0, 100.0
    ),
    "cosine_onecycle": lambda o: o.cosine_onecycle_schedule(200, 0.4),
    "cosine_onecycle_options": lambda o: o.cosine_onecycle_schedule(207, 0.4, 0.1, 5.0, 50.0),
    "join": lambda o: o.join_schedules(
        [o.linear_schedule(0.0, 1.0, 30), o.constant_schedule(0.5), o.cosine_decay_schedule(1, 50)],
        [40, 100],
    ),
}


@pytest.mark.parametrize("name", OPTAX_CASES)
def test_values_are_those_of_optax(name):
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    schedule = OPTAX_CASES[name](optim)
    with jax.enable_x64(True):
        expected = jax.vmap(OPTAX_CASES[name](optax))(STEPS.astype(np.int64))
        expected = np.broadcast_to(np.asarray(expected, np.float64), STEPS.shape)
    # The weight of an end under a power is one minus that of the other, known to 6e-8;
    # 1e-16 is cos(pi / 2) in float64, where ours is exactly 0.
    atol = 6e-8 * np.abs(expected).max() if name == "polynomial_rising" else 1e-16
    at_once = schedule(STEPS)
    assert at_once.dtype == "float32"
    np.testing.assert_allclose(at_once, expected, rtol=RTOL, atol=atol)
    jitted = nr.jit(schedule)
    for step in (0, 1, 40, 100, 259):
        one_by_one = jitted(jnp.asarray(step, "int32"))
        assert one_by_one.aval.shape == () and one_by_one.dtype == "float32"
        np.testing.assert_allclose(one_by_one, expected[step], rtol=RTOL, atol=atol)
        np.testing.assert_allclose(schedule(step), expected[step], rtol=RTOL, atol=atol)
    assert len(jitted.traces()) == 1


TORCH_CASES = [
    ("ConstantLR", {"factor": 0.3, "total_iters": 20}, 100,
     lambda: optim.piecewise_constant_schedule(0.7 * 0.3, {20: 1 / 0.3})),
    ("StepLR", {"step_size": 7, "gamma": 0.8}, 100, lambda: optim.step_schedule(0.7, 7, 0.8)),
    ("MultiStepLR", {"milestones": [60, 10, 30, 30], "gamma": 0.5}, 100,
     lambda: optim.multi_step_schedule(0.7, [60, 10, 30, 30], 0.5)),
    ("ExponentialLR", {"gamma": 0.97}, 200, lambda: optim.exponential_decay(0.7, 1, 0.97)),
    ("LinearLR", {"start_factor": 0.25, "end_factor": 0.9, "total_iters": 30}, 60,
     lambda: optim.linear_schedule(0.7 * 0.25, 0.7 * 0.9, 30)),
    ("PolynomialLR", {"total_iters": 60, "power": 2.0}, 100,
     lambda: optim.polynomial_schedule(0.7, 0.0, 2, 60)),
    ("CosineAnnealingLR", {"T_max": 90, "eta_min": 0.1}, 91,
     lambda: optim.cosine_decay_schedule(0.7, 90, 0.1 / 0.7)),
    ("CosineAnnealingWarmRestarts", {"T_0": 13, "eta_min": 0.1}, 100,
     lambda: optim.cosine_restarts_schedule(0.7, 13, end_value=0.1)),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}, 200,
     lambda: optim.cosine_restarts_schedule(0.7, 3, 2)),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 100}, 100,
     lambda: optim.cosine_onecycle_schedule(99, 0.7)),
    ("OneCycleLR",
     {"max_lr": 0.7, "total_steps": 100, "anneal_strategy": "linear", "three_phase": True}, 100,
     lambda: optim.linear_onecycle_schedule(99, 0.7, 0.3, 0.59)),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 12, "step_size_down": 5}, 100,
     lambda: optim.cyclic_schedule(0.1, 0.7, 12, 5)),
    ("CyclicLR",
     {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 8, "mode": "triangular2"}, 100,
     lambda: optim.cyclic_schedule(0.1, 0.7, 8, mode="triangular2")),
    ("CyclicLR",
     {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 8, "mode": "exp_range", "gamma": 0.99}, 100,
     lambda: optim.cyclic_schedule(0.1, 0.7, 8, mode="exp_range", gamma=0.99)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, options, steps, ours", TORCH_CASES)
def test_values_are_those_of_torch(name, options, steps, ours):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.7)
    if name == "CyclicLR":
        options = {**options, "cycle_momentum": False}
    scheduler, expected = getattr(torch.optim.lr_scheduler, name)(optimizer, **options), []
    for _ in range(steps):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        if len(expected) < steps:
            scheduler.step()
    # torch multiplies the last value into the next: its sums of float64 end near 1e-15.
    np.testing.assert_allclose(ours()(np.arange(steps)), expected, rtol=RTOL, atol=1e-15)


def test_sequential_schedules_of_torch_are_joined_schedules():
    torch = pytest.importorskip("torch")
    lr_scheduler = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 10),
        lr_scheduler.ExponentialLR(optimizer, 0.9),
    ]
    scheduler, expected = lr_scheduler.SequentialLR(optimizer, parts, [10]), []
    for _ in range(40):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    ours = optim.warmup_exponential_decay_schedule(0.05, 0.5, 10, 1, 0.9)
    np.testing.assert_allclose(ours(np.arange(40)), expected, rtol=RTOL)


def test_inverse_square_root_is_the_formula_of_the_transformer():
    step, warmup, width = np.arange(300), 40, 64
    with np.errstate(divide="ignore"):
        expected = width**-0.5 * np.minimum(step**-0.5, step * warmup**-1.5)
    schedule = optim.inverse_sqrt_schedule((width * warmup) ** -0.5, warmup)
    np.testing.assert_allclose(schedule(step), expected, rtol=RTOL)


# ---------------------------------------------------------------- precision
LONG = 10**7


@pytest.mark.parametrize(
    "schedule, exact",
    [
        (lambda: optim.linear_schedule(0.1, 0.0, LONG), lambda s: 0.1 * (LONG - s) / LONG),
        (lambda: optim.linear_schedule(0.0, 0.1, LONG), lambda s: 0.1 * s / LONG),
        (
            lambda: optim.cosine_decay_schedule(0.1, LONG),
            lambda s: 0.1 * np.sin(np.pi / 2 * (LONG - s) / LONG) ** 2,
        ),
        (
            lambda: optim.exponential_decay(0.1, 1, 0.999999),
            lambda s: 0.1 * np.exp(s * np.log(0.999999)),
        ),
        (
            lambda: optim.step_schedule(0.1, 1000, 0.999),
            lambda s: 0.1 * np.exp(s // 1000 * np.log(0.999)),
        ),
        (
            lambda: optim.inverse_sqrt_schedule(0.1, 10_000),
            lambda s: 0.1 * np.minimum(s / 1e4, np.sqrt(1e4 / np.maximum(s, 1))),
        ),
        (
            lambda: optim.cosine_restarts_schedule(0.1, 1000, 3),
            lambda s: restarts_in_float64(0.1, 1000, 3, s),
        ),
        (
            lambda: optim.cyclic_schedule(0.0, 0.1, 3001, 999),
            lambda s: 0.1 * np.minimum((s % 4000) / 3001, (4000 - s % 4000) / 999),
        ),
    ],
)
def test_long_schedules_keep_their_digits(schedule, exact):
    steps = np.array([0, 1, 2, 999_999, 5_000_000, LONG - 2, LONG - 1, LONG], np.int32)
    expected = exact(steps.astype(np.int64))
    # Relative to the value, and not to the largest: also where little is left of it.
    np.testing.assert_allclose(nr.jit(schedule())(steps), expected, rtol=RTOL, atol=0)


def restarts_in_float64(peak, length, factor, steps):
    out = []
    for step in steps.tolist():
        size = length
        while step >= size:
            step, size = step - size, size * factor
        out.append(peak * np.sin(np.pi / 2 * (size - step) / size) ** 2)
    return np.array(out)


def test_ends_are_exact():
    first, last = np.float32(0.1), np.float32(0.003)
    for schedule in (
        optim.linear_schedule(0.1, 0.003, 77),
        optim.polynomial_schedule(0.1, 0.003, 3.0, 77),
        optim.warmup_cosine_decay_schedule(0.0, 0.1, 0, 77, 0.003),
        optim.warmup_constant_schedule(0.1, 0.003, 77),
        optim.piecewise_interpolate_schedule("cosine", 0.1, {77: 0.03}),
    ):
        assert schedule(0) == first
        np.testing.assert_array_max_ulp(np.asarray(schedule(77)), last, 1)
        assert schedule(77) == schedule(78) == schedule(2**31 - 1)


def test_float64_values_make_float64_schedules():
    schedule = optim.warmup_cosine_decay_schedule(0.0, np.float64(0.1), 10, 60)
    value = schedule(23)
    assert value.dtype == "float64"
    np.testing.assert_allclose(value, 0.05 * (1 + np.cos(np.pi * 13 / 50)), rtol=1e-15)


def test_schedules_are_differentiated_and_batched_over_their_values():
    def value(peak):
        return optim.warmup_cosine_decay_schedule(0.0, peak, 10, 60)(35)

    np.testing.assert_allclose(nr.grad(value)(0.3), 0.5, rtol=RTOL)
    np.testing.assert_allclose(nr.vmap(value)(jnp.array([0.2, 0.4])), [0.1, 0.2], rtol=RTOL)


def test_schedule_drives_an_optimizer_inside_scan():
    optimizer = optim.sgd(optim.warmup_constant_schedule(0.0, 1.0, 4))

    @nr.jit
    def run(params, state):
        def body(carry, _):
            params, state = carry
            updates, state = optimizer.update(jnp.ones_like(params), state, params)
            return (optim.apply_updates(params, updates), state), state.learning_rate

        return nr.lax.scan(body, (params, state), None, length=6)

    params = jnp.zeros(())
    (end, _), rates = run(params, optimizer.init(params))
    np.testing.assert_array_equal(rates, [0, 0.25, 0.5, 0.75, 1, 1])
    assert end == -3.5


def test_errors():
    with pytest.raises(ValueError, match="linear_schedule: transition_steps must be an integer"):
        optim.linear_schedule(0.0, 1.0, 0)
    with pytest.raises(ValueError, match=r"at least 0; got -1"):
        optim.linear_schedule(0.0, 1.0, 5, -1)
    with pytest.raises(ValueError, match=r"decay_steps .* got 1000.0. Count in steps"):
        optim.cosine_decay_schedule(0.1, 1e3)
    with pytest.raises(ValueError, match="exponential_decay: decay_rate must be positive; got 0"):
        optim.exponential_decay(0.1, 10, 0)
    with pytest.raises(ValueError, match="step_schedule: gamma must be positive; got -1"):
        optim.step_schedule(0.1, 10, -1)
    with pytest.raises(ValueError, match="scales must not be negative; got -2 at step 5"):
        optim.piecewise_constant_schedule(0.1, {5: -2})
    with pytest.raises(ValueError, match="scales must not be negative; got -2 at step 5"):
        optim.piecewise_interpolate_schedule("linear", 0.1, {5: -2})
    with pytest.raises(ValueError, match="decay_steps must be an integer of at least 11; got 10"):
        optim.warmup_cosine_decay_schedule(0.0, 0.1, 10, 10)
    with pytest.raises(ValueError, match="got 2 schedules and 0 boundaries"):
        optim.join_schedules([optim.constant_schedule(0.1)] * 2, [])
    with pytest.raises(ValueError, match=r"boundaries must rise; got \[5, 3\]"):
        optim.join_schedules([optim.constant_schedule(0.1)] * 3, [5, 3])
    with pytest.raises(ValueError, match="got 0 schedules and 0 boundaries"):
        optim.sgdr_schedule([])
    with pytest.raises(ValueError, match='must be "linear" or "cosine"; got "?\'?cubic'):
        optim.piecewise_interpolate_schedule("cubic", 0.1)
    with pytest.raises(ValueError, match="mode must be .* got 'square'"):
        optim.cyclic_schedule(0.1, 1.0, 5, mode="square")
    with pytest.raises(ValueError, match="pct_start <= 1 was required; got 30"):
        optim.cosine_onecycle_schedule(100, 0.1, 30)
    with pytest.raises(ValueError, match="pct_final <= 1 was required; got 0.5 and 0.3"):
        optim.linear_onecycle_schedule(100, 0.1, 0.5, 0.3)
