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
    assert len(rows) >= 75
    for row in rows.values():
        assert row.group in bench["row"].GROUPS
        if row.program and row.jit:
            args = bench["row"].tree_map(nr.numpy.array, row.inputs())
            args = row.setup(nr, *args) if row.setup else args
            out = nr.eval_shape(row.program(nr), *args)
            assert len(list(bench["row"].leaves(row.seen(out)))) > 0, row.name
            carried = nr.tree.structure(args[: row.carry])
            assert not row.carry or nr.tree.structure(out[: row.carry]) == carried, row.name


NETWORKS = [
    "CNN 32-64 step, Adam, 64x32x32x3",
    "small ResNet step, Adam, 32x32x32x3",
    "depthwise-separable network step, Adam, 32x32x32x3",
    "VAE step, Adam, 128x28x28x1",
    "encoder, 6 layers, d 256, T 128: inference",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_network_is_the_same_in_torch(bench, name):
    """In float64, as ReLUs and cancellation leave few digits of gradients in float32."""
    torch = pytest.importorskip("torch")
    row, tree_map = bench["programs"].ROWS[name], bench["row"].tree_map

    def wide(x):
        return x.astype(np.float64) if x.dtype == np.float32 else x

    *params, last = tree_map(wide, row.inputs())
    if row.grad:
        *params, x = params
        args = (*params, x[:2], last[:2])
    else:
        args = (*params, last[:2])
    ours = tree_map(nr.numpy.array, args)
    ours = row.setup(nr, *ours) if row.setup else ours
    out = row.seen(nr.jit(row.program(nr))(*ours))
    with torch.set_grad_enabled(row.grad):
        call = row.torch["eager"](*tree_map(lambda x: torch.from_numpy(np.array(x)), args))
        theirs = [x.detach().numpy() for x in bench["row"].leaves(call())]
    for x, y in zip(bench["row"].leaves(out), theirs, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-10 * np.abs(y).max())


LAYERS = {
    "cnn": "layers: CNN 32-64, 64x32x32x3",
    "resnet": "layers: ResNet-18, 32x32x32x3",
    "language_model": "layers: LSTM language model, 2x256, T 64, B 32",
    "gpt": "layers: GPT, 6 layers, d 256, T 128, B 8",
    "vit": "layers: ViT, 6 layers, d 192, 16x32x32x3",
}


@pytest.fixture(scope="module")
def small(bench):
    """The rows of layers, their models smaller where sizes can be had."""
    by_hand = importlib.import_module("programs.layers.by_hand")
    encoder = by_hand.Encoder
    sizes = {
        "VOCABULARY": 30, "LSTM_WIDTH": 16, "LSTM_LENGTH": 5, "GPT_LENGTH": 6,
        "GPT": encoder(2, 16, 2, causal=True), "VIT": encoder(2, 12, 3),
        "LSTM_BATCH": 3, "GPT_BATCH": 3, "VIT_BATCH": 3, "RESNET_BATCH": 3,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(by_hand, name, value)
        yield {name: bench["programs"].ROWS[title] for name, title in LAYERS.items()}


@pytest.fixture(scope="module")
def losses_by_hand(bench, small):
    """A function of the model and a dtype: the losses of two steps of nr's program by hand."""
    row_of, known = bench["row"], {}

    def losses(name, dtype):
        if (name, dtype) not in known:
            row = small[name]
            args = row.setup(nr, *row_of.tree_map(nr.numpy.array, inputs(row_of, row, dtype)))
            step, state = nr.jit(row.program(nr)), list(args)
            values = []
            for _ in range(2):
                out = step(*state)
                state[: row.carry] = out[: row.carry]
                values.append(float(row.seen(out)))
            known[name, dtype] = values
        return known[name, dtype]

    return losses


def inputs(row_of, row, dtype):
    """Of four images at most, their floats of a dtype."""
    params, stats, *batch = row.inputs()
    args = (params, stats, *[x[:4] for x in batch])
    return row_of.tree_map(lambda x: x.astype(dtype) if x.dtype.kind == "f" else x, args)


def test_layers_do_what_is_written_by_hand(bench, small, losses_by_hand):
    """In float64: their weights are the same, and so are gradients, as the second loss tells."""
    for name, row in small.items():
        args = bench["row"].tree_map(nr.numpy.array, inputs(bench["row"], row, np.float64))
        call = row.nr(*args)
        losses = [float(call()) for _ in range(2)]
        np.testing.assert_allclose(
            losses, losses_by_hand(name, np.float64), rtol=1e-9, err_msg=name
        )


def test_torch_does_what_is_written_by_hand(bench, small, losses_by_hand):
    torch = pytest.importorskip("torch")
    for name, row in small.items():
        args = inputs(bench["row"], row, np.float64)
        call = row.torch["eager"](
            *bench["row"].tree_map(lambda x: torch.from_numpy(x.copy()), args)
        )
        losses = [float(call()) for _ in range(2)]
        np.testing.assert_allclose(
            losses, losses_by_hand(name, np.float64), rtol=1e-9, err_msg=name
        )


@pytest.mark.parametrize("library", ["flax", "equinox"])
def test_libraries_above_jax_do_what_is_written_by_hand(bench, small, losses_by_hand, library):
    """One model, as compilation takes long; benchmarks/run.py compares all of them."""
    pytest.importorskip(library)
    pytest.importorskip("optax")
    import jax.numpy

    name = "language_model"
    row = small[name]
    args = bench["row"].tree_map(jax.numpy.array, inputs(bench["row"], row, np.float32))
    call = row.jax[library](*args)
    losses = [float(call()) for _ in range(2)]
    np.testing.assert_allclose(losses, losses_by_hand(name, np.float32), rtol=row.tolerance)


def test_variants_of_rows_with_layers(bench):
    row = bench["programs"].ROWS["model call outside jit, 3 layers of width 16"]
    worker = bench["worker"]
    assert row.variants() == [
        ("nr", ""), ("by hand", ""), ("jax", "flax"), ("jax", "equinox"), ("torch", "eager"),
    ]  # fmt: skip
    for library in ("nr", "by hand"):
        call = worker._call(row, library, "", 1)
        assert [x.shape for x in worker._seen(row, library, "", call())] == [(16,)]
    optimizers = [r for r in bench["programs"].ROWS.values() if r.group == "optimizers"]
    assert [r.variants()[:2] for r in optimizers] == [[("nr", ""), ("jax", "optax")]] * 2


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


def test_own_draws_are_compared_by_their_moments(bench, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", rng.standard_normal(100_000))
    np.savez(tmp_path / "b.npz", rng.standard_normal(100_000))
    np.savez(tmp_path / "c.npz", 1.1 * rng.standard_normal(100_000))
    row = bench["row"].Row("x", "sampling", own_draws=True)
    a, b, c = (tmp_path / f"{name}.npz" for name in "abc")
    differences = bench["run"].differences
    assert differences(row, a, b) is not None
    assert differences(row, a, b, draws=True) is None
    assert "tolerance 0.01" in differences(row, a, c, draws=True)


def test_imaginary_parts_are_compared(bench, tmp_path):
    np.savez(tmp_path / "a.npz", np.array([1 + 2j]))
    np.savez(tmp_path / "b.npz", np.array([1 - 2j]))
    row = bench["row"].Row("x", "linalg")
    found = bench["run"].differences(row, tmp_path / "a.npz", tmp_path / "b.npz")
    assert found == "1.8e+00 (tolerance 1e-05)"


def test_floor_is_the_larger_one(bench):
    rates = bench["calibrate"].Calibration(1e9, {1: 8.0, 1024: 2e9}, {1: 1.0, 1024: 1e9})
    assert rates.seconds(0, 0, 0) is None
    assert rates.seconds(5000, 1024, 0) == (5e-6, "flops")
    assert rates.seconds(500, 1024, 0) == (1024 / 2e9, "bytes")
    assert rates.seconds(500, 1000, 24) == (1024 / 2e9, "bytes")  # mostly read
    assert rates.seconds(500, 512, 512) == (1024 / 1e9, "bytes")


def test_peers_beside_the_table(bench):
    Row, Result = bench["row"].Row, bench["report"].Result
    theirs = [
        Result("torch", "eager", first=1, steady=0.004),
        Result("onnxruntime", first=1, steady=0.002),
        Result("numpy", first=1, steady=0.001),
    ]
    rates = bench["calibrate"].Calibration(1e9, {1 << 20: 1e9}, {1 << 20: 1e9})
    text = bench["report"].page(
        [
            (Row(name, "rows", **more), [Result("nr", first=1, steady=0.001), *theirs], [])
            for name, more in (("net", {}), ("order", {"peers": ("torch", "numpy")}))
        ],
        rates,
        ["A machine."],
        1,
    )
    assert "| net | 1.00 ms | - | 4.00 ms (eager) | 2.00 |" in text
    assert "| order | 1.00 ms | - | 4.00 ms (eager) | 1.00 |" in text
    assert "ONNX Runtime: net: 2.00 ms; order: 2.00 ms." in text
    assert "NumPy: net: 1.00 ms; order: 1.00 ms." in text


def test_layers_beside_the_same_by_hand(bench):
    Row, Result = bench["row"].Row, bench["report"].Result
    rates = bench["calibrate"].Calibration(1e9, {1 << 20: 1e9}, {1 << 20: 1e9})
    outcomes = [
        (
            Row(name, group),
            [
                Result("nr", first=1, steady=seconds),
                Result("by hand", first=1, steady=0.001),
                Result("jax", "flax", first=1, steady=0.003),
                Result("jax", "equinox", first=1, steady=0.002),
            ],
            [],
        )
        for name, group, seconds in (
            ("same", "layers", 0.001),
            ("costly", "layers", 0.0015),
            ("call", "dispatch", 0.0015),
        )
    ]
    text = bench["report"].page(outcomes, rates, ["A machine."], 1)
    assert "| same | 1.00 ms | 2.00 ms (equinox) | - | 2.00 |" in text  # by hand is no peer
    assert "nr by hand: same: 1.00 ms (layers: 1.00 times); costly: 1.00 ms (layers: 1.50" in text
    assert "Above JAX: same: flax 3.00 ms, equinox 2.00 ms; costly:" in text
    assert "the same by hand:** 1.\n\n- costly: 1.50 times." in text


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
