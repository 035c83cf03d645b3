"""Small sets of real images: the UCI digits that ship with nr, and Fashion-MNIST."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nr.data.idx import parse_idx, read_maybe_gzipped

Uint8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled grey images, split into a training and a test part.

    Attributes:
        name: what to call the set in print.
        train_images: u8[n, height, width].
        train_labels: u8[n], indices into `class_names`.
        test_images: u8[m, height, width].
        test_labels: u8[m].
        class_names: one name a class.
        max_value: the largest value a pixel can take; divide by it to reach [0, 1].
    """

    name: str
    train_images: Uint8Array
    train_labels: Uint8Array
    test_images: Uint8Array
    test_labels: Uint8Array
    class_names: tuple[str, ...]
    max_value: int

    def __repr__(self) -> str:
        height, width = self.train_images.shape[1:]
        return (
            f"ImageDataset({self.name}: {len(self.train_images):,} train and "
            f"{len(self.test_images):,} test images of {height}x{width}, "
            f"{len(self.class_names)} classes)"
        )


# ---- UCI digits ------------------------------------------------------------------------------

_DIGITS_TEST_SIZE = 360


def load_digits() -> ImageDataset:
    """Load the 1,797 handwritten digits that ship with nr: 1,437 to train on, 360 to test.

    Each image is 8x8 with values 0..16: how many pixels of a 4x4 block of the scanned 32x32
    bitmap are on. The split is fixed, shuffled, and holds each digit in proportion.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository (1998), the part by 13 writers published as its test set; licensed
    CC BY 4.0.

    Example:
        >>> load_digits()
        ImageDataset(UCI digits: 1,437 train and 360 test images of 8x8, 10 classes)
    """
    with files("nr.data").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    train, test = _stratified_split(labels, _DIGITS_TEST_SIZE)
    return ImageDataset(
        name="UCI digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple("0123456789"),
        max_value=16,
    )


def _stratified_split(
    labels: npt.NDArray[Any], test_size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    # RandomState, because NumPy promises its stream never to change; Generator's may.
    random = np.random.RandomState(0)
    shuffled = random.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # Evenly spaced picks from examples sorted by class take each class in proportion.
    picked = np.arange(test_size) * len(labels) // test_size
    test = random.permutation(by_class[picked])
    train = random.permutation(np.delete(by_class, picked))
    return train, test


# ---- Fashion-MNIST ---------------------------------------------------------------------------

_FASHION_CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

# SHA-256 of the uncompressed contents: the gzip headers (name, time) of the published files
# and of Debian's differ, what is in them does not.
_FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_FASHION_URLS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
_DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
_TIMEOUT_SECONDS = 10


def cache_dir() -> Path:
    """Return where nr keeps fetched data: ``$XDG_CACHE_HOME/nr``, by default ``~/.cache/nr``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nr"


def load_fashion_mnist(
    root: str | os.PathLike[str] | None = None, *, download: bool = True
) -> ImageDataset:
    """Load Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28x28, 0..255.

    The four files are looked for in `root`, in nr's cache directory and where Debian's package
    ``dataset-fashion-mnist`` puts them; if they are in none of these they are downloaded.
    Contents are checked against known SHA-256 sums wherever they come from.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
    Benchmarking Machine Learning Algorithms", arXiv:1708.07747 (2017); MIT license.

    Args:
        root: a directory that holds the files or shall receive them; nr's cache by default.
        download: whether files that are nowhere on this machine may be downloaded (30 MB).

    Raises:
        FileNotFoundError: if the files are not here and cannot be downloaded.
        ValueError: if a file that is here is damaged.
    """
    cache = cache_dir() / "fashion-mnist"
    places = ([Path(root)] if root is not None else []) + [cache, _DEBIAN_FASHION]
    paths = _find_fashion(places)
    if paths is None:
        if not download:
            raise FileNotFoundError(_how_to_get_fashion(places, "download=False"))
        target = places[0]
        try:
            for name in _FASHION_SHA256:
                _download(name, target)
        except OSError as error:
            raise FileNotFoundError(_how_to_get_fashion(places, str(error))) from error
        paths = {name: target / f"{name}.gz" for name in _FASHION_SHA256}
    arrays = {name: _read_checked(paths[name], sha) for name, sha in _FASHION_SHA256.items()}
    return ImageDataset(
        name="Fashion-MNIST",
        train_images=arrays["train-images-idx3-ubyte"],
        train_labels=arrays["train-labels-idx1-ubyte"],
        test_images=arrays["t10k-images-idx3-ubyte"],
        test_labels=arrays["t10k-labels-idx1-ubyte"],
        class_names=_FASHION_CLASSES,
        max_value=255,
    )


def load_images(prefer: str = "fashion_mnist") -> ImageDataset:
    """Load Fashion-MNIST, or the digits where it cannot be had; print which one it is.

    Args:
        prefer: ``"fashion_mnist"``, or ``"digits"`` to take the digits at once.

    Raises:
        ValueError: for another value of `prefer`, or a damaged file.

    Example:
        >>> images = load_images("digits")
        data: UCI digits: 1,437 train and 360 test images of 8x8, 10 classes
    """
    if prefer not in ("fashion_mnist", "digits"):
        raise ValueError(
            f'load_images: "fashion_mnist" or "digits" was required; got {prefer!r} for "prefer". '
            "Call the set's own loader for any other."
        )
    dataset = None
    if prefer == "fashion_mnist":
        try:
            dataset = load_fashion_mnist()
        except FileNotFoundError as error:
            print(f"{error}\nUsing the digits that ship with nr instead.")
    if dataset is None:
        dataset = load_digits()
    print(f"data: {repr(dataset).removeprefix('ImageDataset(').removesuffix(')')}")
    return dataset


def _find_fashion(places: Sequence[Path]) -> dict[str, Path] | None:
    for place in places:
        paths = {name: place / f"{name}.gz" for name in _FASHION_SHA256}
        if all(path.is_file() for path in paths.values()):
            return paths
    return None


def _how_to_get_fashion(places: Sequence[Path], reason: str) -> str:
    return (
        f"load_fashion_mnist: the files {', '.join(f'{name}.gz' for name in _FASHION_SHA256)} "
        f"were required in one directory; they are not in {', '.join(map(str, places))} "
        f"and were not downloaded ({reason}). Install Debian's package dataset-fashion-mnist, or "
        f"copy the files from {_FASHION_URLS[0]} into {places[0]}."
    )


def _read_checked(path: Path, sha256: str) -> npt.NDArray[Any]:
    content = read_maybe_gzipped(path)
    _check_sha256(content, sha256, str(path))
    return parse_idx(content, source=str(path))


def _check_sha256(content: bytes, sha256: str, source: str) -> None:
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ValueError(
            f"load_fashion_mnist: contents with SHA-256 {sha256} were required; "
            f'got {actual} in "{source}". Delete the file and load again.'
        )


def _download(name: str, directory: Path) -> None:
    """Fetch ``name.gz`` into a directory; raise OSError if no address delivers it."""
    directory.mkdir(parents=True, exist_ok=True)
    failures = []
    for base in _FASHION_URLS:
        url = f"{base}{name}.gz"
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}-")
        try:
            with (
                os.fdopen(handle, "wb") as file,
                urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response,
            ):
                file.write(response.read())
            _check_sha256(read_maybe_gzipped(temporary), _FASHION_SHA256[name], url)
            # Renamed only when whole and checked, so that a broken run leaves no broken file.
            os.replace(temporary, directory / f"{name}.gz")
            return
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"{url}: {error}")
        finally:
            Path(temporary).unlink(missing_ok=True)
    raise OSError("; ".join(failures))
