"""Without this, jit could change results, retrace equal calls, or report errors differently."""

import pytest

from tests.cases import ALL_CASES
from tests.util import check_errors, check_jit


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case.name}-{dtype}")
        for case in ALL_CASES
        for dtype in case.dtypes[:2]
    ],
)
def test_jit(case, dtype):
    check_jit(case, dtype)


# nr alone binds these, with operands of its own making: no user's operands reach them.
INTERNAL = (
    "select_and_gather_add",
    "select_and_scatter_add",
    "normal_from_uniform",
    "log_of_uniform",
)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case.name}-{case.dtypes[0]}")
        for case in ALL_CASES
        if case.primitive not in INTERNAL
    ],
)
def test_errors(case):
    check_errors(case, case.dtypes[0])
