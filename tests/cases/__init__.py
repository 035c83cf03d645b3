"""The table of op cases."""

from tests.cases import (
    conv_cases,
    convert_cases,
    dot_cases,
    elementwise_cases,
    fft_cases,
    indexing_cases,
    linalg_cases,
    reduce_cases,
    select_cases,
    shape_cases,
    sort_cases,
    special_cases,
    threefry_cases,
    window_cases,
)

ALL_CASES = [
    *elementwise_cases.CASES,
    *special_cases.CASES,
    *convert_cases.CASES,
    *shape_cases.CASES,
    *select_cases.CASES,
    *reduce_cases.CASES,
    *sort_cases.CASES,
    *dot_cases.CASES,
    *conv_cases.CASES,
    *window_cases.CASES,
    *indexing_cases.CASES,
    *threefry_cases.CASES,
    *linalg_cases.CASES,
    *fft_cases.CASES,
]
