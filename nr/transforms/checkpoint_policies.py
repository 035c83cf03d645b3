"""What `nr.checkpoint` keeps for the backward pass: policies, and names for them to refer to.

A policy is asked about every operation of the forward pass, as ``policy(primitive, *avals,
**params)``, and says whether its results may be kept. Of these, those are kept that the backward
pass uses; everything else is computed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nr.backends.compiler.simplify import inline_jitted
from nr.core.avals import ShapedArray, Zero
from nr.core.jaxprs import Atom, Jaxpr, JaxprEqn, Var, cached_on_jaxpr, eqn_effectful
from nr.core.tracing import Primitive
from nr.core.trees import tree_map
from nr.lax.rules import operand, zero_tangent

Policy = Callable[..., bool]


# ---------------------------------------------------------------- names
def _name_jvp(primals: Any, tangents: Any, *, name: str) -> Any:
    (x,), (t,) = primals, tangents
    out = name_p.bind(x, name=name)
    return out, zero_tangent(out) if type(t) is Zero else t


def _name_aval(x: ShapedArray, *, name: str) -> ShapedArray:
    return x


name_p: Primitive = Primitive(
    "name",
    abstract_eval=_name_aval,
    jvp=_name_jvp,
    transpose=lambda ct, x, *, name: [ct],
    batch=lambda axis, args, dims, *, name: (name_p.bind(*args, name=name), dims[0]),
    keeps_weak=True,
)


def checkpoint_name(x: Any, name: str) -> Any:
    """x, under a name by which policies of `nr.checkpoint` know it.

    Args:
        x: an array or a pytree of arrays.
        name: any text, such as "attention scores".

    Example:
        >>> import nr, nr.numpy as jnp
        >>> policy = nr.checkpoint_policies.save_only_these_names("inner")
        >>> f = nr.checkpoint(
        ...     lambda x: jnp.sin(nr.ad_checkpoint.checkpoint_name(jnp.sin(x), "inner")),
        ...     policy=policy)
        >>> nr.grad(f)(0.0)
        Array(1., dtype=float32, weak_type=True)
    """
    return tree_map(lambda leaf: name_p.bind(operand("checkpoint_name", leaf), name=name), x)


# ---------------------------------------------------------------- policies
def everything_saveable(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Keep what the backward pass uses: as without checkpoint."""
    return True


def nothing_saveable(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Keep the inputs only: as without a policy."""
    return False


def dots_saveable(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Keep products of matrices and convolutions, which are dear; compute the rest again."""
    return primitive.name in ("dot_general", "conv_general_dilated")


def dots_with_no_batch_dims_saveable(primitive: Primitive, *avals: Any, **params: Any) -> bool:
    """Keep products of matrices without batch dimensions, such as those with weights."""
    return primitive.name == "dot_general" and not any(params["dimension_numbers"][1])


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


def save_only_these_names(*names_which_can_be_saved: str) -> Policy:
    """A policy: keep what `checkpoint_name` gave one of these names."""
    names = frozenset(names_which_can_be_saved)

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        return primitive is name_p and params["name"] in names

    return policy


def save_any_names_but_these(*names_not_to_save: str) -> Policy:
    """A policy: keep what `checkpoint_name` gave another name than these."""
    names = frozenset(names_not_to_save)

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        return primitive is name_p and params["name"] not in names

    return policy


def save_anything_except_these_names(*names_not_to_save: str) -> Policy:
    """A policy: keep all but what `checkpoint_name` gave one of these names."""
    names = frozenset(names_not_to_save)

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        return primitive is not name_p or params["name"] not in names

    return policy


def save_from_both_policies(policy_1: Policy, policy_2: Policy) -> Policy:
    """A policy: keep what one of two policies keeps."""

    def policy(primitive: Primitive, *avals: Any, **params: Any) -> bool:
        return bool(policy_1(primitive, *avals, **params) or policy_2(primitive, *avals, **params))

    return policy


# ---------------------------------------------------------------- what they do
@cached_on_jaxpr
def split_by_policy(jaxpr: Jaxpr, n_residuals: int, policy: Policy) -> tuple[Jaxpr, Jaxpr]:
    """Split a forward pass ``(*ins) -> (*outs, *residuals)`` by what is kept of it.

    Returns:
        the jaxpr ``(*ins) -> (*outs, *kept)``, and ``(*kept, *ins) -> residuals``.
    """
    jaxpr = inline_jitted(jaxpr)  # policies see what is in them

    def may_be_kept(eqn: JaxprEqn) -> bool:
        return policy(eqn.primitive, *[a.aval for a in eqn.invars], **eqn.params)

    # Derivatives use values without their names: what is kept under a name stands for these, too.
    named: dict[Atom, Atom] = {
        eqn.invars[0]: eqn.outvars[0]
        for eqn in jaxpr.eqns
        if eqn.primitive is name_p and type(eqn.invars[0]) is Var and may_be_kept(eqn)
    }
    outs = jaxpr.outvars[: len(jaxpr.outvars) - n_residuals]
    residuals = [named.get(a, a) for a in jaxpr.outvars[len(outs) :]]
    kept: dict[Var, None] = {}
    needed = {a for a in residuals if type(a) is Var}
    again = []
    for eqn in reversed(jaxpr.eqns):
        used = [v for v in eqn.outvars if v in needed]
        if not used and not eqn_effectful(eqn):
            continue
        if may_be_kept(eqn):
            kept.update(dict.fromkeys(used))
        else:
            again.append(eqn.replace(invars=[named.get(a, a) for a in eqn.invars]))
            needed.update([a for a in again[-1].invars if type(a) is Var])
    forward = jaxpr.replace(outvars=[*outs, *kept])
    backward = jaxpr.replace(invars=[*kept, *jaxpr.invars], eqns=again[::-1], outvars=residuals)
    return forward, backward
