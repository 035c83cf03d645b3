"""What everything else stands on: avals, primitives, traces, jaxprs, arrays, dtypes, trees.

The names of jax.core that programs use are here, too, imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AbstractValue": "nr.core.avals",
    "Atom": "nr.core.jaxprs",
    "ShapedArray": "nr.core.avals",
    "Trace": "nr.core.tracing",
    "Tracer": "nr.core.tracing",
    "ensure_compile_time_eval": "nr.transforms.names",
}


def eval_jaxpr(jaxpr: Any, consts: Any, *args: Any) -> list[Any]:
    """Run a jaxpr on arguments, its constants given beside it, as ``jax.core.eval_jaxpr`` does.

    Args:
        jaxpr: a program, such as `nr.make_jaxpr` gives.
        consts: values of its constants (``jaxpr.consts``, or others in their place).
        args: values of its arguments, flat.

    Example:
        >>> import nr
        >>> jaxpr = nr.make_jaxpr(lambda x: x * 2.0)(1.0)
        >>> nr.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.literals, 3.0)
        [Array(6., dtype=float32, weak_type=True)]
    """
    from nr.core import jaxprs

    if len(consts) != len(jaxpr.consts):
        raise ValueError(
            f"eval_jaxpr: a value for each of {len(jaxpr.consts)} constant(s) was expected; got "
            f"{len(consts)}. Pass jaxpr.consts."
        )
    return jaxprs.eval_jaxpr(jaxpr.replace(consts=consts), *args)


def eval_context() -> Any:
    """For a ``with`` block: what it runs is no part of the transformations around."""
    from nr.core import tracing

    return tracing.current(tracing.EVAL)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nr.core' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
