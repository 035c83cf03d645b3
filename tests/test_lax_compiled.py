"""Without this, a batched or differentiated operation could be compiled wrongly."""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.backends.compiler.checks import with_errors
from nr.backends.compiler.plan import Planner, TableCall
from nr.backends.compiler.simplify import simplify
from nr.backends.cpu.report import steps_of
from nr.backends.cpu.target import target
from tests.cases import ALL_CASES
from tests.util import LANES, arrays, assert_close, grad_dtype, leaves, tolerance


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{case.name}-{case.dtypes[0]}") for case in ALL_CASES if case.batch],
)
def test_vmap(case):
    samples = case.samples(case.dtypes[0], LANES)
    lanes = arrays([np.stack(xs) for xs in zip(*samples, strict=True)])
    eager = leaves(nr.vmap(case.fun)(*lanes))
    compiled = leaves(nr.jit(nr.vmap(case.fun))(*lanes))
    for i, (got, want) in enumerate(zip(compiled, eager, strict=True)):
        assert_close(got, want, tolerance(case, want.dtype), f"output {i}")


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case.name}-{dtype}")
        for case in ALL_CASES
        if (dtype := grad_dtype(case)) is not None
    ],
)
def test_vjp(case, dtype):
    (args,) = case.samples(dtype, 1)
    chosen = range(len(args)) if case.grad is True else case.grad
    chosen = [i for i in chosen if args[i].dtype.kind in "fc"]
    args = arrays(args)

    def pulled_back(*xs):
        def of_chosen(*xs):
            full = list(args)
            for i, x in zip(chosen, xs, strict=True):
                full[i] = x
            return case.fun(*full)

        out, pull = nr.vjp(of_chosen, *xs)
        return pull(nr.tree.map(nr.numpy.ones_like, out))

    xs = [args[i] for i in chosen]
    eager, compiled = leaves(pulled_back(*xs)), leaves(nr.jit(pulled_back)(*xs))
    for i, (got, want) in enumerate(zip(compiled, eager, strict=True)):
        # Derivatives of these cases amplify rounding by about as much as they are large.
        scale = max(1.0, np.abs(want).max(initial=0.0, where=np.isfinite(want)))
        assert_close(got, want, 100 * tolerance(case, want.dtype) * scale, f"gradient {i}")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in ALL_CASES])
def test_no_step_in_python(case):
    for dtype in case.dtypes:
        (args,) = case.samples(dtype, 1)
        jaxpr, _ = with_errors(simplify(nr.make_jaxpr(case.fun)(*arrays(args))))
        steps = [step for step, _ in steps_of(Planner(jaxpr, target()).top)]
        names = {step.eqn.primitive.name for step in steps if type(step) is TableCall}
        assert not names, f"{dtype}: {names} would run in Python"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("to", [np.inf, -np.inf, 1.0])
def test_neighbours_of_all_half_floats(dtype: str, to: float) -> None:
    """They are computed as float32, whose neighbours are others."""
    x = jnp.asarray(np.arange(1 << 16, dtype=np.uint16)).view(dtype)
    got, want = (f(x, jnp.full_like(x, to)) for f in (nr.jit(jnp.nextafter), jnp.nextafter))
    number = ~np.isnan(np.asarray(want))
    assert np.array_equal(np.isnan(np.asarray(got)), ~number)
    bits = [np.asarray(y.view("uint16"))[number] for y in (got, want)]
    assert np.array_equal(*bits)
