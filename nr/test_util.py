"""Checks of derivatives against central differences: check_grads, check_jvp, check_vjp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nr.core import dtypes
from nr.core.tracing import typeof
from nr.core.trees import keystr, tree_flatten, tree_flatten_with_path, tree_unflatten
from nr.lax.rules import operand
from nr.transforms.derivatives import jvp, vjp

# Step and tolerance by the size of a real number. Differences are extrapolated once (Richardson),
# so that the truncation error is O(step^4) and the rounding error O(epsilon / step). They balance
# near epsilon^(1/5), and leave about epsilon^(4/5), times derivatives of the function up to the
# fifth: the tolerances allow for some of a million in float64, less where digits are scarce.
_STEPS = {8: 1e-3, 4: 4e-2, 2: 0.25}
_TOLERANCES = {8: 1e-6, 4: 2e-3, 2: 1e-1}


def check_grads(
    f: Callable,
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the derivatives of a function, up to an order, against central differences.

    Each is checked along one random direction, which a wrong rule passes with probability zero.
    With both modes, second derivatives are checked forward over forward, reverse over forward,
    forward over reverse and reverse over reverse, and so on. float64 arguments make the check
    sharp. Integer and bool arguments and results are left alone.

    Args:
        f: a function of arrays or pytrees of arrays, real or complex, smooth around args.
        args: its arguments.
        order: up to which derivatives are checked; at least 1.
        modes: "fwd" for `nr.jvp`, "rev" for `nr.vjp`; one or both.
        atol: absolute tolerance; by dtype if None.
        rtol: relative tolerance; by dtype if None.
        eps: step of the differences; by dtype if None.

    Raises:
        AssertionError: if a derivative is wrong; the message names the mode and the leaf.

    Example:
        >>> import nr, numpy as np
        >>> from nr.test_util import check_grads
        >>> check_grads(nr.lax.sin, (np.float64(0.3),), order=2)
        >>> @nr.custom_jvp
        ... def f(x):
        ...     return nr.lax.sin(x)
        >>> @f.defjvp
        ... def f_jvp(primals, tangents):
        ...     return f(*primals), nr.lax.neg(tangents[0])
        >>> check_grads(f, (np.float64(0.3),), order=1)
        Traceback (most recent call last):
            ...
        AssertionError: jvp: the derivative differs from central differences: ...
    """
    if order < 1:
        raise ValueError(f"check_grads: order must be 1 or more; got {order}.")
    modes = [modes] if isinstance(modes, str) else list(modes)
    if not modes or not set(modes) <= {"fwd", "rev"}:
        raise ValueError(f'check_grads: modes must be of "fwd" and "rev"; got {modes}.')
    flat, leaves = _flat(f, args)
    _check_flat(flat, leaves, order, modes, (atol, rtol, eps), "")


def check_jvp(
    f: Callable,
    f_jvp: Callable,
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
) -> None:
    """Check a forward derivative against central differences along a random direction.

    Args:
        f: a function of arrays or pytrees of arrays.
        f_jvp: ``(primals, tangents) -> (out, out_tangent)``, as ``functools.partial(nr.jvp, f)``.
        args: the arguments.
        atol, rtol, eps: as in `check_grads`.
        err_msg: put in front of the message.

    Raises:
        AssertionError: if the value or the derivative differs.

    Example:
        >>> import nr, numpy as np
        >>> from nr.test_util import check_jvp
        >>> check_jvp(nr.lax.exp, lambda x, t: nr.jvp(nr.lax.exp, x, t), (np.ones(3),))
    """
    flat, leaves = _flat(f, args)
    _, tree = tree_flatten(tuple(args))

    def flat_jvp(primals: list[Any], tangents: list[Any]) -> Any:
        given = iter(tangents)
        dots = [next(given) if _inexact(x) else _float0(x) for x in flat.leaves]
        out, out_dot = f_jvp(tree_unflatten(tree, flat.filled(primals)), tree_unflatten(tree, dots))
        return flat.kept(out), flat.kept(out_dot)

    numeric = _Numeric(flat, leaves, eps)
    _check_jvp(numeric, flat, flat_jvp, leaves, atol, rtol, err_msg)


def check_vjp(
    f: Callable,
    f_vjp: Callable,
    args: Sequence[Any],
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    err_msg: str = "",
) -> None:
    """Check a pullback against central differences, along random direction and cotangent.

    Args:
        f: a function of arrays or pytrees of arrays.
        f_vjp: ``(*args) -> (out, pullback)``, as ``functools.partial(nr.vjp, f)``.
        args: the arguments.
        atol, rtol, eps: as in `check_grads`.
        err_msg: put in front of the message.

    Raises:
        AssertionError: if the value or the derivative differs.

    Example:
        >>> import nr, numpy as np
        >>> from nr.test_util import check_vjp
        >>> check_vjp(nr.lax.exp, lambda x: nr.vjp(nr.lax.exp, x), (np.ones(3),))
    """
    flat, leaves = _flat(f, args)
    _, tree = tree_flatten(tuple(args))

    def flat_vjp(*primals: Any) -> Any:
        out, pullback = f_vjp(*tree_unflatten(tree, flat.filled(primals)))
        outs, out_tree = tree_flatten(out)

        def flat_pullback(cts: list[Any]) -> list[Any]:
            given = iter(cts)
            full = [next(given) if _inexact(x) else _float0(x) for x in outs]
            in_cts, _ = tree_flatten(tuple(pullback(tree_unflatten(out_tree, full))))
            return [ct for ct, x in zip(in_cts, flat.leaves, strict=True) if _inexact(x)]

        return flat.kept(out), flat_pullback

    numeric = _Numeric(flat, leaves, eps)
    _check_vjp(numeric, flat, flat_vjp, leaves, atol, rtol, err_msg)


# ---------------------------------------------------------------- flat functions
class _Flat:
    """A function of the floating leaves of arguments that gives the floating leaves of results."""

    def __init__(self, f: Callable, leaves: list[Any], tree: Any) -> None:
        self.f = f
        self.leaves = leaves
        self.tree = tree
        self.names: list[str] = []

    def filled(self, primals: Sequence[Any]) -> list[Any]:
        """All leaves, the others being those at which the check is made."""
        given = iter(primals)
        return [next(given) if _inexact(x) else x for x in self.leaves]

    def kept(self, out: Any) -> list[Any]:
        pairs = [(path, x) for path, x in tree_flatten_with_path(out)[0] if _inexact(x)]
        self.names = [keystr(path) for path, _ in pairs]
        return [x for _, x in pairs]

    def __call__(self, *primals: Any) -> list[Any]:
        return self.kept(self.f(*tree_unflatten(self.tree, self.filled(primals))))


def _flat(f: Callable, args: Sequence[Any]) -> tuple[_Flat, list[Any]]:
    leaves, tree = tree_flatten(tuple(args))
    leaves = [_strong(x) for x in leaves]
    flat = _Flat(f, leaves, tree)
    primals = [x for x in leaves if _inexact(x)]
    if not primals:
        raise TypeError("check_grads: at least one floating argument was expected; got none.")
    return flat, primals


def _strong(x: Any) -> Any:
    return operand("check_grads", np.asarray(x, typeof(x).dtype))


def _inexact(x: Any) -> bool:
    return typeof(x).dtype in dtypes.INEXACT


def _float0(x: Any) -> np.ndarray:
    return np.zeros(typeof(x).shape, dtypes.float0)


# ---------------------------------------------------------------- the checks
def _check_flat(
    f: Callable,
    args: list[Any],
    order: int,
    modes: list[str],
    limits: tuple[float | None, float | None, float | None],
    where: str,
) -> None:
    atol, rtol, eps = limits
    numeric = _Numeric(f, args, eps)
    if "fwd" in modes:
        _check_jvp(numeric, f, lambda x, t: jvp(f, x, t), args, atol, rtol, where)
    if "rev" in modes:
        _check_vjp(numeric, f, lambda *x: vjp(f, *x), args, atol, rtol, where)
    if order == 1:
        return
    if "fwd" in modes:
        n = len(args)

        def pushed(*xs: Any) -> list[Any]:
            return jvp(f, xs[:n], xs[n:])[1]

        _check_flat(
            pushed,
            [*args, *_arrays(numeric.direction, args)],
            order - 1,
            modes,
            limits,
            f"{where}of jvp: ",
        )
    if "rev" in modes:
        cts = _arrays(numeric.cotangent, numeric.outs)

        def pulled(*xs: Any) -> list[Any]:
            outs, pullback = vjp(f, *xs[: len(args)])
            return list(pullback(list(xs[len(args) :])))

        _check_flat(pulled, [*args, *cts], order - 1, modes, limits, f"{where}of vjp: ")


class _Numeric:
    """A random direction and cotangent, and the derivative by central differences."""

    def __init__(self, f: Callable, args: list[Any], eps: float | None) -> None:
        rng = np.random.default_rng(len(args))
        outs = f(*args)
        everything = [*args, *outs]
        size = min((_real_size(x) for x in everything), default=8)
        self.tolerance = _TOLERANCES[size]
        self.outs = outs
        self.values = [_wide(x) for x in outs]
        self.direction = [_random(rng, x) for x in args]
        step = _STEPS[size] if eps is None else eps
        coarse = self._difference(f, args, step)
        fine = self._difference(f, args, step / 2)
        self.tangent = [(4 * b - a) / 3 for a, b in zip(coarse, fine, strict=True)]
        # turned towards the tangent: where products cancelled, a wrong factor would hardly show
        self.cotangent = [
            np.where(np.real(ct * t) < 0, -ct, ct)
            for ct, t in zip([_random(rng, x) for x in outs], self.tangent, strict=True)
        ]
        # the rounding of f's own values, divided by the step
        epsilon = max((float(dtypes.finfo(typeof(x).dtype).eps) for x in everything), default=0.0)
        self.noise = [8 * epsilon * _largest(y) / step for y in self.values]
        for y in self.tangent:
            if not np.isfinite(y).all():
                raise AssertionError(
                    "check_grads: the function must be finite around its arguments; its central "
                    "difference is not. Choose other arguments, or a smaller eps."
                )

    def _difference(self, f: Callable, args: list[Any], step: float) -> list[np.ndarray]:
        def shifted(by: float) -> list[np.ndarray]:
            moved = [_wide(x) + by * v for x, v in zip(args, self.direction, strict=True)]
            return [_wide(y) for y in f(*_arrays(moved, args))]

        with np.errstate(all="ignore"):
            return [
                (a - b) / (2 * step) for a, b in zip(shifted(step), shifted(-step), strict=True)
            ]


def _check_jvp(
    numeric: _Numeric,
    f: Any,
    f_jvp: Callable,
    args: list[Any],
    atol: float | None,
    rtol: float | None,
    where: str,
) -> None:
    outs, tangents = f_jvp(args, _arrays(numeric.direction, args))
    _check_values("jvp", numeric, outs, where)
    atol = numeric.tolerance if atol is None else atol
    rtol = numeric.tolerance if rtol is None else rtol
    names = getattr(f, "names", None) or [f"[{i}]" for i in range(len(outs))]
    for name, t, expected, noise in zip(
        names, tangents, numeric.tangent, numeric.noise, strict=True
    ):
        t = _wide(t)
        bound = atol + noise + rtol * np.abs(expected)
        wrong = ~(np.abs(t - expected) <= bound)
        if wrong.any():
            raise AssertionError(_message(f"{where}jvp", name, t, expected, wrong))


def _check_vjp(
    numeric: _Numeric,
    f: Any,
    f_vjp: Callable,
    args: list[Any],
    atol: float | None,
    rtol: float | None,
    where: str,
) -> None:
    outs, pullback = f_vjp(*args)
    _check_values("vjp", numeric, outs, where)
    cts = [_wide(ct) for ct in pullback(_arrays(numeric.cotangent, numeric.outs))]
    got, size = _pairing(cts, numeric.direction)
    expected, expected_size = _pairing(numeric.cotangent, numeric.tangent)
    atol = numeric.tolerance if atol is None else atol
    rtol = numeric.tolerance if rtol is None else rtol
    noise = sum(n * y.size for n, y in zip(numeric.noise, numeric.values, strict=True))
    if not abs(got - expected) <= atol + noise + rtol * (size + expected_size):
        raise AssertionError(
            f"{where}vjp: the derivative differs from central differences: along one random "
            f"direction and cotangent {expected:.9g} was expected; got {got:.9g}."
        )


def _check_values(mode: str, numeric: _Numeric, outs: Sequence[Any], where: str) -> None:
    for i, (y, expected) in enumerate(zip(outs, numeric.values, strict=True)):
        y = _wide(y)
        if y.shape != expected.shape or not np.allclose(
            y, expected, numeric.tolerance, numeric.tolerance, equal_nan=True
        ):
            raise AssertionError(f"{where}{mode}: output {i} differs from the function's own.")


def _pairing(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> tuple[float, float]:
    """The real part of the sum of products, and the sum of their sizes."""
    products = [np.real(x * y) for x, y in zip(xs, ys, strict=True)]
    return sum(float(p.sum()) for p in products), sum(float(np.abs(p).sum()) for p in products)


def _message(what: str, name: str, got: np.ndarray, expected: np.ndarray, wrong: Any) -> str:
    place = tuple(int(i) for i in np.argwhere(wrong)[0]) if got.ndim else ()
    return (
        f"{what}: the derivative differs from central differences: at {place} of output"
        f"{name} {expected[place]:.9g} was expected; got {got[place]:.9g} "
        f"({int(wrong.sum())} of {got.size} elements differ)."
    )


# ---------------------------------------------------------------- numbers
def _random(rng: np.random.Generator, x: Any) -> np.ndarray:
    """Numbers between 1/2 and 1 of either sign: none is lost, none goes far."""
    shape = typeof(x).shape

    def draw() -> np.ndarray:
        return np.asarray(rng.uniform(0.5, 1, shape) * rng.choice([-1.0, 1.0], shape))

    # rounded as the program will see it
    random = draw() + 1j * draw() if typeof(x).dtype in dtypes.COMPLEX else draw()
    return _wide(np.asarray(random).astype(typeof(x).dtype))


def _wide(x: Any) -> np.ndarray:
    dtype = np.complex128 if typeof(x).dtype in dtypes.COMPLEX else np.float64
    return np.asarray(x).astype(dtype)


def _arrays(xs: Sequence[np.ndarray], like: Sequence[Any]) -> list[Any]:
    return [
        operand("check_grads", np.asarray(x).astype(typeof(y).dtype))
        for x, y in zip(xs, like, strict=True)
    ]


def _real_size(x: Any) -> int:
    return dtypes.to_real(typeof(x).dtype).itemsize


def _largest(x: np.ndarray) -> float:
    return float(np.abs(x).max()) if x.size else 0.0
