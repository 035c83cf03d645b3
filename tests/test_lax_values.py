"""Without this, an operation of nr.lax could give numbers, shapes or dtypes other than NumPy's."""

import numpy as np
import pytest

import nr
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


# A reference may compute in a wider dtype, so that the table doesn't tell these from the operand's.
@pytest.mark.parametrize(
    "fun",
    [
        lambda x: nr.lax.convert_element_type(x, "float64"),
        lambda x: nr.lax.full_like(x, 0, "float64"),
        lambda x: nr.lax.dot(x, x, preferred_element_type="float64"),
    ],
    ids=["convert_element_type", "full_like", "dot"],
)
def test_a_dtype_asked_for_is_given(fun):
    x = np.ones(3, np.float32)
    assert fun(x).dtype == nr.jit(fun)(x).dtype == np.float64


def test_an_index_dtype_asked_for_is_given():
    assert nr.lax.argmax(np.ones(3, np.int32), 0, "int64").dtype == np.int64
    assert nr.lax.iota("int64", 3).dtype == np.int64
