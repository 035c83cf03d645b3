"""Containers: Sequential, and Stack, which runs many layers of one kind as a loop.

Lists, tuples and dicts of modules need no class of their own: they are pytrees. What containers
know of their layers is what their calls declare: a layer whose ``__call__`` has a parameter `key`
gets one of its own, one that has `training` gets that; and a layer that holds buffers (running
statistics, `nr.nn.buffer`) returns ``(y, layer)``, so that a container of it does as well.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nr import random
from nr.core.trees import flatten_one_level, is_tree_node, tree_leaves
from nr.nn.module import module, static
from nr.transforms.checkpoint import checkpoint
from nr.transforms.control_flow import scan
from nr.transforms.vmap import vmap

__all__ = ["Function", "Sequential", "Stack"]


@functools.cache
def _options(cls: Any) -> frozenset[str]:
    """Which of `key` and `training` the calls of a class take."""
    try:
        parameters = inspect.signature(cls.__call__).parameters
    except (TypeError, ValueError):  # some callables of C have no signature
        return frozenset()
    return frozenset(["key", "training"]).intersection(parameters)


def _holds_buffers(tree: Any) -> bool:
    if not is_tree_node(type(tree)):
        return False
    if dataclasses.is_dataclass(tree):
        fields = dataclasses.fields(tree)
        if any([f.metadata.get("buffer", False) for f in fields]):
            return True
    return any([_holds_buffers(child) for child in flatten_one_level(tree)[0]])


# ---------------------------------------------------------------- a function as a layer
@module
class Function:
    """A layer without parameters: a function with fixed options.

    `Sequential` makes it of functions and of `functools.partial` objects. Unlike these, two of
    the same function and arguments are the same structure, so that jit compiles once for both.

    Attributes:
        function: ``function(x, **options) -> y``.
        options: keyword arguments, as ``((name, value), ...)``.

    Example:
        >>> import nr
        >>> nr.nn.Function(nr.numpy.sum, (("axis", 0),))(nr.numpy.ones((3, 2)))
        Array([3., 3.], dtype=float32)
    """

    function: Callable[..., Any] = static()
    options: tuple[tuple[str, Any], ...] = static(default=())

    def __call__(self, x: Any) -> Any:
        """``function(x, **options)``."""
        return self.function(x, **dict(self.options))

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        shown = ", ".join([f"{option}={value!r}" for option, value in self.options])
        return f"{name}({shown})" if shown else name


def _as_layer(x: Any) -> Any:
    """x, or a `Function` if it is a plain function."""
    if not callable(x) or is_tree_node(type(x)):
        return x
    if not isinstance(x, functools.partial) or x.args:
        return Function(x)
    layer = Function(x.func, tuple(x.keywords.items()))
    for name, value in layer.options:
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"Sequential: options that can be hashed were required, as they are structure; "
                f'got {value!r} for "{name}" of {layer.function.__name__}. Write a tuple for a '
                "list, and a module with a field for an array."
            ) from None
    return layer


# ---------------------------------------------------------------- one after another
@module
class Sequential:
    """Layers and functions, one applied to the result of the other.

    Attributes:
        layers: modules and functions; `functools.partial` gives functions their options.

    Example:
        >>> import nr
        >>> first, second = nr.random.split(nr.random.key(0))
        >>> model = nr.nn.Sequential([
        ...     nr.nn.Linear.init(4, 8, key=first),
        ...     nr.nn.relu,
        ...     nr.nn.Linear.init(8, 2, key=second),
        ... ])
        >>> model
        Sequential(
          layers=(Linear(weight=f32[4,8], bias=f32[8]), relu, Linear(weight=f32[8,2], bias=f32[2])),
        )
        >>> model(nr.numpy.ones((3, 4))).shape
        (3, 2)
    """

    layers: Sequence[Any]

    def __post_init__(self) -> None:
        # Transformations rebuild modules of what is no layer, so nothing is refused here.
        if isinstance(self.layers, Iterable):
            object.__setattr__(self, "layers", tuple([_as_layer(x) for x in self.layers]))

    @functools.cached_property
    def _returns_pair(self) -> bool:
        return _holds_buffers(self.layers)

    def __call__(self, x: Any, *, key: Any = None, training: bool | None = None) -> Any:
        """Apply all layers.

        Args:
            x: the first layer's input.
            key: split among the layers that take one.
            training: given to the layers that take it.

        Returns:
            The last layer's result y; ``(y, Sequential)`` if a layer holds buffers.

        Raises:
            TypeError: a layer takes `training` and there is none.
        """
        layers = []
        for i, layer in enumerate(self.layers):
            options = _given("Sequential", layer, i, key, training)
            x = layer(x, **options)
            if self._returns_pair:
                if _holds_buffers(layer):
                    x, layer = x
                layers.append(layer)
        return (x, Sequential(tuple(layers))) if self._returns_pair else x


def _given(op: str, layer: Any, i: int, key: Any, training: bool | None) -> dict[str, Any]:
    """Those of key and training that a layer takes."""
    names = _options(layer.__class__)
    options: dict[str, Any] = {}
    if "training" in names:
        if training is None and not isinstance(layer, (Sequential, Stack)):
            raise TypeError(
                f"{op}: training=True or False was required, for layer {i}, a "
                f"{type(layer).__name__}; got None. Write model(x, training=False) for inference."
            )
        options["training"] = training
    if "key" in names:
        options["key"] = None if key is None else random.fold_in(key, i)
    return options


# ---------------------------------------------------------------- many of one kind
@module
class Stack:
    """Layers of one kind, one after another, as a loop: compiled once, however many there are.

    The layers are one module, whose leaves have a leading axis: one entry a layer.

    Attributes:
        layers: a module with stacked leaves.
        remat: whether the backward pass recomputes what happens inside of layers, and keeps only
            what goes from one to the next.

    Example:
        >>> import nr
        >>> make = lambda key: nr.nn.Linear.init(8, 8, key=key)
        >>> stack = nr.nn.Stack.init(12, make, key=nr.random.key(0))
        >>> stack
        Stack(layers=Linear(weight=f32[12,8,8], bias=f32[12,8]))
        >>> stack(nr.numpy.ones((3, 8))).shape
        (3, 8)
    """

    layers: Any
    remat: bool = static(default=False)

    @classmethod
    def init(
        cls, depth: int, make: Callable[[Any], Any], *, key: Any, remat: bool = False
    ) -> Stack:
        """Make so many layers.

        Args:
            depth: their number, at least 1.
            make: ``make(key) -> layer``.
            key: for all of them.
            remat: as the attribute.
        """
        if depth < 1:
            raise ValueError(f"Stack: a depth of at least 1 was required; got {depth}.")
        return cls(vmap(make)(random.split(key, depth)), remat)

    @functools.cached_property
    def _returns_pair(self) -> bool:
        return _holds_buffers(self.layers)

    def __call__(
        self, x: Any, *args: Any, key: Any = None, training: bool | None = None, **options: Any
    ) -> Any:
        """Apply all layers.

        Args:
            x: the first layer's input; the layers' results must have its shape and dtype.
            *args, **options: given to every layer.
            key: split among the layers, if they take one.
            training: given to the layers, if they take it.

        Returns:
            The last layer's result y; ``(y, Stack)`` if the layers hold buffers.
        """
        given = _given("Stack", self.layers, 0, None, training)
        draws = "key" in given

        def apply(x: Any, layer_and_key: Any) -> Any:
            layer, key = layer_and_key
            own = {**given, "key": key} if draws else given
            y = layer(x, *args, **own, **options)
            return y if self._returns_pair else (y, None)

        depth = tree_leaves(self.layers)[0].shape[0]
        keys = random.split(key, depth) if draws and key is not None else None
        step = checkpoint(apply) if self.remat else apply
        x, layers = scan(step, x, (self.layers, keys))
        return (x, self.replace(layers=layers)) if self._returns_pair else x  # type: ignore[attr-defined]
