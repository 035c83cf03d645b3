"""Simulations: long loops of small steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from row import Row

LORENZ_STEPS, LORENZ_DT = 20_000, 1e-4  # over time 2: beyond, chaos amplifies rounding
BODIES, NBODY_STEPS, NBODY_DT = 64, 1000, 1e-3


# ---------------------------------------------------------------- Lorenz
def _lorenz_start() -> tuple:
    return (np.array([1.0, 0.5, 20.0], np.float32),)


def _runge_kutta(stack: Callable, s: Any) -> Any:
    """A step of the classical method, of order 4, for Lorenz's equations (1963)."""

    def derivative(s: Any) -> Any:
        x, y, z = s[0], s[1], s[2]
        return stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - (8.0 / 3.0) * z])

    k1 = derivative(s)
    k2 = derivative(s + 0.5 * LORENZ_DT * k1)
    k3 = derivative(s + 0.5 * LORENZ_DT * k2)
    k4 = derivative(s + LORENZ_DT * k3)
    return s + LORENZ_DT / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)


def _lorenz(lib: Any) -> Callable:
    def run(s: Any) -> Any:
        def step(s: Any, _: None) -> tuple:
            s = _runge_kutta(lib.numpy.stack, s)
            return s, s

        return lib.lax.scan(step, s, None, length=LORENZ_STEPS)

    return run


def _lorenz_torch(compiled: bool) -> Callable:
    def build(s: Any) -> Callable[[], Any]:
        import torch

        def step(s: Any) -> Any:
            return _runge_kutta(torch.stack, s)

        step = torch.compile(step) if compiled else step

        def run() -> Any:
            now, path = s, []
            for _ in range(LORENZ_STEPS):
                now = step(now)
                path.append(now)
            return now, torch.stack(path)

        return run

    return build


# ---------------------------------------------------------------- N-body
def _bodies() -> tuple:
    rng = np.random.default_rng(0)
    mass = rng.uniform(0.5, 1.5, BODIES).astype(np.float32) / BODIES
    position, velocity = rng.standard_normal((2, BODIES, 3), np.float32)
    return position, 0.1 * velocity, mass


def _move(sqrt: Callable, position: Any, velocity: Any, mass: Any) -> tuple:
    """A step of the symplectic Euler method under softened gravity."""
    apart = position[None, :, :] - position[:, None, :]
    square = (apart * apart).sum(-1) + 0.01
    pull = mass[None, :] / (square * sqrt(square))
    velocity = velocity + NBODY_DT * (pull[:, :, None] * apart).sum(1)
    return position + NBODY_DT * velocity, velocity


def _nbody(lib: Any) -> Callable:
    def run(position: Any, velocity: Any, mass: Any) -> tuple:
        def step(_: Any, state: tuple) -> tuple:
            return _move(lib.numpy.sqrt, *state, mass)

        return lib.lax.fori_loop(0, NBODY_STEPS, step, (position, velocity))

    return run


def _nbody_torch(compiled: bool) -> Callable:
    def build(position: Any, velocity: Any, mass: Any) -> Callable[[], Any]:
        import torch

        def step(position: Any, velocity: Any, mass: Any) -> tuple:
            return _move(torch.sqrt, position, velocity, mass)

        step = torch.compile(step) if compiled else step

        def run() -> tuple:
            state = position, velocity
            for _ in range(NBODY_STEPS):
                state = step(*state, mass)
            return state

        return run

    return build


ROWS = [
    Row(
        "Lorenz, RK4, 20,000 steps",
        "simulation",
        inputs=_lorenz_start,
        program=_lorenz,
        torch={"eager loop": _lorenz_torch(False), "loop of a compiled step": _lorenz_torch(True)},
        tolerance=1e-4,  # 20,000 roundings, amplified by the system's e**0.9 a unit of time
    ),
    Row(
        "64 bodies, 1,000 steps",
        "simulation",
        inputs=_bodies,
        program=_nbody,
        torch={"eager loop": _nbody_torch(False), "loop of a compiled step": _nbody_torch(True)},
        # per pair 3 differences, 6 for the square, 1 of softening, 3 for the pull, 6 to sum it
        flops=NBODY_STEPS * BODIES**2 * 19.0,
        tolerance=1e-5,  # 1,000 roundings of sums, amplified by close encounters
    ),
]
