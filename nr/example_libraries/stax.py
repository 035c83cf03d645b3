"""Layers as pairs of functions, with the names of jax.example_libraries.stax.

A layer is ``init(rng, input_shape) -> (output_shape, params)`` and
``apply(params, inputs, rng=None) -> outputs``. The extent of the batch may be -1 in shapes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from nr import lax, nn, random
from nr import numpy as jnp
from nr.core.array import Array
from nr.nn.initializers import glorot_normal, normal, ones, zeros
from nr.transforms.make_jaxpr import ShapeDtypeStruct, eval_shape

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Conv1DTranspose",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Elu",
    "Exp",
    "FanInConcat",
    "FanInSum",
    "FanOut",
    "Flatten",
    "Gelu",
    "GeneralConv",
    "GeneralConvTranspose",
    "Identity",
    "LeakyRelu",
    "LogSoftmax",
    "MaxPool",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SumPool",
    "Tanh",
    "elementwise",
    "parallel",
    "serial",
    "shape_dependent",
]

Layer = tuple[Callable, Callable]
Shape = tuple[int, ...]

_GLOROT, _NORMAL, _TINY = glorot_normal(), normal(), normal(1e-6)


def Dense(out_dim: int, W_init: Callable = _GLOROT, b_init: Callable = _NORMAL) -> Layer:
    """``x @ W + b``."""

    def init(rng: Array, input_shape: Shape) -> tuple:
        for_weights, for_bias = random.split(rng)
        W = W_init(for_weights, (input_shape[-1], out_dim))
        return (*input_shape[:-1], out_dim), (W, b_init(for_bias, (out_dim,)))

    def apply(params: tuple, inputs: Array, **kwargs: Any) -> Array:
        W, b = params
        return jnp.dot(inputs, W) + b

    return init, apply


def _convolution(function: Callable) -> Callable[..., Layer]:
    """The layers of a function of (inputs, kernel, strides, padding, dimension_numbers)."""

    def layer(
        dimension_numbers: tuple[str, str, str],
        out_chan: int,
        filter_shape: Sequence[int],
        strides: Sequence[int] | None = None,
        padding: Any = "VALID",
        W_init: Callable | None = None,
        b_init: Callable = _TINY,
    ) -> Layer:
        lhs, rhs, out = dimension_numbers
        strides = strides or (1,) * len(filter_shape)
        W_init = W_init or glorot_normal(rhs.index("I"), rhs.index("O"))

        def convolve(inputs: Any, W: Any) -> Array:
            return function(inputs, W, strides, padding, dimension_numbers)

        def init(rng: Array, input_shape: Shape) -> tuple:
            extents = {"O": out_chan, "I": input_shape[lhs.index("C")]}
            window = iter(filter_shape)
            kernel = tuple([extents[c] if c in extents else next(window) for c in rhs])
            shape = _shape_of(
                lambda x: convolve(x, jnp.zeros(kernel)),
                input_shape,
                lhs.index("N"),
                out.index("N"),
            )
            for_weights, for_bias = random.split(rng)
            bias = tuple([out_chan if c == "C" else 1 for c in out])
            return shape, (W_init(for_weights, kernel), b_init(for_bias, bias))

        def apply(params: tuple, inputs: Array, **kwargs: Any) -> Array:
            W, b = params
            return convolve(inputs, W) + b

        return init, apply

    return layer


def _shape_of(function: Callable, shape: Shape, batch: int, batch_after: int) -> Shape:
    """The shape of a function's result, whose batch has the argument's extent, be it unknown."""
    known = [1 if i == batch else n for i, n in enumerate(shape)]
    after = eval_shape(function, ShapeDtypeStruct(known, "float32")).shape
    return tuple([shape[batch] if i == batch_after else n for i, n in enumerate(after)])


GeneralConv = _convolution(
    lambda x, W, strides, padding, numbers: lax.conv_general_dilated(
        x, W, strides, padding, dimension_numbers=numbers
    )
)
GeneralConvTranspose = _convolution(
    lambda x, W, strides, padding, numbers: lax.conv_transpose(
        x, W, strides, padding, dimension_numbers=numbers
    )
)
Conv = functools.partial(GeneralConv, ("NHWC", "HWIO", "NHWC"))
ConvTranspose = functools.partial(GeneralConvTranspose, ("NHWC", "HWIO", "NHWC"))
Conv1DTranspose = functools.partial(GeneralConvTranspose, ("NHC", "HIO", "NHC"))


def BatchNorm(
    axis: int | Sequence[int] = (0, 1, 2),
    epsilon: float = 1e-5,
    center: bool = True,
    scale: bool = True,
    beta_init: Callable = zeros,
    gamma_init: Callable = ones,
) -> Layer:
    """Inputs standardized over the batch that they come in, times gamma, plus beta."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)

    def init(rng: Array, input_shape: Shape) -> tuple:
        shape = tuple([n for i, n in enumerate(input_shape) if i not in axes])
        for_beta, for_gamma = random.split(rng)
        beta = beta_init(for_beta, shape) if center else ()
        gamma = gamma_init(for_gamma, shape) if scale else ()
        return input_shape, (beta, gamma)

    def apply(params: tuple, inputs: Array, **kwargs: Any) -> Array:
        beta, gamma = params
        z = nn.standardize(inputs, axis=axes, epsilon=epsilon)
        if scale:
            z = z * jnp.expand_dims(gamma, axes)
        return z + jnp.expand_dims(beta, axes) if center else z

    return init, apply


def elementwise(fun: Callable, **fun_kwargs: Any) -> Layer:
    """A function of the inputs, without parameters."""

    def init(rng: Array, input_shape: Shape) -> tuple:
        return input_shape, ()

    return init, lambda params, inputs, **kwargs: fun(inputs, **fun_kwargs)


Tanh = elementwise(jnp.tanh)
Relu = elementwise(nn.relu)
Exp = elementwise(jnp.exp)
LogSoftmax = elementwise(nn.log_softmax, axis=-1)
Softmax = elementwise(nn.softmax, axis=-1)
Softplus = elementwise(nn.softplus)
Sigmoid = elementwise(nn.sigmoid)
Elu = elementwise(nn.elu)
LeakyRelu = elementwise(nn.leaky_relu)
Selu = elementwise(nn.selu)
Gelu = elementwise(nn.gelu)
Identity = elementwise(lambda x: x)


def _pooling(reducer: Callable, start: float, mean: bool = False) -> Callable[..., Layer]:
    def layer(
        window_shape: Sequence[int],
        strides: Sequence[int] | None = None,
        padding: str = "VALID",
        spec: str | None = None,
    ) -> Layer:
        strides = strides or (1,) * len(window_shape)
        spec = spec or "N" + "." * len(window_shape) + "C"

        def everywhere(extents: Sequence[int]) -> Shape:
            left = iter(extents)
            return tuple([1 if c in "NC" else next(left) for c in spec])

        def pool(x: Array) -> Array:
            arguments = (reducer, everywhere(window_shape), everywhere(strides), padding)
            out = lax.reduce_window(x, start, *arguments)
            # (what lies in the padding does not count)
            return out / lax.reduce_window(jnp.ones_like(x), start, *arguments) if mean else out

        def init(rng: Array, input_shape: Shape) -> tuple:
            return _shape_of(pool, input_shape, spec.index("N"), spec.index("N")), ()

        return init, lambda params, inputs, **kwargs: pool(inputs)

    return layer


MaxPool = _pooling(lax.max, -jnp.inf)
SumPool = _pooling(lax.add, 0.0)
AvgPool = _pooling(lax.add, 0.0, mean=True)

Flatten = (
    lambda rng, input_shape: ((input_shape[0], math.prod(input_shape[1:])), ()),
    lambda params, inputs, **kwargs: jnp.reshape(inputs, (inputs.shape[0], -1)),
)


def FanOut(num: int) -> Layer:
    """The inputs, num times."""
    return lambda rng, input_shape: ([input_shape] * num, ()), lambda _, x, **kwargs: [x] * num


FanInSum = (
    lambda rng, input_shape: (input_shape[0], ()),
    lambda params, inputs, **kwargs: sum(inputs),
)


def FanInConcat(axis: int = -1) -> Layer:
    """Several inputs, side by side."""

    def init(rng: Array, input_shape: Sequence[Shape]) -> tuple:
        shape = list(input_shape[0])
        shape[axis] = sum([s[axis] for s in input_shape])
        return tuple(shape), ()

    return init, lambda params, inputs, **kwargs: jnp.concatenate(inputs, axis)


def Dropout(rate: float, mode: str = "train") -> Layer:
    """Inputs kept with probability rate, and divided by it; all of them if mode is not "train"."""

    def init(rng: Array, input_shape: Shape) -> tuple:
        return input_shape, ()

    def apply(params: tuple, inputs: Array, rng: Array | None = None, **kwargs: Any) -> Array:
        if mode != "train":
            return inputs
        if rng is None:
            raise ValueError('Dropout: a key was required; got None for "rng". Give apply one.')
        keep = random.bernoulli(rng, rate, inputs.shape)
        return jnp.where(keep, inputs / rate, 0)

    return init, apply


# ---------------------------------------------------------------- layers of layers
def serial(*layers: Layer) -> Layer:
    """One layer after another.

    Example:
        >>> import nr
        >>> from nr.example_libraries import stax
        >>> init, apply = stax.serial(stax.Dense(8), stax.Relu, stax.Dense(2))
        >>> shape, params = init(nr.random.key(0), (-1, 4))
        >>> shape, apply(params, nr.numpy.ones((3, 4))).shape
        ((-1, 2), (3, 2))
    """

    def init(rng: Array, input_shape: Shape) -> tuple:
        params = []
        for layer_init, _ in layers:
            rng, own = random.split(rng)
            input_shape, param = layer_init(own, input_shape)
            params.append(param)
        return input_shape, params

    def apply(params: Sequence, inputs: Any, rng: Array | None = None, **kwargs: Any) -> Any:
        keys = _keys(rng, len(layers))
        for (_, layer_apply), param, key in zip(layers, params, keys, strict=True):
            inputs = layer_apply(param, inputs, rng=key, **kwargs)
        return inputs

    return init, apply


def parallel(*layers: Layer) -> Layer:
    """Layers of one input each; after `FanOut`, and before `FanInSum` or `FanInConcat`."""

    def init(rng: Array, input_shape: Sequence[Shape]) -> tuple:
        keys = random.split(rng, len(layers))
        triples = zip(layers, keys, input_shape, strict=True)
        made = [layer_init(key, shape) for (layer_init, _), key, shape in triples]
        return tuple([shape for shape, _ in made]), tuple([param for _, param in made])

    def apply(params: Sequence, inputs: Sequence, rng: Array | None = None, **kwargs: Any) -> list:
        groups = zip(layers, params, inputs, _keys(rng, len(layers)), strict=True)
        return [apply_one(p, x, rng=key, **kwargs) for (_, apply_one), p, x, key in groups]

    return init, apply


def _keys(rng: Array | None, n: int) -> Any:
    return [None] * n if rng is None else random.split(rng, n)


def shape_dependent(make_layer: Callable[[Any], Layer]) -> Layer:
    """The layer that a function makes for the shape of the inputs."""

    def init(rng: Array, input_shape: Shape) -> tuple:
        return make_layer(input_shape)[0](rng, input_shape)

    def apply(params: Any, inputs: Array, **kwargs: Any) -> Any:
        return make_layer(inputs.shape)[1](params, inputs, **kwargs)

    return init, apply
