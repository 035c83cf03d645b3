"""Without this benchmarks could rot unseen: rows that fail, or publish times of wrong results."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

import nr

HERE = Path(__file__).parent.parent / "benchmarks"
MODULES = ("row", "calibrate", "programs", "worker", "report", "run")


@pytest.fixture(scope="module")
def bench():
    """The benchmarks' modules, which are scripts' and in no package."""
    known = set(sys.modules)
    sys.path.insert(0, str(HERE))
    yield {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(HERE))
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in MODULES:
            del sys.modules[name]


def test_every_program_can_be_traced(bench):
    rows = bench["programs"].ROWS
    assert len(rows) >= 45
    for row in rows.values():
        assert row.group in bench["row"].GROUPS
        if row.program and row.jit:
            args = bench["row"].tree_map(nr.numpy.array, row.inputs())
            args = row.setup(nr, *args) if row.setup else args
            out = nr.eval_shape(row.program(nr), *args)
            assert len(list(bench["row"].leaves(row.seen(out)))) > 0, row.name
            carried = nr.tree.structure(args[: row.carry])
            assert not row.carry or nr.tree.structure(out[: row.carry]) == carried, row.name


def test_row_runs_in_its_own_process(bench):
    row = bench["programs"].ROWS["eager add of 10 numbers"]
    variants = [("nr", ""), ("numpy", "")]
    results, unlike = bench["run"].run_row(row, variants, 1, 1, 0.001)
    assert unlike == []
    for result in results:
        assert result.error is None
        assert 0 < result.steady < result.first < 1


def test_failing_program_leaves_the_rest(bench):
    row = bench["programs"].ROWS["80 leaves in, 1 out"]  # NumPy has no program for it
    (ours, theirs), _ = bench["run"].run_row(row, [("nr", ""), ("numpy", "")], 1, 1, 0.001)
    assert ours.error is None and ours.steady > 0
    assert theirs.error == "TypeError: 'NoneType' object is not callable"


@pytest.mark.parametrize(
    "theirs, how",
    [
        ([np.array([1.0, 2.0 + 1e-6])], None),
        ([np.array([1.0, 2.0 + 1e-4])], "5.0e-05 (tolerance 1e-05)"),
        ([np.array([1.0, np.nan])], "results that are not finite"),
        ([np.array([[1.0, 2.0]])], "shapes (2,) and (1, 2)"),
        ([np.array([1.0, 2.0])] * 2, "1 results and 2"),
    ],
)
def test_other_results_are_found(bench, tmp_path, theirs, how):
    np.savez(tmp_path / "a.npz", np.array([1.0, 2.0]))
    np.savez(tmp_path / "b.npz", *theirs)
    row = bench["row"].Row("x", "rows", tolerance=1e-5)
    assert bench["run"].differences(row, tmp_path / "a.npz", tmp_path / "b.npz") == how


def test_floor_is_the_larger_one(bench):
    rates = bench["calibrate"].Calibration(1e9, {1: 8.0, 1024: 2e9}, {1: 1.0, 1024: 1e9})
    assert rates.seconds(0, 0, 0) is None
    assert rates.seconds(5000, 1024, 0) == (5e-6, "flops")
    assert rates.seconds(500, 1024, 0) == (1024 / 2e9, "bytes")
    assert rates.seconds(500, 1000, 24) == (1024 / 2e9, "bytes")  # mostly read
    assert rates.seconds(500, 512, 512) == (1024 / 1e9, "bytes")


def test_page_says_what_is_missed(bench):
    Row, Result = bench["row"].Row, bench["report"].Result

    def outcome(name, ours, theirs, unlike=(), **row):
        return Row(name, "rows", **row), [ours, *theirs], list(unlike)

    rates = bench["calibrate"].Calibration(1e9, {1 << 20: 1e9}, {1 << 20: 1e9})
    text = bench["report"].page(
        [
            outcome(
                "ahead",
                Result("nr", first=0.1, steady=0.001, memory=2 << 20),
                [
                    Result("jax", first=0.2, steady=0.008),
                    Result("torch", "eager", first=0.1, steady=0.005),
                    Result("torch", "compile", first=9.0, steady=0.004),
                    Result("torch", "broken", error="RuntimeError: no compiler"),
                ],
            ),
            outcome(
                "behind",
                Result("nr", first=0.3, steady=0.004),
                [Result("jax", first=0.2, steady=0.001)],
                read=1e6,
                floor_factor=1.3,
                why="Because.",
            ),
            outcome("fails", Result("nr", error="SIGSEGV"), [Result("jax", first=1, steady=1)]),
            outcome(
                "wrong",
                Result("nr", first=0.1, steady=0.001),
                [Result("jax", first=1, steady=1)],
                ["nr and jax differ: 1.0e-01 (tolerance 1e-05)"],
            ),
        ],
        rates,
        ["A machine."],
        1,
    )
    assert "over 2 rows: 1.00**" in text  # the mean of 4 and 1/4
    assert "| ahead | 1.00 ms | 8.00 ms | 4.00 ms (compile) | 4.00 | - |" in text
    assert "| 2.0 / - / - |" in text
    assert "- behind: 0.25. Because.\n" in text
    assert "- behind: 1.50 times." in text
    assert "- behind: 4.00 times the floor (target 1.3). Because." in text
    assert "**Failed:** 3.\n" in text
    assert "- ahead: PyTorch (broken): RuntimeError: no compiler" in text
    assert "- fails: nr: SIGSEGV" in text and "| fails | failed | 1.00 s |" in text
    assert "- wrong: nr and jax differ" in text and "| wrong | differs | differs |" in text
