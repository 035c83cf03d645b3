"""Without these tests recorded programs could change form, be ill-typed or simplified wrongly.

The golden texts were read line by line when they were written: a change here is a change of what
every backend is given.
"""

from __future__ import annotations

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.backends.compiler.simplify import (
    eliminate_dead_code,
    inline_calls,
    merge_common,
    simplify,
)
from nr.core.avals import ShapedArray
from nr.core.jaxpr_check import JaxprTypeError, check_jaxpr
from nr.core.jaxprs import Jaxpr, JaxprEqn, Literal, Var, eval_jaxpr
from nr.core.tracing import Primitive

V = np.zeros(3, np.float32)
S = np.float32(0)
BIG = jnp.asarray(np.arange(3, dtype=np.float32))


@nr.custom_jvp
def thrice(x):
    return lax.mul(x, 3.0)


thrice.defjvp(lambda p, t: (thrice(*p), lax.mul(t[0], 3.0)))

PROGRAMS = {
    "elementwise": (lambda x, y: lax.mul(lax.sin(x), y), (V, V)),
    "literal": (lambda x: lax.add(lax.mul(x, 2.0), np.float32(1)), (V,)),
    "constant": (lambda x: lax.add(x, BIG), (V,)),
    "unused": (lambda x, y: x, (V, V)),
    "dead": (lambda x: (lax.sin(x), x)[1], (V,)),
    "weak": (lambda x: lax.mul(x, 2), (1.0,)),
    "tree": (lambda p: {"b": p["a"], "a": lax.neg(p["b"])}, ({"a": V, "b": V},)),
    "reduce": (lambda x: lax.reduce_sum(x, (0,)), (V,)),
    "reshape": (lambda x: lax.transpose(lax.reshape(x, (1, 3)), (1, 0)), (V,)),
    "dot": (lambda x, y: lax.dot(x, y), (np.zeros((2, 3), np.float32), V)),
    "cast": (lambda x: lax.convert_element_type(x, np.int32), (V,)),
    "jit": (lambda x: nr.jit(lax.sin)(x), (V,)),
    "grad": (nr.grad(lambda x: lax.reduce_sum(lax.sin(x), (0,))), (V,)),
    "jvp": (lambda x, t: nr.jvp(lax.sin, (x,), (t,)), (V, V)),
    "vmap": (nr.vmap(lambda x, y: lax.mul(x, y), (0, None)), (V, S)),
    "vmap dot": (nr.vmap(lambda x, y: lax.dot(x, y), (0, None)), (np.zeros((2, 3), np.float32), V)),
    "scan": (lambda x: lax.scan(lambda c, e: (lax.add(c, e), c), S, x), (V,)),
    "while": (lambda n: lax.while_loop(lambda c: lax.lt(c, n), lambda c: lax.mul(c, 2), 1), (7,)),
    "cond": (lambda p, x: lax.cond(p, lax.sin, lax.cos, x), (True, V)),
    "checkpoint": (lambda x: nr.checkpoint(lax.sin)(x), (V,)),
    "custom_jvp": (lambda x: thrice(x), (V,)),
    "psum": (nr.vmap(lambda x: lax.psum(x, "i"), axis_name="i"), (V,)),
}
GOLDEN = {
    "elementwise": """
{ lambda ; a:f32[3] b:f32[3] . let
    c:f32[3] = sin a
    d:f32[3] = mul c b
  in (d,) }
""",
    "literal": """
{ lambda ; a:f32[3] . let
    b:f32[3] = mul a 2.0:f32[]
    c:f32[3] = add b 1.0:f32[]
  in (c,) }
""",
    "constant": """
{ lambda a:f32[3] ; b:f32[3] . let
    c:f32[3] = add b a
  in (c,) }
""",
    "unused": """
{ lambda ; a:f32[3] b:f32[3] . let
  in (a,) }
""",
    "dead": """
{ lambda ; a:f32[3] . let
  in (a,) }
""",
    "weak": """
{ lambda ; a:f32[] . let
    b:f32[] = convert_element_type[new_dtype=float32 weak_type=True] 2:i32[]
    c:f32[] = mul a b
  in (c,) }
""",
    "tree": """
{ lambda ; a:f32[3] b:f32[3] . let
    c:f32[3] = neg b
  in (c, a) }
""",
    "reduce": """
{ lambda ; a:f32[3] . let
    b:f32[] = reduce_sum[axes=(0,)] a
  in (b,) }
""",
    "reshape": """
{ lambda ; a:f32[3] . let
    b:f32[1,3] = reshape[new_sizes=(1, 3)] a
    c:f32[3,1] = transpose[permutation=(1, 0)] b
  in (c,) }
""",
    "dot": """
{ lambda ; a:f32[2,3] b:f32[3] . let
    c:f32[2] = dot_general[dimension_numbers=(((1,), (0,)), ((), ()))] a b
  in (c,) }
""",
    "cast": """
{ lambda ; a:f32[3] . let
    b:i32[3] = convert_element_type[new_dtype=int32] a
  in (b,) }
""",
    "jit": """
{ lambda ; a:f32[3] . let
    b:f32[3] = jit[
      jaxpr={ lambda ; a:f32[3] . let
          b:f32[3] = sin a
        in (b,) }
      name=sin
    ] a
  in (b,) }
""",
    "grad": """
{ lambda ; a:f32[3] . let
    b:f32[3] = cos a
    c:f32[3] = broadcast_in_dim[broadcast_dimensions=() shape=(3,)] 1.0:f32[]
    d:f32[3] = mul c b
  in (d,) }
""",
    "jvp": """
{ lambda ; a:f32[3] b:f32[3] . let
    c:f32[3] = sin a
    d:f32[3] = cos a
    e:f32[3] = mul b d
  in (c, e) }
""",
    "vmap": """
{ lambda ; a:f32[3] b:f32[] . let
    c:f32[3] = mul a b
  in (c,) }
""",
    "vmap dot": """
{ lambda ; a:f32[2,3] b:f32[3] . let
    c:f32[2] = dot_general[dimension_numbers=(((1,), (0,)), ((), ()))] a b
  in (c,) }
""",
    "scan": """
{ lambda ; a:f32[3] . let
    b:f32[] c:f32[3] = scan[
      jaxpr={ lambda ; a:f32[] b:f32[] . let
          c:f32[] = add a b
        in (c, a) }
      length=3
      num_carry=1
      num_consts=0
      reverse=False
      unroll=1
    ] 0.0:f32[] a
  in (b, c) }
""",
    "while": """
{ lambda ; a:i32[] . let
    b:i32[] = while[
      body_jaxpr={ lambda ; a:i32[] . let
          b:i32[] = mul a 2:i32[]
        in (b,) }
      body_nconsts=0
      cond_jaxpr={ lambda ; a:i32[] b:i32[] . let
          c:b1[] = lt b a
        in (c,) }
      cond_nconsts=1
    ] a 1:i32[]
    c:i32[] = convert_element_type[new_dtype=int32 weak_type=True] b
  in (c,) }
""",
    "cond": """
{ lambda ; a:b1[] b:f32[3] . let
    c:f32[3] = cond[
      branches=({ lambda ; a:f32[3] . let
            b:f32[3] = cos a
          in (b,) }, { lambda ; a:f32[3] . let
            b:f32[3] = sin a
          in (b,) })
    ] a b
  in (c,) }
""",
    "checkpoint": """
{ lambda ; a:f32[3] . let
    b:f32[3] = checkpoint[
      jaxpr={ lambda ; a:f32[3] . let
          b:f32[3] = sin a
        in (b,) }
      policy=nothing_saveable
    ] a
  in (b,) }
""",
    "custom_jvp": """
{ lambda ; a:f32[3] . let
    b:f32[3] = custom_jvp_call[
      fun={ lambda ; a:f32[3] . let
          b:f32[3] = mul a 3.0:f32[]
        in (b,) }
      jvp=flat_jvp
      n_closed=0
    ] a
  in (b,) }
""",
    "psum": """
{ lambda ; a:f32[3] . let
    b:f32[] = reduce_sum[axes=(0,)] a
    c:f32[3] = broadcast_in_dim[broadcast_dimensions=() shape=(3,)] b
  in (c,) }
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_golden_text(name):
    f, args = PROGRAMS[name]
    assert str(nr.make_jaxpr(f)(*args)) == GOLDEN[name].strip("\n")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_recorded_program_gives_what_the_function_gives(name):
    f, args = PROGRAMS[name]
    jaxpr = nr.make_jaxpr(f)(*args)
    values = [
        np.cos(np.arange(np.size(a))).reshape(np.shape(a)).astype(nr.core.tracing.typeof(a).dtype)
        for a in nr.tree.leaves(args)
    ]
    want = nr.tree.leaves(f(*nr.tree.unflatten(nr.tree.structure(args), values)))
    for program in (jaxpr, simplify(jaxpr)):
        check_jaxpr(program)
        for got, expected in zip(eval_jaxpr(program, *values), want, strict=True):
            np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


def test_printing_with_sources_and_scopes():
    def scaled(x):
        with nr.named_scope("outer"):
            return lax.mul(x, 2.0)

    text = nr.make_jaxpr(scaled)(V).pretty_print(source=True)
    assert "test_jaxpr.py:" in text and "(scaled)" in text
    eqn = nr.make_jaxpr(scaled)(V).eqns[0]
    assert eqn.source.scope == "outer"
    assert nr.make_jaxpr(nr.named_call(lax.sin, name="mine"))(V).eqns[0].source.scope == "mine"


def test_scopes_as_decorators_nest_in_recursive_calls():
    @nr.named_scope("level")
    def levels(x, n):
        return lax.sin(x) if n == 0 else levels(x, n - 1)

    assert nr.make_jaxpr(lambda x: levels(x, 1))(V).eqns[0].source.scope == "level/level"
    assert levels(0.0, 1) == 0


def test_many_variables_have_distinct_names():
    def f(x):
        for _ in range(60):
            x = lax.sin(x)
        return x

    lines = str(nr.make_jaxpr(f)(V)).splitlines()[1:-1]
    names = [line.split(":")[0].strip() for line in lines]
    assert len(set(names)) == 60 and names[0] == "b" and names[25] == "ba"


def test_make_jaxpr_options():
    jaxpr, shapes = nr.make_jaxpr(lambda n, x: {"y": x * n}, static_argnums=0, return_shape=True)(
        2, V
    )
    assert len(jaxpr.invars) == 1 and shapes["y"] == nr.ShapeDtypeStruct((3,), "float32")
    abstract = nr.make_jaxpr(lax.sin)(nr.ShapeDtypeStruct((5,), "float64"))
    assert str(abstract.in_avals[0]) == "f64[5]"


def test_constant_computations_are_recorded_not_run():
    jaxpr = nr.make_jaxpr(lambda x: lax.add(x, lax.sin(BIG)))(V)
    assert [eqn.primitive.name for eqn in jaxpr.eqns] == ["sin", "add"]


# ---------------------------------------------------------------- the checker
F3, F4, I3 = (
    ShapedArray((3,), np.float32),
    ShapedArray((4,), np.float32),
    ShapedArray((3,), np.int32),
)
sin, add = Primitive.all["sin"], Primitive.all["add"]


def unchecked(constvars, consts, invars, eqns, outvars):
    with nr.config.using(check=False):
        return Jaxpr(constvars, consts, invars, eqns, outvars)


def ill_typed():
    a, b, c = Var(F3), Var(F3), Var(F3)
    wide, ints = Var(F4), Var(I3)
    return {
        "unbound operand": ([], [], [a], [JaxprEqn(sin, [b], [c], {})], [c]),
        "used before it is bound": (
            [],
            [],
            [a],
            [JaxprEqn(sin, [b], [c], {}), JaxprEqn(sin, [a], [b], {})],
            [c],
        ),
        "unbound output": ([], [], [a], [], [b]),
        "bound twice": (
            [],
            [],
            [a],
            [JaxprEqn(sin, [a], [b], {}), JaxprEqn(sin, [b], [b], {})],
            [b],
        ),
        "argument bound twice": ([], [], [a, a], [], [a]),
        "rebinds an argument": ([], [], [a], [JaxprEqn(sin, [a], [a], {})], [a]),
        "wrong shape": ([], [], [a], [JaxprEqn(sin, [a], [wide], {})], [wide]),
        "wrong dtype": ([], [], [a], [JaxprEqn(sin, [a], [ints], {})], [ints]),
        "too many outputs": ([], [], [a], [JaxprEqn(sin, [a], [b, c], {})], [b]),
        "constant of another type": ([a], [np.zeros(4, np.float32)], [], [], [a]),
        "constant missing": ([a], [], [], [], [a]),
        "literal as output variable": ([], [], [a], [JaxprEqn(sin, [a], [Literal(1.0)], {})], [a]),
    }


@pytest.mark.parametrize("fault", ill_typed())
def test_the_checker_rejects(fault):
    with pytest.raises(JaxprTypeError, match="nr bug"):
        check_jaxpr(unchecked(*ill_typed()[fault]))


def test_the_checker_runs_the_rules():
    a, b, c = Var(F3), Var(F4), Var(F3)
    with pytest.raises(TypeError, match="add"):
        check_jaxpr(unchecked([], [], [a, b], [JaxprEqn(add, [a, b], [c], {})], [c]))


def test_every_new_jaxpr_is_checked_in_tests():
    assert nr.config.check
    with pytest.raises(JaxprTypeError):
        Jaxpr([], [], [Var(F3)], [], [Var(F3)])


# ---------------------------------------------------------------- simplification
def names(jaxpr):
    return [eqn.primitive.name for eqn in jaxpr.eqns]


def test_dead_code_is_dropped_and_effects_are_kept():
    def f(x, y):
        lax.cos(x)
        nr.debug.callback(lambda v: None, lax.sin(y))
        lax.scan(lambda c, _: (lax.add(c, BIG), None), x, None, length=2)
        return lax.exp(x)

    program = nr.make_jaxpr(f)(V, V)
    whole = unchecked(
        program.constvars, program.consts, program.invars, program.eqns, program.outvars
    )
    assert names(eliminate_dead_code(whole)) == ["sin", "debug_callback", "exp"]
    a, b, c, k = Var(F3), Var(F3), Var(F3), Var(F3)
    extra = Jaxpr(
        [k], [BIG], [a], [JaxprEqn(sin, [a], [b], {}), JaxprEqn(add, [a, k], [c], {})], [b]
    )
    cleaned = eliminate_dead_code(extra)
    assert names(cleaned) == ["sin"] and cleaned.consts == [] and cleaned.invars == [a]


def test_effects_inside_jit_and_loops_are_kept():
    def f(x):
        nr.jit(lambda v: (nr.debug.callback(lambda w: None, v), v)[1])(x)
        lax.scan(
            lambda c, _: ((nr.debug.callback(lambda w: None, c), c)[1], None), x, None, length=2
        )
        return x

    assert names(simplify(nr.make_jaxpr(f)(V))) == ["debug_callback", "scan"]


def test_common_subexpressions_are_merged():
    def f(x, y):
        return lax.add(lax.mul(lax.sin(x), 2.0), lax.mul(lax.sin(x), 2.0)), lax.sin(y)

    program = merge_common(nr.make_jaxpr(f)(V, V))
    assert names(program) == ["sin", "mul", "add", "sin"]


def test_what_only_looks_alike_is_not_merged():
    def f(x):
        return (
            lax.mul(x, np.float32(0.0)),
            lax.mul(x, np.float32(-0.0)),
            lax.reduce_sum(x, (0,)),
            lax.reduce_max(x, (0,)),
            lax.convert_element_type(x, np.int32),
            lax.convert_element_type(x, np.int64),
            lax.sub(x, BIG),
            lax.sub(BIG, x),
        )

    program = nr.make_jaxpr(f)(V)
    assert len(merge_common(program).eqns) == len(program.eqns)
    values = np.array([1.0, -2.0, np.inf], np.float32)
    zero, minus = nr.jit(f)(values)[:2]
    assert np.signbit(np.asarray(minus)).tolist()[:2] == [True, False]
    assert np.signbit(np.asarray(zero)).tolist()[:2] == [False, True]


def test_merging_goes_through_renamed_operands():
    f = lambda x: lax.add(lax.cos(lax.sin(x)), lax.cos(lax.sin(x)))  # noqa: E731
    assert names(merge_common(nr.make_jaxpr(f)(V))) == ["sin", "cos", "add"]


def test_calls_are_inlined_at_any_depth():
    inner = nr.jit(lambda x: lax.add(lax.sin(x), BIG))
    outer = nr.jit(lambda x: (inner(inner(x)), thrice(x)))
    program = nr.make_jaxpr(lambda x: outer(x))(V)
    assert names(program) == ["jit"]
    assert names(inline_calls(program)) == ["sin", "add", "sin", "add", "mul"]
    out = eval_jaxpr(simplify(program), np.ones(3, np.float32))
    want = eval_jaxpr(program, np.ones(3, np.float32))
    np.testing.assert_array_equal(np.asarray(out[0]), np.asarray(want[0]))


def test_a_call_that_returns_its_argument_or_a_literal():
    f = nr.jit(lambda x: (x, 2.0, BIG))
    program = simplify(nr.make_jaxpr(lambda x: f(lax.sin(x)))(V))
    assert names(program) == ["sin"]
    got = nr.jit(lambda x: f(lax.sin(x)))(V)
    assert float(got[1]) == 2.0
    np.testing.assert_array_equal(np.asarray(got[2]), np.asarray(BIG))


def test_checkpoint_is_neither_inlined_nor_merged():
    f = lambda x: lax.add(nr.checkpoint(lax.sin)(x), nr.checkpoint(lax.sin)(x))  # noqa: E731
    assert names(simplify(nr.make_jaxpr(f)(V))) == ["checkpoint", "checkpoint", "add"]
    loss = lambda x: lax.reduce_sum(nr.checkpoint(lambda y: lax.sin(lax.sin(y)))(x), (0,))  # noqa: E731
    program = simplify(nr.make_jaxpr(nr.value_and_grad(loss))(V))
    assert names(program).count("checkpoint") == 2


def test_simplification_does_not_change_its_input():
    program = nr.make_jaxpr(lambda x: nr.jit(lax.sin)(lax.sin(x)))(V)
    before = str(program)
    simplify(program)
    assert str(program) == before


def test_long_programs_run():
    def f(x):
        for i in range(2500):
            x = lax.add(x, np.float32(i % 3))
        return x

    want = np.float32(sum(i % 3 for i in range(2500)))
    np.testing.assert_array_equal(np.asarray(nr.jit(f)(V)), np.full(3, want))


def test_make_jaxpr_of_a_function_with_collectives():
    f = nr.make_jaxpr(lambda x: lax.psum(x, "i") + lax.axis_index("i"), axis_env=[("i", 4)])
    assert {"psum", "axis_index"} <= {eqn.primitive.name for eqn in f(1.0).eqns}
    with pytest.raises(NameError, match="unbound axis name: 'i'"):
        nr.make_jaxpr(lambda x: lax.psum(x, "i"))(1.0)
