"""Optimizers as triples of functions, with the names of jax.example_libraries.optimizers.

An optimizer is ``init(params) -> state``, ``update(step, gradients, state) -> state`` and
``get_params(state) -> params``. Each is written for one array; `optimizer` makes it one of pytrees.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from nr import numpy as jnp
from nr.core.array import Array
from nr.core.trees import (
    register_pytree_node_class,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)

__all__ = [
    "JoinPoint",
    "Optimizer",
    "OptimizerState",
    "adagrad",
    "adam",
    "adamax",
    "clip_grads",
    "constant",
    "exponential_decay",
    "inverse_time_decay",
    "l2_norm",
    "make_schedule",
    "momentum",
    "nesterov",
    "optimizer",
    "pack_optimizer_state",
    "piecewise_constant",
    "polynomial_decay",
    "rmsprop",
    "rmsprop_momentum",
    "sgd",
    "sm3",
    "unpack_optimizer_state",
]

Schedule = Callable[[Any], Any]


class Optimizer(NamedTuple):
    """The three functions."""

    init_fn: Callable
    update_fn: Callable
    params_fn: Callable


@register_pytree_node_class
class OptimizerState(NamedTuple):
    """A state for each parameter, with the structures of the parameters and of the states."""

    packed_state: Any
    tree_def: Any
    subtree_defs: Any

    def tree_flatten(self) -> tuple[tuple, tuple]:
        return (self.packed_state,), (self.tree_def, self.subtree_defs)

    @classmethod
    def tree_unflatten(cls, structure: tuple, children: tuple) -> OptimizerState:
        return cls(*children, *structure)


class JoinPoint:
    """One parameter's state, as a leaf of a pytree like the parameters."""

    def __init__(self, subtree: Any) -> None:
        self.subtree = subtree


def optimizer(opt_maker: Callable) -> Callable[..., Optimizer]:
    """Make an optimizer of pytrees from one of single arrays.

    Args:
        opt_maker: gives (init, update, get_params) that know of one array each.

    Example:
        >>> import nr.numpy as jnp
        >>> @optimizer
        ... def sign_descent(step_size):
        ...     return lambda x: x, lambda i, g, x: x - step_size * jnp.sign(g), lambda x: x
        >>> init, update, get_params = sign_descent(0.5)
        >>> get_params(update(0, {"w": 3.0}, init({"w": 2.0})))
        {'w': Array(1.5, dtype=float32, weak_type=True)}
    """

    @functools.wraps(opt_maker)
    def tree_opt_maker(*args: Any, **kwargs: Any) -> Optimizer:
        init_one, update_one, params_one = opt_maker(*args, **kwargs)

        def init(params: Any) -> OptimizerState:
            leaves, tree = tree_flatten(params)
            return _packed([init_one(x) for x in leaves], tree)

        def update(i: Any, grads: Any, state: OptimizerState) -> OptimizerState:
            leaves, tree = tree_flatten(grads)
            if tree != state.tree_def:
                raise TypeError(
                    f"update: gradients with the structure of the parameters, {state.tree_def}, "
                    f"were required; got {tree}."
                )
            states = zip(leaves, _unpacked(state), strict=True)
            new = _packed([update_one(i, g, s) for g, s in states], tree)
            if new.subtree_defs != state.subtree_defs:
                raise TypeError(
                    f"update: states of one structure were required; the optimizer was given "
                    f"{state.subtree_defs} and made {new.subtree_defs}."
                )
            return new

        def get_params(state: OptimizerState) -> Any:
            return tree_unflatten(state.tree_def, [params_one(s) for s in _unpacked(state)])

        return Optimizer(init, update, get_params)

    return tree_opt_maker


def _packed(states: list, tree: Any) -> OptimizerState:
    pairs = [tree_flatten(state) for state in states]
    return OptimizerState([leaves for leaves, _ in pairs], tree, tuple([d for _, d in pairs]))


def _unpacked(state: OptimizerState) -> list:
    pairs = zip(state.subtree_defs, state.packed_state, strict=True)
    return [tree_unflatten(tree, leaves) for tree, leaves in pairs]


def unpack_optimizer_state(opt_state: OptimizerState) -> Any:
    """The state as a pytree like the parameters, with a `JoinPoint` for each; to be saved."""
    return tree_unflatten(opt_state.tree_def, [JoinPoint(s) for s in _unpacked(opt_state)])


def pack_optimizer_state(marked_pytree: Any) -> OptimizerState:
    """What `unpack_optimizer_state` was given."""
    points, tree = tree_flatten(marked_pytree)
    if not all([isinstance(x, JoinPoint) for x in points]):
        raise TypeError(
            f"pack_optimizer_state: leaves that are JoinPoints were required; got "
            f"{[type(x).__name__ for x in points]}."
        )
    return _packed([x.subtree for x in points], tree)


@optimizer
def sgd(step_size: Any) -> tuple:
    """Gradient descent."""
    rate = make_schedule(step_size)
    return _same, lambda i, g, x: x - rate(i) * g, _same


def _same(x: Any) -> Any:
    return x


def _first(state: tuple) -> Any:
    return state[0]


@optimizer
def momentum(step_size: Any, mass: float) -> tuple:
    """Gradient descent along a decaying sum of gradients."""
    rate = make_schedule(step_size)

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, velocity = state
        velocity = mass * velocity + g
        return x - rate(i) * velocity, velocity

    return lambda x: (x, jnp.zeros_like(x)), update, _first


@optimizer
def nesterov(step_size: Any, mass: float) -> tuple:
    """Momentum with the gradient where it leads."""
    rate = make_schedule(step_size)

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, velocity = state
        velocity = mass * velocity + g
        return x - rate(i) * (mass * velocity + g), velocity

    return lambda x: (x, jnp.zeros_like(x)), update, _first


@optimizer
def adagrad(step_size: Any, momentum: float = 0.9) -> tuple:
    """Gradients over the root of the sum of their squares (Duchi et al. 2011), averaged."""
    rate = make_schedule(step_size)

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, squares, mean = state
        squares = squares + jnp.square(g)
        mean = (1.0 - momentum) * (g * _inverse_root(squares)) + momentum * mean
        return x - rate(i) * mean, squares, mean

    return lambda x: (x, jnp.zeros_like(x), jnp.zeros_like(x)), update, _first


def _inverse_root(x: Array) -> Array:
    return jnp.where(x > 0, 1.0 / jnp.sqrt(jnp.where(x > 0, x, 1)), 0.0)


@optimizer
def rmsprop(step_size: Any, gamma: float = 0.9, eps: float = 1e-8) -> tuple:
    """Gradients over the root of the mean of their squares (Tieleman and Hinton 2012)."""
    rate = make_schedule(step_size)

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, squares = state
        squares = squares * gamma + jnp.square(g) * (1.0 - gamma)
        return x - rate(i) * g / jnp.sqrt(squares + eps), squares

    return lambda x: (x, jnp.zeros_like(x)), update, _first


@optimizer
def rmsprop_momentum(
    step_size: Any, gamma: float = 0.9, eps: float = 1e-8, momentum: float = 0.9
) -> tuple:
    """RMSProp whose steps are summed with decay."""
    rate = make_schedule(step_size)

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, squares, velocity = state
        squares = squares * gamma + jnp.square(g) * (1.0 - gamma)
        velocity = momentum * velocity + rate(i) * g / jnp.sqrt(squares + eps)
        return x - velocity, squares, velocity

    return lambda x: (x, jnp.zeros_like(x), jnp.zeros_like(x)), update, _first


@optimizer
def adam(step_size: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> tuple:
    """Adam (Kingma and Ba 2015, algorithm 1)."""
    rate = make_schedule(step_size)

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, m, v = state
        m = (1 - b1) * g + b1 * m
        v = (1 - b2) * jnp.square(g) + b2 * v
        scaled = m / (1 - b1 ** (i + 1))
        squares = v / (1 - b2 ** (i + 1))
        return x - rate(i) * scaled / (jnp.sqrt(squares) + eps), m, v

    return lambda x: (x, jnp.zeros_like(x), jnp.zeros_like(x)), update, _first


@optimizer
def adamax(step_size: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> tuple:
    """Adam with the largest of gradients for the mean of squares (Kingma and Ba 2015)."""
    rate = make_schedule(step_size)

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, m, largest = state
        m = (1 - b1) * g + b1 * m
        largest = jnp.maximum(b2 * largest, jnp.abs(g))
        size = rate(i) / (1 - b1 ** (i + 1))
        return x - size * m / (largest + eps), m, largest

    return lambda x: (x, jnp.zeros_like(x), jnp.zeros_like(x)), update, _first


@optimizer
def sm3(step_size: Any, momentum: float = 0.9) -> tuple:
    """AdaGrad with a sum of squares for each index of each axis, not each element (Anil 2019)."""
    rate = make_schedule(step_size)

    def init(x: Any) -> tuple:
        x = jnp.asarray(x)
        return x, jnp.zeros_like(x), [jnp.zeros(n, x.dtype) for n in x.shape or (1,)]

    def update(i: Any, g: Array, state: tuple) -> tuple:
        x, mean, sums = state
        steep = jnp.atleast_1d(g)
        axes = range(steep.ndim)
        others = [tuple([a for a in axes if a != axis]) for axis in axes]
        spread = [jnp.expand_dims(s, rest) for s, rest in zip(sums, others, strict=True)]
        squares = functools.reduce(jnp.minimum, spread) + jnp.square(steep)
        scaled = (steep * _inverse_root(squares)).reshape(x.shape)
        mean = (1.0 - momentum) * scaled + momentum * mean
        return x - rate(i) * mean, mean, [jnp.max(squares, axis=rest) for rest in others]

    return init, update, _first


# ---------------------------------------------------------------- rates by step
def constant(step_size: Any) -> Schedule:
    """One rate for all steps."""
    return lambda i: step_size


def exponential_decay(step_size: Any, decay_steps: Any, decay_rate: Any) -> Schedule:
    """A rate that shrinks by a factor every decay_steps."""
    return lambda i: step_size * decay_rate ** (i / decay_steps)


def inverse_time_decay(
    step_size: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False
) -> Schedule:
    """A rate over one plus decay_rate times the time; staircase is for whole times only."""
    if staircase:
        return lambda i: step_size / (1 + decay_rate * jnp.floor(i / decay_steps))
    return lambda i: step_size / (1 + decay_rate * i / decay_steps)


def polynomial_decay(
    step_size: Any, decay_steps: Any, final_step_size: Any, power: float = 1.0
) -> Schedule:
    """A rate that reaches another one after decay_steps."""

    def schedule(i: Any) -> Array:
        left = (1 - jnp.minimum(i, decay_steps) / decay_steps) ** power
        return left * (step_size - final_step_size) + final_step_size

    return schedule


def piecewise_constant(boundaries: Any, values: Any) -> Schedule:
    """The first value up to the first boundary, the next up to the next one, and so on."""
    boundaries, values = jnp.array(boundaries), jnp.array(values)
    if boundaries.ndim != 1 or values.ndim != 1 or boundaries.size != values.size - 1:
        raise ValueError(
            f"piecewise_constant: one value more than boundaries, both of rank 1, was required; "
            f"got {values.aval} and {boundaries.aval}."
        )
    return lambda i: values[jnp.sum(i > boundaries)]


def make_schedule(scalar_or_schedule: Any) -> Schedule:
    """A function of the step: the argument, or one that always gives it."""
    if callable(scalar_or_schedule):
        return scalar_or_schedule
    if jnp.ndim(scalar_or_schedule) == 0:
        return constant(scalar_or_schedule)
    raise TypeError(
        f"make_schedule: a number or a function was required; got {type(scalar_or_schedule)}."
    )


# ---------------------------------------------------------------- gradients
def l2_norm(tree: Any) -> Array:
    """The root of the sum of all squares in a pytree."""
    return jnp.sqrt(sum([jnp.vdot(x, x) for x in tree_leaves(tree)]))


def clip_grads(grad_tree: Any, max_norm: Any) -> Any:
    """Gradients scaled so that their `l2_norm` is at most max_norm."""
    norm = l2_norm(grad_tree)
    return tree_map(lambda g: jnp.where(norm < max_norm, g, g * (max_norm / norm)), grad_tree)
