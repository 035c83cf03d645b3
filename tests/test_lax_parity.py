"""Without this, nr.lax could differ from jax.lax where both NumPy and the op cases are silent.

The tables of cases are run once more with jax.lax in place of nr.lax: what a case says in the
names that both libraries have must give the same numbers, shapes and dtypes.
"""

import builtins
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")

import nr  # noqa: E402
from tests.util import arrays, assert_close, leaves, tolerance  # noqa: E402

CASES = Path(__file__).parent / "cases"
# The other files name more of nr than nr.lax.
FILES = [
    "elementwise_cases",
    "special_cases",
    "select_cases",
    "reduce_cases",
    "sort_cases",
    "dot_cases",
    "conv_cases",
]


def table(name, nr):
    """The cases of a file, written for another library of nr's names."""

    def imported(module, *args, **kwargs):
        return nr if module == "nr" else builtins.__import__(module, *args, **kwargs)

    scope = {"__builtins__": {**vars(builtins), "__import__": imported}, "__name__": name}
    exec(compile((CASES / f"{name}.py").read_text(), name, "exec"), scope)  # noqa: S102
    return scope["CASES"]


def pairs():
    """The first two cases of every primitive: jax compiles each case anew, which takes long."""
    count = Counter()
    for name in FILES:
        for a, b in zip(table(name, nr), table(name, SimpleNamespace(lax=jax.lax)), strict=True):
            # XLA's CPU code flushes subnormal numbers to zero: there NumPy alone is the judge.
            # And jax.lax.reduce does not take Python scalars, which its cases have.
            if "special values" in a.name or a.primitive is None:
                continue
            count[a.primitive] += 1
            if count[a.primitive] <= 2:
                yield pytest.param(a, b, id=f"{a.name}-{a.dtypes[0]}")


@pytest.mark.parametrize(("ours", "theirs"), list(pairs()))
def test_parity(ours, theirs):
    dtype = ours.dtypes[0]
    (args,) = ours.samples(dtype, 1)
    with jax.enable_x64(True):
        out = theirs.fun(*map(jax.numpy.asarray, args))
        expected = [np.asarray(x) for x in jax.tree.leaves(out)]
    got = leaves(ours.fun(*arrays(args)))
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert_close(a, b, tolerance(ours, a.dtype), f"output {i} beside jax")
