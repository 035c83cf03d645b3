"""Settings of every test: jaxprs are checked after every transform; the seed is printed."""

import nr
from tests.cases.base import SEED

nr.config.check = True


def pytest_report_header(config):
    return f"nr: jaxpr checks on, seed {SEED} (set NR_TEST_SEED to change it)"
