"""Derivative rules of primitives: tangents (jvp) and cotangents (transpose)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from nr.core.avals import UndefinedPrimal, Zero
from nr.core.tracing import Primitive
from nr.interpreters._rules import RuleTable
from nr.lax.rules import add_tangents, instantiate, zero_tangent, zeros_of
from nr.transforms.ad import JVPTrace, JVPTracer

__all__ = [
    "JVPTrace",
    "JVPTracer",
    "UndefinedPrimal",
    "Zero",
    "add_jaxvals",
    "add_tangents",
    "defbilinear",
    "defjvp",
    "defjvp2",
    "deflinear",
    "deflinear2",
    "get_primitive_transpose",
    "instantiate_zeros",
    "is_undefined_primal",
    "primitive_jvps",
    "primitive_transposes",
    "zeros_like_aval",
]

primitive_jvps = RuleTable("jvp")
"""``(primals, tangents, **params) -> (out, tangent_out)`` by primitive; tangents may be `Zero`."""

primitive_transposes = RuleTable("transpose")
"""``(ct, *args, **params) -> cotangents`` by primitive; linear arguments are `UndefinedPrimal`."""

instantiate_zeros = instantiate
zeros_like_aval = zeros_of


def is_undefined_primal(x: Any) -> bool:
    """Whether x stands for an argument that a transpose rule gives the cotangent of."""
    return type(x) is UndefinedPrimal


def add_jaxvals(x: Any, y: Any) -> Any:
    """The sum of two cotangents of one value."""
    return add_tangents(x, y)


def get_primitive_transpose(primitive: Primitive) -> Callable:
    """The transpose rule of a primitive.

    Raises:
        NotImplementedError: if it has none.
    """
    if primitive not in primitive_transposes:
        raise NotImplementedError(
            f"{primitive.name}: a transpose rule was asked for, and it has none. Give it with "
            f"nr.interpreters.ad.primitive_transposes[{primitive.name}_p] = rule."
        )
    return primitive_transposes[primitive]


def defjvp(primitive: Primitive, *jvprules: Callable | None) -> None:
    """Give a primitive one rule an operand: ``rule(t, *primals, **params)`` is its part.

    Example:
        >>> import nr
        >>> cube_p = nr.extend.core.Primitive("cube")
        >>> _ = cube_p.def_impl(lambda x: x ** 3)
        >>> _ = cube_p.def_abstract_eval(lambda x: x)
        >>> nr.interpreters.ad.defjvp(cube_p, lambda t, x: 3 * x ** 2 * t)
        >>> nr.grad(cube_p.bind)(2.0)
        Array(12., dtype=float32, weak_type=True)
    """
    defjvp2(
        primitive,
        *[
            None if rule is None else _without_answer(rule)
            for rule in jvprules
        ],
    )  # fmt: skip


def _without_answer(rule: Callable) -> Callable:
    return lambda t, out, *primals, **params: rule(t, *primals, **params)


def defjvp2(primitive: Primitive, *jvprules: Callable | None) -> None:
    """As `defjvp`, with rules that get the result, too: ``rule(t, out, *primals, **params)``."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        parts = [
            rule(t, out, *primals, **params)
            for rule, t in zip(jvprules, tangents, strict=True)
            if rule is not None and type(t) is not Zero
        ]
        return out, reduce(add_tangents, parts, zero_tangent(out))

    primitive.jvp = jvp


def deflinear(primitive: Primitive, transpose_rule: Callable) -> None:
    """Say that a primitive is linear; ``transpose_rule(ct, **params)`` gives its cotangents."""
    deflinear2(primitive, lambda ct, *args, **params: transpose_rule(ct, **params))


def deflinear2(primitive: Primitive, transpose_rule: Callable) -> None:
    """Say that a primitive is linear; its rule is ``transpose_rule(ct, *args, **params)``."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> Any:
        out = primitive.bind(*primals, **params)
        if all([type(t) is Zero for t in tangents]):
            return out, [zero_tangent(o) for o in out] if primitive.multiple_results else (
                zero_tangent(out)
            )
        return out, primitive.bind(*[instantiate(t) for t in tangents], **params)

    primitive.jvp = jvp
    primitive.transpose = transpose_rule


def defbilinear(primitive: Primitive, lhs_rule: Callable, rhs_rule: Callable) -> None:
    """Say that a primitive of two operands is linear in each.

    Args:
        primitive: the primitive.
        lhs_rule: ``(ct, x, y, **params)`` gives the cotangent of x (then `UndefinedPrimal`).
        rhs_rule: ``(ct, x, y, **params)`` gives the cotangent of y.
    """
    defjvp(
        primitive,
        lambda t, x, y, **params: primitive.bind(t, y, **params),
        lambda t, x, y, **params: primitive.bind(x, t, **params),
    )

    def transpose(ct: Any, x: Any, y: Any, **params: Any) -> list[Any]:
        if is_undefined_primal(x):
            return [lhs_rule(ct, x, y, **params), None]
        return [None, rhs_rule(ct, x, y, **params)]

    primitive.transpose = transpose
