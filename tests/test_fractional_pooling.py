"""Without this fractional max pooling could differ from PyTorch's, or read beyond space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from tests.torch_layers import agree, lifted, sample, torch

F = torch.nn.functional
KEY = nr.random.key(3)


@pytest.mark.parametrize(
    ("space", "window", "counts"),
    [
        ((9, 12), (2, 3), (5, 7)),
        ((9, 7), (1, 2), (9, 6)),
        ((6, 6), (6, 3), (1, 2)),
        ((9, 7, 6), (2, 2, 3), (4, 5, 2)),
    ],
)
def test_values_and_gradients_are_those_of_torch(space: Any, window: Any, counts: Any) -> None:
    rank = len(space)
    x = sample((2, *space, 3))
    # PyTorch draws for each image and channel; its 2d version takes the width's number first.
    u = np.array(nr.random.uniform(KEY, (rank,)))[:: -1 if rank == 2 else 1]
    draws = torch.tensor(np.broadcast_to(u, (2, 3, rank)).copy())
    pool = {2: F.fractional_max_pool2d, 3: F.fractional_max_pool3d}[rank]
    agree(
        lambda x: nn.fractional_max_pool(x, window, counts, key=KEY),
        lifted(lambda x: pool(x, window, output_size=counts, _random_samples=draws), rank),
        x,
    )


def test_windows_of_sequences_cover_both_ends_and_keys_matter() -> None:
    x = jnp.arange(100.0)[:, None]
    seen = set()
    for seed in range(20):
        y = nn.fractional_max_pool(x, (2,), (37,), key=nr.random.key(seed))[:, 0]
        assert y[0] == 1
        assert y[-1] == 99
        assert set(np.diff(y[:-1]).tolist()) == {2.0, 3.0}
        seen.add(tuple(y.tolist()))
    assert len(seen) > 5


def test_requests_that_do_not_fit_are_refused() -> None:
    x = np.zeros((2, 5, 5, 1), "float32")
    with pytest.raises(TypeError, match=r"space for \[5, 4\] windows of \[2, 2\] elements"):
        nn.fractional_max_pool(x, (2, 2), (5, 4), key=KEY)
    with pytest.raises(ValueError, match=r'2 integers, one for each of "window"'):
        nn.fractional_max_pool(x, (2, 2), (5,), key=KEY)
    with pytest.raises(ValueError, match='"window"'):
        nn.fractional_max_pool(x, 2, (5,), key=KEY)  # type: ignore[arg-type]
