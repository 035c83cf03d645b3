"""Datasets of real images for examples, demos and tests, as NumPy arrays."""

from nr.data.datasets import (
    ImageDataset,
    cache_dir,
    load_digits,
    load_fashion_mnist,
    load_images,
)
from nr.data.idx import read_idx

__all__ = [
    "ImageDataset",
    "cache_dir",
    "load_digits",
    "load_fashion_mnist",
    "load_images",
    "read_idx",
]
