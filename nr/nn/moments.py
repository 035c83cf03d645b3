"""Mean and variance over axes, and the affine function of them that normalization layers are.

Both have derivative rules of their own, which follow from the same calculus but leave out terms
that sum to 0, and need the sums of cotangents only: so a gradient passes over its operands once
less. The rules are made of operations with derivatives, for those of higher order.
"""

from __future__ import annotations

import functools
from typing import Any

import nr.numpy as jnp
from nr.core import dtypes
from nr.core.array import Array
from nr.core.tracing import Tracer
from nr.lax.convert import convert_element_type
from nr.lax.elementwise import rsqrt
from nr.lax.shape import slice_in_dim
from nr.numpy.promotion import promote_inexact
from nr.transforms.custom_derivatives import custom_jvp

__all__ = ["affine", "for_statistics", "inverse_root", "moments"]

# The part of a batch over which the shift of `moments` is taken, in one pass more over that part.
_PART = 16


def for_statistics(op: str, x: Any, *parameters: Array | None) -> tuple[Array, Any]:
    """x in the dtype that statistics are computed in, and the dtype of the layer's result.

    The result's is the common dtype of x and the parameters; half floats are computed in float32.

    Raises:
        TypeError: x is complex.
    """
    (x,) = promote_inexact(op, x)
    if x.dtype in dtypes.COMPLEX:
        raise TypeError(
            f'{op}: real numbers were required; got {x.aval} for "x". '
            "Normalize nr.numpy.abs(x), or real and imaginary parts apart."
        )
    result, wide = _dtypes(x.dtype, *[p.dtype for p in parameters if p is not None])
    return convert_element_type(x, wide), result


@functools.lru_cache(256)
def _dtypes(*each: Any) -> tuple[Any, Any]:
    result = jnp.result_type(*each)
    return result, jnp.promote_types(result, "float32")


def inverse_root(variance: Array, eps: float) -> Array:
    """1 / sqrt(variance + eps)."""
    return rsqrt(variance + jnp.asarray(eps, variance.dtype))


def moments(x: Array, axes: tuple[int, ...], shifted: bool = False, where: Any = None) -> Any:
    """Mean and (biased) variance over axes, kept with size 1.

    By default the variance is the mean of squared distances from the mean: a second pass. Where
    that is a pass through memory, `shifted` does both in one, on x less its mean over the first
    16th part of the first of the axes. The square of that mean's distance from the mean of all is
    subtracted from the result; it is less than 16 variances, as the squared distance of the mean of
    a fraction f of numbers is at most (1 - f) / f of them. So that loses four bits at worst,
    whatever the numbers are.

    Args:
        x: real floats.
        axes: nonnegative; not empty with `shifted`.
        shifted: as above.
        where: bool, broadcasts against x: which elements count. Without any, both are 0.
    """
    # Numbers that nothing traces need no rule, and the call through one would take longer.
    call = _moments_with_rule if isinstance(x, Tracer) else _moments
    return call(x, axes, shifted, where)


def _moments(x: Array, axes: tuple[int, ...], shifted: bool, where: Any) -> Any:
    if where is not None:
        mean = _mean(x, axes, where)
        return mean, _mean(jnp.square(x - mean), axes, where)
    if not shifted:
        mean = jnp.mean(x, axes, keepdims=True)
        return mean, jnp.mean(jnp.square(x - mean), axes, keepdims=True)
    part = slice_in_dim(x, 0, -(-x.shape[axes[0]] // _PART), axis=axes[0])
    shift = jnp.mean(part, axes, keepdims=True)
    moved = x - shift
    mean = jnp.mean(moved, axes, keepdims=True)
    variance = jnp.mean(jnp.square(moved), axes, keepdims=True) - jnp.square(mean)
    return shift + mean, jnp.maximum(variance, 0)


def _mean(x: Array, axes: tuple[int, ...], where: Any) -> Array:
    """The mean over axes of the elements that count; 0 if there are none."""
    if where is None:
        return jnp.mean(x, axes, keepdims=True)
    counted = jnp.sum(jnp.broadcast_to(where, x.shape), axes, keepdims=True, dtype=x.dtype)
    return jnp.sum(x, axes, keepdims=True, where=where) / jnp.maximum(counted, 1)


_moments_with_rule = custom_jvp(_moments, nondiff_argnums=(1, 2))


@_moments_with_rule.defjvp
def _moments_jvp(axes: tuple[int, ...], shifted: bool, primals: Any, tangents: Any) -> Any:
    """dvar = 2 mean((x - mean) dx): the term with dmean is 0, for x - mean has the mean 0."""
    x, where = primals
    mean, variance = moments(x, axes, shifted, where)
    scattered = _mean((x - mean) * tangents[0], axes, where)
    return (mean, variance), (_mean(tangents[0], axes, where), 2 * scattered)


def affine(x: Array, mean: Array, scale: Array, bias: Array | None) -> Array:
    """``(x - mean) * scale + bias``; all but x may have axes of size 1."""
    traced = any([isinstance(a, Tracer) for a in (x, mean, scale, bias)])
    return (_affine_with_rule if traced else _affine)(x, mean, scale, bias)


def _affine(x: Array, mean: Array, scale: Array, bias: Array | None) -> Array:
    y = (x - mean) * scale
    return y if bias is None else y + bias


_affine_with_rule = custom_jvp(_affine)


@_affine_with_rule.defjvp
def _affine_jvp(primals: Any, tangents: Any) -> Any:
    """The tangents of mean and bias meet before they are broadcast.

    So, in reverse, both their cotangents come of one sum, which does not wait for the scale.
    """
    x, mean, scale, bias = primals
    dx, dmean, dscale, dbias = tangents
    rest = -dmean * scale if bias is None else dbias - dmean * scale
    return affine(*primals), dx * scale + (x - mean) * dscale + rest
