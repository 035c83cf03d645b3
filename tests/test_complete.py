"""Without this, a primitive could lack a rule, a row in a backend's table, a test or its words."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import nr
from nr.core import devices
from nr.core.tracing import Primitive
from tests.cases import ALL_CASES

for _module in pkgutil.walk_packages(nr.__path__, "nr."):  # whatever makes primitives
    importlib.import_module(_module.name)
TESTS = Path(__file__).parent

# Primitives that hold functions, or refer to axes of vmap, have no op case. They are tested in
# these files, under these words.
TESTED_ELSEWHERE = {
    "jit": ("test_jit.py", "jit("),
    "scan": ("test_control_flow.py", "scan("),
    "while": ("test_control_flow.py", "while_loop("),
    "cond": ("test_control_flow.py", "cond("),
    "linear_call": ("test_linear_call.py", "linear_call("),
    "linear_solve": ("test_implicit.py", "custom_linear_solve("),
    "checkpoint": ("test_checkpoint.py", "checkpoint("),
    "name": ("test_checkpoint.py", "checkpoint_name("),
    "custom_vmap_call": ("test_custom_batching.py", "custom_vmap"),
    "custom_jvp_call": ("test_custom_derivatives.py", "custom_jvp"),
    "custom_vjp_call": ("test_custom_derivatives.py", "custom_vjp"),
    "custom_lin": ("test_custom_derivatives.py", "custom_vjp"),
    "pure_callback": ("test_callbacks.py", "pure_callback("),
    "io_callback": ("test_callbacks.py", "io_callback("),
    "in_lanes": ("test_checked.py", "in lane"),
    "debug_callback": ("test_callbacks.py", "debug.callback("),
    **{
        name: ("test_vmap.py", f"{name}(")
        for name in ("psum", "pmax", "pmin", "all_gather", "ppermute", "axis_index")
    },
}
NO_JVP = dict.fromkeys(
    ("hessenberg", "tridiagonal", "schur"),
    "the forms that LAPACK finds jump with their input; JAX has no rules for them either",
)
NO_ROW = {
    "custom_lin": "a custom reverse rule in a linear program: it is transposed, never run",
    **dict.fromkeys(
        ("psum", "pmax", "pmin", "all_gather", "ppermute", "axis_index"),
        "rewritten by the vmap whose axis it names; without one it is an error",
    ),
}
NO_BATCH: dict[str, str] = {}

NAMES = sorted(Primitive.all)


@pytest.mark.parametrize("name", NAMES)
def test_rules(name):
    primitive = Primitive.all[name]
    assert callable(primitive.abstract_eval)
    assert (primitive.jvp is None) == (name in NO_JVP), "jvp: add one, or a reason"
    assert (primitive.batch is None) == (name in NO_BATCH), "batch: add one, or a reason"


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_tables(platform):
    """Also without a GPU the CUDA table can be made, and is complete."""
    table = devices.backend(platform).table
    assert sorted(set(NAMES) - set(table) - set(NO_ROW)) == [], "primitives without a row"
    assert sorted(set(table) - set(NAMES)) == [], "rows without a primitive"
    assert all(callable(row) for row in table.values())


def test_every_primitive_has_a_case():
    covered = {case.primitive for case in ALL_CASES}
    assert sorted(set(NAMES) - covered - set(TESTED_ELSEWHERE)) == []
    assert sorted(covered - {None} - set(NAMES)) == [], "cases of unknown primitives"
    assert sorted(covered & set(TESTED_ELSEWHERE)) == [], "listed, but covered by a case"


@pytest.mark.parametrize("name", sorted(TESTED_ELSEWHERE))
def test_the_rest_is_tested_where_it_says(name):
    file, word = TESTED_ELSEWHERE[name]
    assert word in (TESTS / file).read_text()


def test_reasons_are_about_primitives():
    for reasons in (TESTED_ELSEWHERE, NO_JVP, NO_ROW, NO_BATCH):
        assert sorted(set(reasons) - set(NAMES)) == []


def test_differentiable_primitives_have_cases_with_derivatives():
    """A case that checks derivatives for every primitive whose tangents are not always zero."""
    checked = {case.primitive for case in ALL_CASES if case.grad is not False}
    never = {case.primitive for case in ALL_CASES} - checked - {None}
    assert sorted(never) == sorted(ZERO_DERIVATIVE | CHECKED_BY_NAME | set(NO_JVP))


# What has derivative zero by definition, being discrete ...
ZERO_DERIVATIVE = {
    "lu_pivots_to_permutation",
    "pivot_columns",
    "check_index",
    *("eq", "ne", "lt", "le", "gt", "ge", "is_finite", "nextafter", "argmax", "argmin"),
    *("and", "or", "xor", "not", "shift_left", "shift_right_logical", "shift_right_arithmetic"),
    *("population_count", "clz", "reduce_and", "reduce_or", "reduce_xor"),
    *("bitcast_convert_type", "threefry2x32", "random_word"),
}
# ... and what has a derivative that is not the slope of its values (test_lax_grad.py, by name).
CHECKED_BY_NAME = {"stop_gradient", "reduce_precision"}


def test_names_of_cases_are_unique():
    ids = [(case.name, dtype) for case in ALL_CASES for dtype in case.dtypes]
    assert sorted({x for x in ids if ids.count(x) > 1}) == []


PUBLIC = sorted(
    name
    for name, value in vars(nr.lax).items()
    if not name.startswith("_") and callable(value) and not inspect.ismodule(value)
)


def test_public_names_of_lax_have_docstrings():
    assert len(PUBLIC) > 100
    undocumented = [
        name for name in PUBLIC if not (inspect.getdoc(getattr(nr.lax, name)) or "").strip()
    ]
    assert undocumented == []
