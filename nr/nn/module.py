"""`module`: makes a class a frozen dataclass that is a pytree, the form of all layers and models.

Fields are children: arrays, modules, or lists, tuples and dicts of them. Fields marked with
`static` are structure: sizes, names, functions. Fields marked with `buffer` hold arrays that are
not trained, such as running statistics. There is no other state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

from nr.core import dtypes
from nr.core.trees import register_dataclass
from nr.tree import buffer, static

__all__ = ["buffer", "module", "static"]

T = TypeVar("T")

_WIDTH = 88
_INDENT = "  "
# Types whose values are hyper-parameters and not parameters.
_STATIC_TYPES = frozenset(["bool", "int", "float", "complex", "str", "bytes"])


@dataclass_transform(
    frozen_default=True, eq_default=False, field_specifiers=(static, buffer, dataclasses.field)
)
def module(cls: type[T]) -> type[T]:
    """Make a class a module: a frozen dataclass and pytree node, with `repr` and ``replace``.

    The class's ``__init__`` takes its fields; parameters are usually made by a classmethod
    ``init(..., *, key)``. A module works wherever a pytree does: `nr.grad` gives a module of
    gradients, `nr.vmap` of ``init`` gives stacked layers, `nr.tree.map` maps over parameters.
    Modules compare by identity.

    Args:
        cls: a class with annotated fields.

    Returns:
        The class. Its instances have ``replace(**changes)``: a copy with fields changed.

    Raises:
        TypeError: a field is annotated as a Python number, string or function and is not marked
            as static.

    Example:
        >>> import nr
        >>> @nr.nn.module
        ... class Scale:
        ...     factor: nr.Array
        ...     name: str = nr.nn.static()
        ...     def __call__(self, x):
        ...         return self.factor * x
        >>> scale = Scale(nr.numpy.array([2.0, 3.0]), "scale")
        >>> scale
        Scale(factor=f32[2], name='scale')
        >>> nr.grad(lambda scale, x: scale(x).sum())(scale, 5.0).factor
        Array([5., 5.], dtype=float32)
    """
    made: Any = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    for field in dataclasses.fields(made):
        if not field.metadata.get("static", False) and _looks_static(field.type):
            raise TypeError(
                f"module: fields of {cls.__name__} must hold arrays or modules unless marked as "
                f'static; got "{field.name}: {_type_name(field.type)}". '
                f"Write {field.name}: {_type_name(field.type)} = nr.nn.static()."
            )
    if "__repr__" not in cls.__dict__:
        made.__repr__ = _repr
    if "replace" not in cls.__dict__:
        made.replace = _replace
    return register_dataclass(made)


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, str):  # from __future__ import annotations
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _looks_static(annotation: Any) -> bool:
    name = _type_name(annotation).removesuffix(" | None")
    return name in _STATIC_TYPES or name.startswith(("Callable", "collections.abc.Callable"))


def _replace(self: Any, **changes: Any) -> Any:
    """A copy of the module with some fields changed.

    Raises:
        TypeError: there is no field of that name.
    """
    names = [field.name for field in dataclasses.fields(self)]
    for name in changes:
        if name not in names:
            raise TypeError(
                f"replace: a field of {type(self).__name__} ({', '.join(names)}) was required; "
                f'got "{name}".'
            )
    return dataclasses.replace(self, **changes)


# ---------------------------------------------------------------- repr
def _repr(self: Any) -> str:
    return _show(self, 0)


def _show(x: Any, depth: int) -> str:
    """x in one line where it fits, else with each item on a line of its own.

    Static fields are left out where they have their default.
    """
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        own = type(x).__repr__
        if own is not _repr and not hasattr(own, "__wrapped__"):  # nor made by dataclasses
            return repr(x)
        fields = [field for field in dataclasses.fields(x) if field.repr]
        items: list[tuple[str, Any]] = [
            (f"{field.name}=", getattr(x, field.name))
            for field in fields
            if not (field.metadata.get("static", False) and getattr(x, field.name) == field.default)
        ]
        return _block(f"{type(x).__name__}(", items, ")", depth)
    if type(x) in (list, tuple):
        opening, closing = "[]" if type(x) is list else ("(", ",)" if len(x) == 1 else ")")
        return _block(opening, [("", item) for item in x], closing, depth)
    if type(x) is dict:
        return _block("{", [(f"{key!r}: ", value) for key, value in x.items()], "}", depth)
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{dtypes.short_name(x.dtype)}[{','.join(map(str, x.shape))}]"
    if isinstance(x, Callable) and hasattr(x, "__name__"):  # type: ignore[arg-type]
        return x.__name__
    return repr(x)


def _block(opening: str, items: list[tuple[str, Any]], closing: str, depth: int) -> str:
    parts = [label + _show(value, depth + 1) for label, value in items]
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(line) + len(_INDENT) * depth <= _WIDTH and "\n" not in line:
        return line
    pad = _INDENT * (depth + 1)
    body = "".join(f"{pad}{part},\n" for part in parts)
    return f"{opening}\n{body}{_INDENT * depth}{closing.lstrip(',')}"
