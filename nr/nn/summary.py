"""summary: a table of a model's modules, with results' shapes, parameters and operations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from nr.core.avals import ShapedArray
from nr.core.tree_nodes import REGISTRY
from nr.core.trees import (
    flatten_one_level_with_keys,
    is_tree_node,
    register_dataclass,
    tree_flatten,
    tree_leaves,
    tree_unflatten,
    with_children,
)
from nr.nn.paths import count_parameters, name_of
from nr.transforms.make_jaxpr import ShapeDtypeStruct, aval_of, eval_shape
from nr.transforms.plan import plan

__all__ = ["summary"]


def summary(model: Any, *args: Any, **options: Any) -> str:
    """A table of the modules that a call of the model goes through; nothing is computed.

    Args:
        model: a module; its leaves may be shapes (`nr.eval_shape` of its ``init``).
        *args, **options: of the call; arrays may be `nr.ShapeDtypeStruct`s.

    Returns:
        A line for each call of a module in order of execution, indented by depth: its name and
        class, the type of its result, the number of trained parameters, and the arithmetic
        operations of its compiled program. A `Stack` shows the calls of one of its layers.

    Example:
        >>> import nr
        >>> first, second = nr.random.split(nr.random.key(0))
        >>> model = nr.nn.Sequential([
        ...     nr.nn.Linear.init(784, 128, key=first),
        ...     nr.nn.relu,
        ...     nr.nn.Linear.init(128, 10, key=second),
        ... ])
        >>> print(nr.nn.summary(model, nr.ShapeDtypeStruct((32, 784), "float32")))
        module             result       parameters  operations
        Sequential         f32[32,10]      101,770   6,512,960
          layers.0 Linear  f32[32,128]     100,480   6,426,624
          layers.1 relu    f32[32,128]           0       4,096
          layers.2 Linear  f32[32,10]        1,290      82,240
    """
    recorder = _Recorder()
    try:
        call, leaves = _close_over_static(recorder.substitute(model, ()), args, options)
        eval_shape(call, leaves)
        recorder.active = False
        rows = [row.cells() for row in recorder.rows]
    finally:
        recorder.forget()
    return _table(("module", "result", "parameters", "operations"), rows)


@dataclasses.dataclass(frozen=True)
class _Row:
    """A call of a module: where it is, and what would repeat it."""

    depth: int
    name: str
    kind: str
    result: Any
    parameters: int
    call: Callable[..., Any]
    leaves: Any

    def cells(self) -> tuple[str, str, str, str]:
        operations = plan(self.call, self.leaves).flops
        label = "  " * self.depth + f"{self.name} {self.kind}".strip()
        shown = ", ".join([str(aval_of(x)) for x in tree_leaves(self.result)[:1]])
        return label, shown, f"{self.parameters:,}", f"{operations:,.0f}"


class _Recorder:
    """Makes a model that tells of its modules' calls.

    Each module is replaced by one of a subclass of its class, which knows its name; so the model
    works as before, also where transformations take it apart and rebuild it.
    """

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.active = True
        self._depth = 0
        self._classes: list[type] = []

    def substitute(self, tree: Any, path: tuple) -> Any:
        if not is_tree_node(type(tree)):
            return tree
        pairs, _ = flatten_one_level_with_keys(tree)
        children = [self.substitute(child, (*path, key)) for key, child in pairs]
        tree = with_children(tree, children)
        if not dataclasses.is_dataclass(tree) or not callable(tree):
            return tree
        made: Any = object.__new__(self._subclass(type(tree), name_of(path)))
        made.__dict__.update(tree.__dict__)
        return made

    def _subclass(self, cls: type, name: str) -> type:
        @functools.wraps(cls.__call__)  # type: ignore[operator]  # containers read signatures
        def call(module: Any, *args: Any, **options: Any) -> Any:
            if not self.active:
                return cls.__call__(module, *args, **options)  # type: ignore[operator]
            place, depth = len(self.rows), self._depth
            self.rows.append(None)
            self._depth += 1
            try:
                result = cls.__call__(module, *args, **options)  # type: ignore[operator]
            finally:
                self._depth -= 1
            again, leaves = _close_over_static(module, args, options)
            kind = repr(module) if cls.__name__ == "Function" else cls.__name__
            self.rows[place] = _Row(
                depth, name, kind, result, count_parameters(module), again, leaves
            )
            return result

        made = type(cls.__name__, (cls,), {"__call__": call})
        self._classes.append(made)
        return register_dataclass(made)

    def forget(self) -> None:
        """Take the subclasses out of the registry of pytrees, which would keep them forever."""
        for cls in self._classes:
            del REGISTRY[cls]


def _close_over_static(
    module: Any, args: tuple, options: dict[str, Any]
) -> tuple[Callable[[list[Any]], Any], list[ShapeDtypeStruct]]:
    """A function of the call's arrays alone, and their shapes; all else stays as it is."""
    leaves, structure = tree_flatten((module, args, options))
    dynamic = [hasattr(x, "shape") and hasattr(x, "dtype") for x in leaves]

    def call(arrays: list[Any]) -> Any:
        rest = iter(arrays)
        merged = [next(rest) if d else x for d, x in zip(dynamic, leaves)]
        module, args, options = tree_unflatten(structure, merged)
        return module(*args, **options)

    avals: list[ShapedArray] = [aval_of(x) for d, x in zip(dynamic, leaves) if d]
    return call, [ShapeDtypeStruct(a.shape, a.dtype) for a in avals]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns: the first two to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = []
    for row in (head, *rows):
        cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
