"""Comparison of channels-last functions with PyTorch's: values, gradients, compilation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp

torch = pytest.importorskip("torch")

# Both sides round sums of up to some hundreds of products, in another order: tens of epsilon.
TOLERANCES = {"float32": 1e-5, "float64": 1e-12}


def channels_first(x: Any, rank: int) -> Any:
    """[..., *space, C] as [N, C, *space], a torch tensor."""
    return x.reshape(-1, *x.shape[x.ndim - 1 - rank :]).movedim(-1, 1)


def channels_last(y: Any, lead: tuple[int, ...]) -> Any:
    y = y.movedim(1, -1)
    return y.reshape(*lead, *y.shape[1:])


def lifted(f: Callable, rank: int) -> Callable:
    """A function of torch, of [N, C, *space] and other things, for [..., *space, C]."""

    def g(x: Any, *rest: Any) -> Any:
        return channels_last(f(channels_first(x, rank), *rest), tuple(x.shape[: x.ndim - 1 - rank]))

    return g


def sample(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got: Any, want: np.ndarray, what: str) -> None:
    got = np.asarray(got)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, not {want.dtype}"
    tol = TOLERANCES[want.dtype.name] * max(1.0, np.abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=0, atol=tol, err_msg=what)


def agree(ours: Callable, theirs: Callable, *args: np.ndarray) -> None:
    """The same values and gradients as torch, eagerly and compiled, without steps in Python."""
    tensors = [torch.tensor(a, requires_grad=True) for a in args]
    out = theirs(*tensors)
    ct = sample(tuple(out.shape), args[0].dtype.name, 1)
    out.backward(torch.tensor(ct))
    want = [out.detach().numpy(), *[t.grad.numpy() for t in tensors]]

    def both(ct: Any, *args: Any) -> list[Any]:
        y, pullback = nr.vjp(ours, *args)
        return [y, *pullback(ct)]

    arrays = [jnp.asarray(a) for a in (ct, *args)]
    compiled = nr.jit(both).lower(*arrays).compile()
    assert "everything is compiled" in compiled.as_text("report")
    for name, got in (("eager", both(*arrays)), ("compiled", nr.jit(both)(*arrays))):
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            close(a, b, f"{name} {f'gradient {i - 1}' if i else 'value'}")


def same_in_lanes(f: Callable, x: np.ndarray, *rest: Any) -> None:
    """vmap over the first axis of x gives what each of its parts does."""
    lanes = nr.vmap(lambda x: f(x, *rest))(x)
    for got, part in zip(lanes, x, strict=True):
        np.testing.assert_allclose(got, f(part, *rest), rtol=1e-5, atol=1e-5)
