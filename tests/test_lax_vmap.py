"""Without this, vmap of an operation could differ from looping over the lanes and stacking."""

import pytest

from tests.cases import ALL_CASES
from tests.util import check_vmap


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{case.name}-{case.dtypes[0]}") for case in ALL_CASES if case.batch],
)
def test_vmap(case):
    check_vmap(case, case.dtypes[0])
