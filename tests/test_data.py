"""Without these, a damaged download or a changed split could train models on wrong data unseen."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from nr.data import ImageDataset, datasets, load_digits, load_fashion_mnist, load_images, read_idx

TYPE_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    code = TYPE_CODES[array.dtype.str[1:]]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


# ---- IDX -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", TYPE_CODES)
def test_read_idx_returns_what_was_written(tmp_path: Path, dtype: str, compress: bool) -> None:
    array = (np.arange(24).reshape(2, 3, 4) * 5 - 20).astype(dtype)
    content = idx_bytes(array)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(content) if compress else content)
    result = read_idx(path)
    np.testing.assert_array_equal(result, array)
    assert result.dtype == np.dtype(dtype) and result.dtype.isnative
    assert result.flags.writeable


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_read_idx_of_scalars_and_empty_arrays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.float32)
    (tmp_path / "array").write_bytes(idx_bytes(array))
    np.testing.assert_array_equal(read_idx(tmp_path / "array"), array, strict=True)


GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "got no bytes", id="empty"),
        pytest.param(b"<!doctype html>", "got 3c 21 64 6f", id="web-page"),
        pytest.param(b"\0\0\x07\x01" + GOOD[4:], "type code", id="unknown-type"),
        pytest.param(GOOD[:10], "header of 2 dimensions has 12 bytes", id="cut-in-header"),
        pytest.param(GOOD[:-1], r"shape \(3, 4\) fill 12 bytes; .* holds 11", id="one-byte-short"),
        pytest.param(GOOD + b"\0", "holds 13", id="one-byte-long"),
        pytest.param(gzip.compress(GOOD)[:-9], "complete gzip file", id="gzip-cut"),
        pytest.param(gzip.compress(GOOD)[:12] + b"\xff" * 20, "complete gzip", id="gzip-garbled"),
        pytest.param(gzip.compress(GOOD[:-1]), "holds 11", id="gzip-of-short"),
    ],
)
def test_read_idx_refuses_a_damaged_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_read_idx_of_a_flipped_bit_in_gzip(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(GOOD, mtime=0))
    content[-8] ^= 1  # in the CRC of the contents
    (tmp_path / "flipped.gz").write_bytes(content)
    with pytest.raises(ValueError, match="CRC check failed"):
        read_idx(tmp_path / "flipped.gz")


# ---- UCI digits ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_digits()


def test_digits_are_the_published_ones(digits: ImageDataset) -> None:
    images = np.concatenate([digits.train_images, digits.test_images])
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    assert images.shape == (1797, 8, 8) and images.dtype == np.uint8
    assert images.min() == 0 and images.max() == digits.max_value == 16
    # Class counts as published with the set's test part.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # The sum of all pixels of the published file.
    assert images.sum(dtype=np.int64) == 561_718


def test_digits_first_published_example_is_present(digits: ImageDataset) -> None:
    # The first row of the published file, a zero.
    row = "0 0 5 13 9 1 0 0 0 0 13 15 10 15 5 0 0 3 15 2 0 11 8 0 0 4 12 0 0 8 8 0 "
    row += "0 5 8 0 0 9 8 0 0 4 11 0 1 12 7 0 0 2 14 5 10 12 0 0 0 0 6 13 10 0 0 0"
    zero = np.array(row.split(), np.uint8).reshape(8, 8)
    images = np.concatenate([digits.train_images, digits.test_images])
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    (position,) = np.flatnonzero((images == zero).all(axis=(1, 2)))
    assert labels[position] == 0


def test_digits_split_is_fixed_and_proportional(digits: ImageDataset) -> None:
    assert len(digits.train_images) == len(digits.train_labels) == 1437
    assert len(digits.test_images) == len(digits.test_labels) == 360
    every = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    test = np.bincount(digits.test_labels)
    assert np.all(np.abs(test - every * 360 / 1797) <= 1)
    # Reported accuracies are comparable between versions only while this does not change.
    digest = hashlib.sha256(digits.test_images.tobytes() + digits.test_labels.tobytes())
    assert digest.hexdigest()[:16] == "4eec40f7bcc78005"


def test_digits_can_be_told_apart_by_nearest_neighbour(digits: ImageDataset) -> None:
    # Labels that slipped against their images, or a bad split, would fall to about 10 %.
    train = digits.train_images.reshape(1437, 64).astype(np.float64)
    test = digits.test_images.reshape(360, 64).astype(np.float64)
    distances = (train**2).sum(1) - 2 * test @ train.T
    predicted = digits.train_labels[distances.argmin(axis=1)]
    assert (predicted == digits.test_labels).mean() > 0.95


# ---- Fashion-MNIST ---------------------------------------------------------------------------


@pytest.fixture
def tiny_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of four tiny files in Fashion-MNIST's place, which the loader believes in."""
    random = np.random.RandomState(1)
    source = tmp_path / "source"
    source.mkdir()
    sums = {}
    for part, size in (("train", 20), ("t10k", 10)):
        images = random.randint(0, 256, (size, 28, 28)).astype(np.uint8)
        labels = random.randint(0, 10, size).astype(np.uint8)
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            content = idx_bytes(array)
            (source / f"{part}-{name}.gz").write_bytes(gzip.compress(content))
            sums[f"{part}-{name}"] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(datasets, "_FASHION_SHA256", sums)
    monkeypatch.setattr(datasets, "_FASHION_URLS", ((tmp_path / "absent").as_uri() + "/",))
    monkeypatch.setattr(datasets, "_DEBIAN_FASHION", tmp_path / "no-debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return source


def test_fashion_mnist_is_read_from_root(tiny_fashion: Path) -> None:
    dataset = load_fashion_mnist(tiny_fashion, download=False)
    assert dataset.train_images.shape == (20, 28, 28)
    expected = read_idx(tiny_fashion / "t10k-labels-idx1-ubyte.gz")
    np.testing.assert_array_equal(dataset.test_labels, expected, strict=True)


def test_fashion_mnist_refuses_wrong_contents(tiny_fashion: Path) -> None:
    path = tiny_fashion / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros(10, np.uint8))))
    with pytest.raises(ValueError, match="SHA-256 .* were required; got .*t10k-labels.*Delete"):
        load_fashion_mnist(tiny_fashion, download=False)


def test_fashion_mnist_downloads_from_the_first_address_that_delivers(
    tiny_fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in tiny_fashion.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes()[:-20])
    addresses = [(tmp_path / "absent").as_uri(), damaged.as_uri(), tiny_fashion.as_uri()]
    monkeypatch.setattr(datasets, "_FASHION_URLS", tuple(f"{url}/" for url in addresses))
    target = tmp_path / "cache" / "nr" / "fashion-mnist"
    first = load_fashion_mnist()
    # Only whole, checked files are left: no temporary ones, nothing of the damaged copies.
    assert {p.name: p.read_bytes() for p in target.iterdir()} == {
        p.name: p.read_bytes() for p in tiny_fashion.iterdir()
    }
    second = load_fashion_mnist(download=False)
    np.testing.assert_array_equal(first.train_images, second.train_images)


def test_fashion_mnist_that_cannot_be_had_says_what_to_do(
    tiny_fashion: Path, tmp_path: Path
) -> None:
    for download, reason in ((True, "absent"), (False, "download=False")):
        with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist") as caught:
            load_fashion_mnist(tmp_path / "mine", download=download)
        assert reason in str(caught.value) and str(tmp_path / "mine") in str(caught.value)
    assert list((tmp_path / "mine").iterdir()) == []


def test_load_images_says_when_it_falls_back_to_digits(
    tiny_fashion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_images().name == "UCI digits"
    printed = capsys.readouterr().out
    assert "load_fashion_mnist: " in printed
    assert "data: UCI digits: 1,437 train and 360 test" in printed


def test_load_images_refuses_an_unknown_name() -> None:
    with pytest.raises(ValueError, match="got 'mnist' for \"prefer\""):
        load_images("mnist")


def test_fashion_mnist_is_the_published_set() -> None:
    try:
        dataset = load_fashion_mnist(download=False)
    except FileNotFoundError:
        pytest.skip("Fashion-MNIST is not on this machine")
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    # Published as balanced: 6,000 training and 1,000 test images of each of ten classes.
    assert np.bincount(dataset.train_labels).tolist() == [6000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1000] * 10
    assert dataset.train_images.min() == 0 and dataset.train_images.max() == dataset.max_value
    assert dataset.class_names[dataset.train_labels[0]] == "ankle boot"
