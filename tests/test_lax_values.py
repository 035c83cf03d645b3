"""Without this, an operation of nr.lax could give numbers, shapes or dtypes other than NumPy's."""

import pytest

from tests.cases import ALL_CASES
from tests.util import check_value


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case.name}-{dtype}")
        for case in ALL_CASES
        for dtype in case.dtypes
    ],
)
def test_value(case, dtype):
    check_value(case, dtype)
