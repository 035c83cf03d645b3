"""The messages about traced values used as numbers, and about tracers that leaked."""

from __future__ import annotations

import gc
from types import CellType, FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from nr.core import errors, source_info

if TYPE_CHECKING:
    from nr.core.tracing import Tracer

_REWRITE = {
    "bool": "Use nr.numpy.where or nr.lax.cond, or make the argument static (static_argnames=...)",
    "int": "Use .astype('int32') to stay in the program, or make the argument static",
    "index": "Use a static Python int (static_argnames=...), or nr.lax.dynamic_slice for a "
    "traced position",
    "float": "Use .astype('float32') to stay in the program, or make the argument static",
    "complex": "Use .astype('complex64') to stay in the program, or make the argument static",
    "array": "Use nr.numpy in place of numpy inside transformed functions, or nr.pure_callback",
    "item": "Return the array from the function, and call .item() outside",
    "tolist": "Return the array from the function, and call .tolist() outside",
}
_WHAT = {"array": "NumPy conversion of", "index": "a Python integer was required; got"}
_CLASSES = {
    "bool": errors.TracerBoolConversionError,
    "int": errors.TracerIntegerConversionError,
    "index": errors.TracerIntegerConversionError,
    "array": errors.TracerArrayConversionError,
}


def concretization_error(kind: str, tracer: Tracer) -> Exception:
    """The error for bool(), int(), float(), np.asarray() ... of a traced value."""
    if not tracer._trace.alive:
        return errors.UnexpectedTracerError(leak_message(tracer, kind))
    if kind == "bool" and tracer.aval.size != 1:
        return ValueError(
            f"bool: the truth value of one element was expected; got {tracer.aval}. "
            f"Use .any() or .all()."
        )
    source = source_info.user_source()
    line = f" At {source}." if source else ""
    what = _WHAT.get(kind, f"{kind}() of")
    message = (
        f"{kind}: {what} a traced value {tracer.aval}; {tracer.describe()}.{line} {_REWRITE[kind]}."
    )
    return _CLASSES.get(kind, errors.ConcretizationTypeError)(message)


def leak_message(tracer: Tracer, op: str) -> str:
    """Where a leaked tracer was born, and who held it."""
    if tracer._trace.alive:
        return (
            f"{op}: a traced value {tracer.aval} was used where its transformation can't follow; "
            f"{tracer.describe()}. A function with a custom derivative can't close over a value "
            f"that is being differentiated: pass it as an argument."
        )
    return (
        f"{op}: a traced value {tracer.aval} was used after its transformation had ended; "
        f"{tracer.describe()}{_holder(tracer)}. Return it from the function rather than store it; "
        f"the rule of a custom_vjp or custom_jvp must get it as an argument, not close over it."
    )


def _holder(tracer: Tracer) -> str:
    """Which attribute, global or container refers to the tracer (best effort)."""
    found: list[tuple[int, str]] = []
    for owner in gc.get_referrers(tracer):
        if isinstance(owner, dict):
            found += _dict_holders(owner, tracer)
        elif isinstance(owner, (tuple, FrameType, FunctionType, CellType)):
            continue
        elif isinstance(owner, list):
            # nr's own lists of operands are held by frames only
            if any(not isinstance(x, (FrameType, list)) for x in gc.get_referrers(owner)):
                found.append((3, f"a list of {len(owner)}"))
        elif hasattr(owner, "__dict__") and not type(owner).__module__.startswith("nr."):
            names = [key for key, value in vars(owner).items() if value is tracer]
            if names:
                found.append((0, f"attribute {names[0]!r} of object {type(owner).__name__}"))
    return f"; it is held by {min(found)[1]}" if found else ""


def _dict_holders(owner: dict, tracer: Tracer) -> list[tuple[int, str]]:
    keys = [key for key, value in owner.items() if value is tracer]
    if not keys:
        return []
    if "__name__" in owner and "__builtins__" in owner:
        return [(1, f"global {keys[0]!r} of module {owner['__name__']}")]
    for outer in gc.get_referrers(owner):
        if getattr(outer, "__dict__", None) is owner and not isinstance(outer, ModuleType):
            return [(0, f"attribute {keys[0]!r} of object {type(outer).__name__}")]
    return [(2, f"a dict under key {keys[0]!r}")]
