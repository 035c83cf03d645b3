"""Without these, compiled programs could need more memory than planned, or more with every step."""

from __future__ import annotations

import gc

import numpy as np

import nr
import nr.numpy as jnp
from nr.backends.cpu import memory


def _training() -> tuple:
    rng = np.random.default_rng(0)
    sizes = (64, 512, 512, 10)
    params = [
        {"w": jnp.asarray(rng.standard_normal((m, n), np.float32) * 0.05), "b": jnp.zeros(n)}
        for m, n in zip(sizes[:-1], sizes[1:])
    ]
    x = jnp.asarray(rng.standard_normal((960, 64), np.float32))

    def loss(params, x):
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer["w"] + layer["b"])
        return jnp.mean((x @ params[-1]["w"] + params[-1]["b"]) ** 2)

    def step(params, x):
        return nr.tree.map(lambda p, g: p - 0.01 * g, params, nr.grad(loss)(params, x))

    return step, params, x


def test_the_planned_peak_is_the_measured_one(monkeypatch):
    step, params, x = _training()
    f = nr.jit(step)
    plan = nr.plan(f, params, x)
    f(params, x)
    gc.collect()
    in_use, peak = memory.in_use_bytes(), []
    acquire, empty = memory.acquire, memory.empty

    def measured(make):
        def call(*args):
            result = make(*args)
            peak.append(memory.in_use_bytes())
            return result

        return call

    # A fresh program, whose entry takes the measuring functions.
    monkeypatch.setattr(memory, "acquire", measured(acquire))
    monkeypatch.setattr(memory, "empty", measured(empty))
    out = nr.jit(lambda params, x: step(params, x))(params, x)
    small = sum([a.nbytes for a in nr.tree.leaves(out) if a.nbytes < memory.SMALL])
    taken = max(peak) - in_use + small
    # Temporaries are one block, whose size the pool rounds up.
    wanted = plan.output_bytes + memory.size_class(plan.temporary_bytes)
    assert abs(taken - wanted) <= 0.1 * wanted + 2 * memory.SMALL, (taken, wanted)


def test_ten_thousand_steps_take_no_more_memory():
    f = nr.jit(lambda w, x: w - 0.01 * nr.grad(lambda w: jnp.sum(jnp.tanh(x @ w) ** 2))(w))
    w, x = jnp.ones((128, 128)), jnp.ones((128, 128))
    for _ in range(100):
        w = f(w, x)
    gc.collect()
    before = memory.in_use_bytes() + memory.cached_bytes()
    for _ in range(10_000):
        w = f(w, x)
    gc.collect()
    assert memory.in_use_bytes() + memory.cached_bytes() == before


def test_donated_arguments_are_freed():
    step, params, x = _training()
    f = nr.jit(step, donate_argnums=0)
    params = f(params, x)
    gc.collect()
    before = memory.in_use_bytes()
    for _ in range(20):
        params = f(params, x)
    gc.collect()
    assert memory.in_use_bytes() == before


def test_the_plan_names_the_users_lines():
    step, params, x = _training()
    plan = nr.plan(step, params, x)
    assert plan.largest
    assert any(["test_compiled_memory.py" in a.source for a in plan.largest])
    assert plan.largest[0].nbytes == max([a.nbytes for a in plan.largest])


def test_the_plan_counts_operations():
    x = nr.ShapeDtypeStruct((256, 512), "float32")
    y = nr.ShapeDtypeStruct((512, 128), "float32")
    assert nr.plan(lambda x, y: x @ y, x, y).flops == 2 * 256 * 512 * 128


def test_a_plan_needs_no_memory_of_its_size():
    x = nr.ShapeDtypeStruct((1 << 20, 1 << 20), "float32")
    plan = nr.plan(lambda x: jnp.sum(jnp.sin(x) + 1), x)
    assert plan.argument_bytes == 4 << 40
