"""Without these tests fusion could get worse, or kernels malformed, and only time would tell.

The goldens in tests/goldens are the kernels of common programs; `python -m tests.loop_ir` writes
them anew. Read the difference: fewer kernels and fewer loads are better.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler.expr import Expr, compiling, const, convert
from nr.backends.compiler.index import Index, Loop, index_of
from nr.backends.compiler.loops import Buffer, Kernel, Pass, Reducer, Store, load, validate
from nr.backends.compiler.plan import Launch, Planner, Target
from nr.backends.compiler.simplify import simplify
from nr.backends.cpu import vm
from nr.backends.cpu.assembly import Assembler
from tests.interpreted import interpreting
from tests.loop_ir import GOLDENS, loop_ir

f32 = np.float32


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, f32)


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    mean = jnp.mean(x, axis=-1, keepdims=True)
    centered = x - mean
    variance = jnp.mean(centered * centered, axis=-1, keepdims=True)
    return centered * lax.rsqrt(variance + 1e-5) * scale + shift


def rms_norm(x: Any, scale: Any) -> Any:
    return x * lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6) * scale


def batch_norm(x: Any, scale: Any, shift: Any) -> Any:
    mean = jnp.mean(x, axis=0)
    variance = jnp.mean((x - mean) ** 2, axis=0)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * scale + shift


def softmax(x: Any) -> Any:
    y = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
    return y / jnp.sum(y, axis=-1, keepdims=True)


def gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + jnp.tanh(0.79788456 * (x + 0.044715 * x * x * x)))


def cross_entropy(logits: Any, labels: Any) -> Any:
    logits = logits - lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    log_p = logits - jnp.log(jnp.sum(jnp.exp(logits), axis=-1, keepdims=True))
    picked = jnp.take_along_axis(log_p, labels[:, None], axis=-1)
    return -jnp.mean(picked)


def adam(params: Any, grads: Any, m: Any, v: Any, step: Any) -> Any:
    m = nr.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
    v = nr.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
    rate = 1e-3 * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    params = nr.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), params, m, v)
    return params, m, v


def attention_scores(q: Any, k: Any, mask: Any) -> Any:
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.float32(8.0)
    return softmax(jnp.where(mask, scores, f32(-1e30)))


def rope(x: Any) -> Any:
    n, d = x.shape
    angle = jnp.arange(n, dtype=f32)[:, None] * (1e-4 ** (jnp.arange(d // 2, dtype=f32) / (d // 2)))
    a, b = x[:, : d // 2], x[:, d // 2 :]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=1)


LEAVES = [ones(256, 128), ones(128), ones(128, 10)]
PROGRAMS: dict[str, tuple[Callable, tuple]] = {
    "softmax": (softmax, (ones(512, 1000),)),
    "log_softmax": (nr.nn.log_softmax, (ones(512, 1000),)),
    "softmax_grad": (
        nr.grad(lambda x, y: jnp.sum(softmax(x) * y)), (ones(512, 1000), ones(512, 1000)),
    ),
    "layer_norm": (layer_norm, (ones(512, 768), ones(768), ones(768))),
    "layer_norm_grad": (
        nr.grad(lambda x, s, b, y: jnp.sum(layer_norm(x, s, b) * y), (0, 1, 2)),
        (ones(512, 768), ones(768), ones(768), ones(512, 768)),
    ),
    "rms_norm": (rms_norm, (ones(512, 768), ones(768))),
    "batch_norm": (batch_norm, (ones(256, 100), ones(100), ones(100))),
    "gelu_bias_residual": (
        lambda x, b, r: gelu(x + b) + r, (ones(512, 768), ones(768), ones(512, 768)),
    ),
    "dense_gelu_grad": (
        nr.grad(lambda w, b, x: jnp.sum(gelu(x @ w + b) ** 2), (0, 1)),
        (ones(256, 128), ones(128), ones(64, 256)),
    ),
    "adam": (adam, (LEAVES, LEAVES, LEAVES, LEAVES, f32(3))),
    "cross_entropy_grad": (
        nr.value_and_grad(cross_entropy), (ones(256, 1000), np.zeros(256, np.int32)),
    ),
    "attention_scores": (
        attention_scores, (ones(2, 64, 4, 64), ones(2, 64, 4, 64), np.ones((64, 64), bool)),
    ),
    "rope": (rope, (ones(128, 64),)),
    "pad_concatenate": (
        lambda x, y: jnp.pad(jnp.concatenate([x, y * 2], axis=0), ((1, 1), (0, 0))) + 1,
        (ones(30, 64), ones(20, 64)),
    ),
    "embedding": (
        lambda table, i, b: table[i] * 2 + b,
        (ones(1000, 64), np.zeros((8, 16), np.int32), ones(64)),
    ),
    "argmax": (
        lambda x: (jnp.argmax(x, axis=-1), jnp.max(x, axis=-1)), (ones(300, 1000),),
    ),
    "column_sums": (lambda x: jnp.sum(x * x, axis=0), (ones(4096, 64),)),
    "total": (lambda x: (jnp.sum(x), jnp.max(x)), (ones(1000, 1000),)),
    "transpose": (lambda x: x.T * 2, (ones(300, 200),)),
    "bfloat16": (
        lambda x, y: jnp.tanh(x) * y,
        (jnp.ones((64, 64), jnp.bfloat16), jnp.ones(64, jnp.bfloat16)),
    ),
    "scan": (
        lambda h, xs, w: lax.scan(lambda h, x: (jnp.tanh(h @ w + x), h), h, xs),
        (ones(32, 64), ones(10, 32, 64), ones(64, 64)),
    ),
    "while": (
        lambda x: lax.while_loop(lambda s: s[1] < 10, lambda s: (jnp.sin(s[0]), s[1] + 1), (x, 0)),
        (ones(300, 300),),
    ),
    "cond": (
        lambda p, x: lax.cond(p, lambda x: jnp.sin(x), lambda x: x * 2, x), (True, ones(100, 100)),
    ),
    "mlp_grad": (
        nr.value_and_grad(
            lambda p, x, y: cross_entropy(gelu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"], y)
        ),
        (
            {"w1": ones(784, 128), "b1": ones(128), "w2": ones(128, 10), "b2": ones(10)},
            ones(64, 784), np.zeros(64, np.int32),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_loop_ir_of_common_programs(name: str) -> None:
    f, args = PROGRAMS[name]
    golden = (GOLDENS / f"{name}.txt").read_text()
    assert loop_ir(f, *args) == golden, "if it is better, write it: python -m tests.loop_ir"


# ---------------------------------------------------------------- facts about plans
def kernels(text: str) -> int:
    return len(re.findall(r"^ *kernel ", text, re.M))


def test_normalizations_are_one_kernel() -> None:
    for name in ("softmax", "log_softmax", "layer_norm", "rms_norm", "batch_norm", "softmax_grad"):
        f, args = PROGRAMS[name]
        assert kernels(loop_ir(f, *args)) == 1, name


def test_plans_do_not_depend_on_names_or_earlier_plans() -> None:
    f, args = PROGRAMS["mlp_grad"]
    first = loop_ir(f, *args)
    loop_ir(*[softmax, ones(3, 5)])
    assert loop_ir(lambda *a: f(*a), *args) == first


def test_what_is_not_needed_is_not_computed() -> None:
    def f(x: Any) -> Any:
        y = jnp.exp(x)  # twice the same, and one that nothing reads
        jnp.sin(x)
        return jnp.sum(y * jnp.exp(x)), x.shape[0]

    text = loop_ir(f, ones(30, 100))
    assert text.count("exp(") == 1 and "sin" not in text


def test_rows_with_many_results_are_read_along_their_memory() -> None:
    text = loop_ir(lambda x: (x.sum(1), x.max(1), x.min(1), jnp.sum(x * x, 1)), ones(1000, 256))
    assert kernels(text) == 1 and "for i1 in 256 vector reduce" in text


def test_a_transposed_copy_is_not_made_in_the_order_of_sums() -> None:
    def f(x: Any) -> Any:
        y = jnp.tanh(x) * 2
        return jnp.max(y, (2, 3)), jnp.transpose(y, (0, 2, 3, 1))

    text = loop_ir(f, ones(16, 32, 28, 28))
    assert "%" not in text and "//" not in text  # indices that jump from element to element


def test_relu_is_one_operation() -> None:
    text = loop_ir(nr.nn.relu, ones(100))
    assert "max(in0[i0], 0.0)" in text and "select" not in text


# ---------------------------------------------------------------- validation
class Parts:
    """A well-formed kernel of two passes, whose parts a test may spoil."""

    def __init__(self) -> None:
        self.i, self.j = Loop("i", 8), Loop("j", 16, reduced=True)
        self.x, self.out = Buffer("x", "f32", 128), Buffer("out", "f32", 128)
        self.sums = Buffer("sums", "f32", 8)
        self.place = index_of(self.i) * 16 + index_of(self.j)
        self.value: Any = load(self.x, self.place)
        self.sum = Reducer("r0", (self.value,), (const(0, "f32"),), lambda a, b: (a[0] + b[0],))
        self.scaled = Store(self.out, self.place, self.value * self.sum.result())
        self.total = Store(self.sums, index_of(self.i), self.sum.result())

    def kernel(self) -> Kernel:
        passes = [Pass([self.sum], [], [self.total]), Pass([], [self.scaled], [])]
        return Kernel([self.i], [self.j], self.j, passes, 1, 16)


def test_a_well_formed_kernel_is_valid() -> None:
    with compiling():
        validate(Parts().kernel())


def refused(spoil: Callable[[Parts], Any], message: str) -> None:
    """A kernel is not valid once a test has spoiled it (or given another)."""
    with compiling():
        parts = Parts()
        kernel = spoil(parts)
        with pytest.raises(AssertionError, match=message):
            validate(kernel if type(kernel) is Kernel else parts.kernel())


def test_accesses_out_of_bounds_are_refused() -> None:
    def store(p: Parts) -> None:
        p.scaled.index = p.place + 1

    def read(p: Parts) -> None:
        p.scaled.value = load(p.x, p.place - 1)

    refused(store, r"out\[.*runs over \(1, 128\), of 128")
    refused(read, r"x\[.*runs over \(-1, 126\)")


def test_guarded_accesses_may_be_out_of_bounds() -> None:
    with compiling():
        parts = Parts()
        guard = parts.value > 0
        parts.scaled.value = load(parts.x, parts.place + 5, guard)
        validate(parts.kernel())


def test_a_sum_that_is_not_complete_is_refused() -> None:
    def early(p: Parts) -> Kernel:
        passes = [Pass([p.sum], [p.scaled], [p.total])]
        return Kernel([p.i], [p.j], p.j, passes, 1, 16)

    def never(p: Parts) -> Kernel:
        return Kernel([p.i], [p.j], p.j, [Pass([], [p.scaled], [])], 1, 16)

    refused(early, "r0 is used before it is complete")
    refused(never, "r0 is used before it is complete")


def test_loops_of_elsewhere_are_refused() -> None:
    other = Loop("k", 4)

    def read(p: Parts) -> None:
        p.scaled.value = load(p.x, index_of(other))

    def store(p: Parts) -> None:
        p.scaled.index = index_of(other)

    def vector(p: Parts) -> Kernel:
        return Kernel([p.i], [p.j], other, [Pass([], [p.scaled], [])], 1, 16)

    def twice(p: Parts) -> Kernel:
        return Kernel([p.i], [p.j, p.i], p.j, [Pass([p.sum], [], [p.total])], 1, 16)

    refused(read, "uses an outside loop")
    refused(store, "uses an outside loop")
    refused(vector, "the vector loop k is not a loop of the kernel")
    refused(twice, "a loop occurs twice")


def test_after_a_pass_only_kept_loops_exist() -> None:
    def after(p: Parts) -> Kernel:
        passes = [Pass([p.sum], [], [Store(p.out, p.place, p.sum.result())])]
        return Kernel([p.i], [p.j], p.j, passes, 1, 16)

    refused(after, "uses an outside loop")


def test_types_that_do_not_match_are_refused() -> None:
    def stored(p: Parts) -> None:
        p.scaled.value = convert(p.value, "f64")

    def identity(p: Parts) -> None:
        p.sum.identity = (const(0, "i32"),)

    refused(stored, "out: f64")
    refused(identity, "r0: f32, i32")


def test_operations_of_two_types_are_refused_when_they_are_built() -> None:
    with compiling(), pytest.raises(AssertionError, match="add: f32 and f64"):
        x: Expr = const(1.5, "f32") + const(2.5, "f64")
        assert x is None, "not reached"


def test_text_of_a_kernel() -> None:
    with compiling():
        assert str(Parts().kernel()) == "\n".join([
            "kernel width=16:",
            "  for i in 8 parallel:",
            "    for j in 16 vector reduce:",
            "      t0:f32 = x[16*i + j]",
            "      r0 <- add t0",
            "    sums[i] = r0",
            "    for j in 16 vector reduce:",
            "      out[16*i + j] = mul(t0, r0)",
        ])  # fmt: skip


def test_equal_expressions_are_one() -> None:
    with compiling():
        i = Loop("i", 8)
        x = Buffer("x", "f32", 8)
        assert load(x, index_of(i)) is load(x, Index({i: 1}))
        assert load(x, index_of(i)) + 1.0 is load(x, index_of(i)) + 1.0
        assert const(0.0, "f32") is not const(-0.0, "f32")
        assert const(float("nan"), "f32") is const(float("nan"), "f32")


# ---------------------------------------------------------------- tasks
def task_sizes(f: Callable, *args: Any) -> list[tuple[int, int, int]]:
    """(units, units of a task, width of the vector loop if tasks are ranges of it) of kernels."""
    found: list[tuple[int, int, int]] = []
    grains: list[int] = []
    original = Assembler._kernel

    def kernel(self: Assembler, step: Any) -> tuple:
        result = original(self, step)
        grains.append(result[3] if type(step) is Launch else 1)
        return result

    planner = Planner(simplify(nr.jit(f).lower(*args).jaxpr), Target(64))
    with mock.patch.object(Assembler, "_kernel", kernel):
        words = Assembler(planner).words
    at = 0
    while at < len(words) and words[at] == vm.REGION:
        stages, at = words[at + 2], at + 5
        for _ in range(stages):
            units, chunk, arguments = words[at + 3], words[at + 4], words[at + 5]
            found.append((units, chunk, grains[len(found)]))
            at += 6 + 2 * arguments
    assert len(found) == len(grains), "not all steps are regions"
    return found


@pytest.mark.parametrize("shape", [(8, 1000, 2), (64, 250, 6), (40, 700, 3), (500, 90, 2)])
def test_tasks_are_whole_vectors(shape: tuple[int, ...]) -> None:
    """Steps that share tasks have other numbers of units each, and loops of whole vectors no end:
    a task that is not whole vectors would write into the next one's range, and beyond the last."""

    def f(x: Any) -> Any:
        y = softmax(x)
        centered = y - jnp.mean(y, axis=1, keepdims=True)
        variance = jnp.mean(centered * centered, axis=1, keepdims=True)
        return jnp.transpose(centered * lax.rsqrt(variance + 0.5), (2, 1, 0))

    x = np.random.default_rng(0).normal(size=shape)
    for units, chunk, width in task_sizes(f, x):
        assert chunk >= units or chunk % width == 0, f"tasks of {chunk} of {units}, width {width}"
    with interpreting():
        want = f(jnp.asarray(x))
    # f64, sums of at most a thousand terms.
    np.testing.assert_allclose(np.asarray(nr.jit(f)(x)), np.asarray(want), rtol=1e-11, atol=1e-12)


def test_products_of_exchanged_extents_do_not_share_loops() -> None:
    """The results have the same size: as one kernel, one of them would be read across its rows."""

    def f(x: Any, y: Any, z: Any) -> Any:
        return jnp.einsum("kd,kn->dn", y, x), jnp.einsum("nk,kd->nd", x, z)

    y = np.zeros((197, 64), np.float32)
    text = loop_ir(f, np.zeros((197, 197), np.float32), y, y)
    assert text.count("kernel width") == 2 and "//" not in text
