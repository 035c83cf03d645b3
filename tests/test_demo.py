"""Without this the first thing that a new user runs, `nr demo`, could fail or train to nothing."""

import sys

import numpy as np
import pytest

from nr.data import load_digits
from nr.tools import demo

ACCURACY = 0.96  # what the demo promises of the digits


def test_trains_on_the_digits_and_draws_them(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert demo.main(["--data", "digits", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "UCI digits: 1,437 train and 360 test images" in printed
    assert printed.count("test accuracy") == demo.RECIPES["UCI digits"].epochs + 1
    last = printed.strip().splitlines()[-1]
    assert float(last.split("%")[0].split()[-1]) / 100 >= ACCURACY
    assert (tmp_path / "uci-digits.png").read_bytes().startswith(b"\x89PNG")


def test_result_agrees_with_the_labels_and_the_seed():
    data, recipe = load_digits(), demo.Recipe(8, 64, epochs=2, learning_rate=3e-3)
    first, again, other = (demo.train(data, recipe, seed=seed) for seed in (0, 0, 1))
    assert first.losses == again.losses != other.losses
    assert len(first.losses) == 2 * (1437 // 64)
    assert first.accuracies[-1] == np.mean(first.predictions == data.test_labels)


def test_runs_without_tqdm_and_matplotlib(tmp_path, capsys, monkeypatch):
    for name in ("tqdm", "matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    assert demo.main(["--data", "digits", "--epochs", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "epoch 1/1: 44 steps" in printed
    assert "no picture: matplotlib is not installed" in printed
    assert not list(tmp_path.iterdir())
