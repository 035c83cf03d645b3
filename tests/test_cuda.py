"""Without these, rows that work over NumPy could fail over CuPy (skipped where there is no GPU)."""

from __future__ import annotations

import pytest

import nr
from tests.cases import ALL_CASES
from tests.cases.base import OpCase
from tests.util import check_on_device

pytestmark = pytest.mark.skipif(
    nr.devices()[0].platform != "cuda", reason="no CUDA device, or no CuPy"
)


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.name)
def test_values_on_the_gpu_are_those_of_the_cpu(case: OpCase):
    for dtype in case.dtypes:
        check_on_device(case, dtype, nr.device("cuda:0"))
