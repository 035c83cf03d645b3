"""Mixed precision: policies for dtypes, scaling of losses, and float32 masters of short weights.

The usual forms:

- bfloat16 compute: parameters in float32, cast to bfloat16 inside the loss (`Policy`).
- float16 compute: the same, and the loss is scaled so that small gradients do not vanish
  (`DynamicLossScale`).
- short parameters: the model itself is bfloat16 or float16, and the optimizer's state holds
  float32 masters (`with_master_weights`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import typeof
from nr.core.trees import register_dataclass, tree_map
from nr.optim.base import GradientTransformation, apply_updates
from nr.optim.hyper import Number, hyper_dtype, need_params
from nr.tree import trainable

__all__ = ["DynamicLossScale", "MasterWeightsState", "Policy", "with_master_weights"]

_FLOAT32 = dtypes.DTYPES["float32"]
_FLOAT64 = dtypes.DTYPES["float64"]


# ---------------------------------------------------------------- policies
@dataclasses.dataclass(frozen=True)
class Policy:
    """Which dtypes parameters, computations and outputs have; only floating leaves are cast.

    A policy is a constant (it can be a static argument), and ``str(policy)`` is what `Policy.parse`
    reads.

    Attributes:
        param, compute, output: floating dtypes, float32 where not given.

    Example:
        >>> import nr
        >>> policy = nr.optim.Policy(compute="bfloat16")
        >>> batch = {"x": nr.numpy.ones(2), "labels": nr.numpy.zeros(2, "int32")}
        >>> nr.tree.map(lambda x: str(x.dtype), policy.cast_to_compute(batch))
        {'labels': 'int32', 'x': 'bfloat16'}
        >>> print(policy)
        params=float32,compute=bfloat16,output=float32
    """

    param: Any = "float32"
    compute: Any = "float32"
    output: Any = "float32"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            dtype = _floating(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, dtype)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """The policy that a text names, such as "params=float32,compute=bfloat16,output=float32".

        What is not named is float32.

        Example:
            >>> import nr
            >>> nr.optim.Policy.parse("compute=float16")
            Policy(param=dtype('float32'), compute=dtype('float16'), output=dtype('float32'))
        """
        names = {"params": "param", "compute": "compute", "output": "output"}
        given: dict[str, str] = {}
        for part in text.split(","):
            key, equals, dtype = part.strip().partition("=")
            if not equals or key not in names or names[key] in given:
                raise ValueError(
                    "Policy.parse: params=, compute= and output= with dtypes, each once, were "
                    f'required; got "{text}". Write "params=float32,compute=bfloat16".'
                )
            given[names[key]] = dtype
        return cls(**given)

    def __str__(self) -> str:
        return f"params={self.param},compute={self.compute},output={self.output}"

    def cast_to_param(self, tree: Any) -> Any:
        """The tree with its floating leaves in the dtype of parameters."""
        return _cast(tree, self.param)

    def cast_to_compute(self, tree: Any) -> Any:
        """The tree with its floating leaves in the dtype of computations."""
        return _cast(tree, self.compute)

    def cast_to_output(self, tree: Any) -> Any:
        """The tree with its floating leaves in the dtype of outputs."""
        return _cast(tree, self.output)


def _floating(name: str, dtype: Any) -> np.dtype:
    try:
        found = dtypes.canonicalize(dtype)
    except (TypeError, ValueError):
        found = None
    if found not in dtypes.FLOATING:
        raise TypeError(
            f'Policy: a floating dtype was required; got {dtype!r} for "{name}". '
            "Write float32, bfloat16, float16 or float64."
        )
    return found


def _cast(tree: Any, dtype: np.dtype) -> Any:
    def cast(x: Any) -> Any:
        floats = hasattr(x, "dtype") and x.dtype in dtypes.FLOATING
        return jnp.asarray(x, dtype) if floats else x

    return tree_map(cast, tree)


# ---------------------------------------------------------------- loss scaling
@register_dataclass
@dataclasses.dataclass(frozen=True)
class DynamicLossScale:
    """A factor of the loss that keeps float16's gradients between underflow and overflow.

    It is a pytree and all its methods are pure: scale the loss inside the differentiated function,
    unscale the gradients, skip the step where they are not finite (`all_finite`, `select_tree`),
    and go on with what ``adjust`` returns. `DynamicLossScale.init` makes the first.

    Attributes:
        loss_scale: f32[], the factor.
        good_steps: i32[], how many finite gradients came since it last changed.
        period: i32[], after how many of them it grows.
        factor: f32[], by which it grows, and shrinks when gradients are not finite.
        min_scale: f32[], below which it does not shrink.

    Source: Micikevicius et al., "Mixed Precision Training", 2017, section 3.2.

    Example:
        >>> import nr
        >>> scale = nr.optim.DynamicLossScale.init(1024.0, period=2)
        >>> def loss(w):
        ...     return w * 2.0**-14 * 2.0**-14
        >>> w = nr.numpy.ones((), "float16")
        >>> nr.grad(loss)(w), scale.unscale(nr.grad(lambda w: scale.scale(loss(w)))(w)) * 2.0**28
        (Array(0., dtype=float16), Array(1., dtype=float32))
        >>> [float(scale.adjust(finite).loss_scale) for finite in (True, False)]
        [1024.0, 512.0]
    """

    loss_scale: Array
    good_steps: Array
    period: Array
    factor: Array
    min_scale: Array

    @classmethod
    def init(
        cls,
        scale: Number = 2.0**15,
        period: int = 2000,
        factor: Number = 2.0,
        min_scale: Number = 1.0,
    ) -> DynamicLossScale:
        """The first scale.

        Args:
            scale: to begin with; below 2**16, since its own gradient must fit float16.
            period: after how many finite gradients in a row it grows.
            factor: by which it grows and shrinks; powers of 2 lose no digits.
            min_scale: below which it does not shrink.
        """
        for name, value, least in (
            ("scale", scale, 0),
            ("period", period, 0),
            ("factor", factor, 1),
            ("min_scale", min_scale, 0),
        ):
            if isinstance(value, (int, float)) and not value > least:
                raise ValueError(
                    f"DynamicLossScale.init: {name} must be above {least}; got {value}."
                )
        return cls(
            loss_scale=jnp.asarray(scale, "float32"),
            good_steps=jnp.zeros((), "int32"),
            period=jnp.asarray(period, "int32"),
            factor=jnp.asarray(factor, "float32"),
            min_scale=jnp.asarray(min_scale, "float32"),
        )

    def scale(self, loss: Any) -> Array:
        """The loss times the scale, in float32 at least: float16 ends at 65504."""
        return _wide(loss) * self.loss_scale

    def unscale(self, grads: Any) -> Any:
        """Gradients of the loss from those of the scaled one, in float32 at least."""
        return tree_map(lambda g: _wide(g) / self.loss_scale, grads)

    def adjust(self, finite: Any) -> DynamicLossScale:
        """The scale for the next step.

        Args:
            finite: b1[], whether all gradients of this step were finite.
        """
        finite = jnp.asarray(finite)
        if finite.shape != () or finite.dtype not in dtypes.BOOL:
            raise TypeError(
                f'DynamicLossScale.adjust: a b1[] was required; got {finite.aval} for "finite". '
                "Write nr.optim.all_finite(grads)."
            )
        steps = self.good_steps + 1
        grows = steps >= self.period
        larger = self.loss_scale * self.factor
        smaller = jnp.maximum(self.loss_scale / self.factor, self.min_scale)
        good = jnp.where(grows & jnp.isfinite(larger), larger, self.loss_scale)
        return dataclasses.replace(
            self,
            loss_scale=jnp.where(finite, good, smaller),
            good_steps=jnp.where(finite & ~grows, steps, 0),
        )


def _wide(x: Any) -> Array:
    x = jnp.asarray(x)
    return x.astype(dtypes.promote_types(x.dtype, _FLOAT32))


# ---------------------------------------------------------------- master weights
@register_dataclass
@dataclasses.dataclass(frozen=True)
class MasterWeightsState:
    """The state of `with_master_weights`.

    Attributes:
        masters: like params: float32 for leaves that are shorter and trained, None for others.
        inner: the state of the transformation, for the masters.
    """

    masters: Any
    inner: Any


def with_master_weights(transformation: GradientTransformation) -> GradientTransformation:
    """An optimizer for bfloat16 or float16 parameters that loses no small updates.

    The state holds the parameters in float32; the optimizer works on these, and `apply_updates`
    gives exactly what they round to: updates are float64, since float32 does not always hold the
    difference of the old and the new weight. Where a whole step is compiled, no array of float64
    is made. Leaves of float32 and above and running statistics go to the transformation as they
    are. ``update`` needs the parameters, and its updates must reach them unchanged, so that it
    stands outermost.

    Args:
        transformation: an optimizer; gradients reach it in float32.

    Source: Micikevicius et al., "Mixed Precision Training", 2017, section 3.1.

    Example:
        >>> import nr
        >>> params = nr.numpy.ones((), "bfloat16")
        >>> optimizer = nr.optim.with_master_weights(nr.optim.sgd(1.0))
        >>> state = optimizer.init(params)
        >>> for _ in range(5):
        ...     updates, state = optimizer.update(nr.numpy.array(-0.001), state, params)
        ...     params = nr.optim.apply_updates(params, updates)
        >>> state.masters.round(5), params  # which is next to 1
        (Array(1.005, dtype=float32), Array(1.0078125, dtype=bfloat16))
    """
    op = "with_master_weights"

    def init(params: Any) -> MasterWeightsState:
        hyper_dtype(op, params)

        def master(p: Any, trains: bool) -> Array | None:
            return jnp.asarray(p, _FLOAT32) if trains and _is_short(p) else None

        masters = tree_map(master, params, trainable(params))
        return MasterWeightsState(masters, transformation.init(_or(masters, params)))

    def update(
        grads: Any, state: MasterWeightsState, params: Any = None, **extra: Any
    ) -> tuple[Any, MasterWeightsState]:
        need_params(op, params, "they are the roundings of the masters")
        wide = _or(state.masters, params)
        grads = tree_map(
            lambda g, m: g if m is None else jnp.asarray(g, _FLOAT32), grads, state.masters
        )
        updates, inner = transformation.update(grads, state.inner, wide, **extra)
        moved = apply_updates(wide, updates)

        def change(u: Array, p: Array, m: Array | None, new: Array) -> Array:
            if m is None:
                return u
            return new.astype(p.dtype).astype(_FLOAT64) - p.astype(_FLOAT64)

        updates = tree_map(change, updates, params, state.masters, moved)
        masters = tree_map(lambda new, m: None if m is None else new, moved, state.masters)
        return updates, MasterWeightsState(masters, inner)

    return GradientTransformation(init, update)


def _is_short(p: Any) -> bool:
    return typeof(p).dtype.itemsize < _FLOAT32.itemsize


def _or(masters: Any, params: Any) -> Any:
    """The master of each parameter, where it has one."""
    return tree_map(lambda p, m: p if m is None else m, params, masters)
