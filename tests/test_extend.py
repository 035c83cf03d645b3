"""Without these tests programs that read jaxprs, or define primitives of their own, could fail."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import nr
from nr import lax
from nr import numpy as jnp
from nr.extend import core as jex
from nr.extend import linear_util as lu
from nr.interpreters import ad, batching, mlir, xla
from nr.interpreters import partial_eval as pe


def own_primitive(lowered=True):
    """``x * y + z``, with all rules, as JAX's guide to primitives has it."""
    madd_p = jex.Primitive("madd")

    def madd(x, y, z):
        return madd_p.bind(x, y, z)

    @madd_p.def_abstract_eval
    def madd_aval(x, y, z):
        assert x.shape == y.shape == z.shape
        return nr.core.ShapedArray(x.shape, x.dtype)

    def jvp(primals, tangents):
        (x, y, z), (xt, yt, zt) = primals, tangents
        xt, yt, zt = [
            ad.instantiate_zeros(t) if isinstance(t, ad.Zero) else t for t in (xt, yt, zt)
        ]
        return madd(x, y, z), madd(xt, y, madd(x, yt, zt))

    def transpose(ct, x, y, z):
        if ad.is_undefined_primal(x):
            return madd(ct, y, jnp.zeros_like(y)), None, ct
        if ad.is_undefined_primal(y):
            return None, madd(ct, x, jnp.zeros_like(x)), ct
        return None, None, ct

    def batch(args, dims):
        size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
        return madd(*[batching.bdim_at_front(x, d, size) for x, d in zip(args, dims)]), 0

    ad.primitive_jvps[madd_p] = jvp
    ad.primitive_transposes[madd_p] = transpose
    batching.primitive_batchers[madd_p] = batch
    if lowered:
        rule = mlir.lower_fun(lambda x, y, z: x * y + z, multiple_results=False)
        mlir.register_lowering(madd_p, rule)
        madd_p.def_impl(functools.partial(xla.apply_primitive, madd_p))
    else:
        madd_p.def_impl(lambda x, y, z: np.add(np.multiply(x, y), z))
    return madd


@pytest.mark.parametrize("lowered", [True, False], ids=["lowering", "impl"])
def test_own_primitive_with_all_transformations(lowered):
    madd = own_primitive(lowered)
    xs = jnp.arange(3.0)

    def f(x, y):
        return madd(madd(x, y, x), y, x)

    def plain(x, y):
        return (x * y + x) * y + x

    for transformed in (
        lambda f: f,
        nr.jit,
        lambda f: nr.grad(f, (0, 1)),
        lambda f: nr.jit(nr.grad(f, (0, 1))),
        lambda f: lambda x, y: nr.vmap(f)(x * xs, y * xs),
        lambda f: nr.jit(lambda x, y: nr.vmap(nr.grad(f))(x * xs, y * xs)),
        lambda f: lambda x, y: nr.jvp(f, (x, y), (x, y)),
        lambda f: nr.jit(lambda x, y: lax.fori_loop(0, 3, lambda i, c: f(c, y), x)),
    ):
        got, expected = transformed(f)(2.0, 3.0), transformed(plain)(2.0, 3.0)
        assert nr.tree.structure(got) == nr.tree.structure(expected)
        nr.tree.map(np.testing.assert_allclose, got, expected)


def test_own_primitive_in_jaxprs():
    madd = own_primitive()
    (eqn,) = nr.make_jaxpr(madd)(1.0, 2.0, 3.0).eqns
    assert eqn.primitive.name == "madd"
    own_primitive()  # a name may be used again


def test_own_primitive_with_several_results_and_params():
    p = jex.Primitive("powers")
    p.multiple_results = True
    p.def_abstract_eval(lambda x, *, n: [x] * n)
    p.def_impl(lambda x, *, n: [x ** (i + 1) for i in range(n)])
    ad.primitive_jvps[p] = lambda primals, tangents, n: (
        p.bind(*primals, n=n),
        [(i + 1) * primals[0] ** i * tangents[0] for i in range(n)],
    )
    batching.defvectorized(p)
    assert [float(x) for x in nr.jit(lambda x: p.bind(x, n=3))(2.0)] == [2.0, 4.0, 8.0]
    assert float(nr.grad(lambda x: sum(p.bind(x, n=3)))(2.0)) == 1 + 4 + 12
    cubes = nr.vmap(lambda x: p.bind(x, n=3)[2])(jnp.arange(3.0))
    np.testing.assert_array_equal(cubes, [0, 1, 8])


def test_linear_primitives():
    double_p = jex.Primitive("double")
    double_p.def_impl(lambda x: 2 * x)
    double_p.def_abstract_eval(lambda x: x)
    ad.deflinear(double_p, lambda ct: [2 * ct])
    assert float(nr.grad(double_p.bind)(1.0)) == 2.0
    (transposed,) = nr.linear_transpose(double_p.bind, 1.0)(3.0)
    assert float(transposed) == 6.0

    times_p = jex.Primitive("times")
    times_p.def_impl(lambda x, y: x * y)
    times_p.def_abstract_eval(lambda x, y: x)
    ad.defbilinear(times_p, lambda ct, x, y: ct * y, lambda ct, x, y: x * ct)
    batching.defbroadcasting(times_p)
    assert [float(g) for g in nr.grad(times_p.bind, (0, 1))(2.0, 5.0)] == [5.0, 2.0]
    out = nr.vmap(times_p.bind, (0, None))(jnp.ones((2, 3)), jnp.arange(3.0))
    np.testing.assert_array_equal(out, [[0, 1, 2]] * 2)


@pytest.mark.parametrize("table", ["axis", "fancy"])
def test_batching_rules_that_are_told_the_axis(table):
    share_p = jex.Primitive("share")  # x over the number of lanes, as a collective: a tenth alone
    share_p.def_impl(lambda x: x / 10)
    share_p.def_abstract_eval(lambda x: x)
    asked = []

    def rule(size, name, args, dims):
        asked.append((size, name))
        return args[0] / size, dims[0]

    if table == "axis":
        batching.axis_primitive_batchers[share_p] = lambda size, name, _, args, dims: rule(
            size, name, args, dims
        )
        shown = batching.axis_primitive_batchers[share_p](4, "i", None, (1.0,), (None,))
    else:
        batching.fancy_primitive_batchers[share_p] = lambda axis, args, dims: rule(
            axis.size, axis.name, args, dims
        )
        axis = type("axis", (), {"size": 4, "name": "i"})
        shown = batching.fancy_primitive_batchers[share_p](axis, (1.0,), (None,))
    assert shown == (0.25, None) and asked == [(4, "i")]
    xs = jnp.arange(4.0)
    np.testing.assert_array_equal(nr.vmap(share_p.bind)(xs), xs / 4)
    # without a batched operand it is asked where the axis has a name, as a collective must be
    one = jnp.float32(1)
    np.testing.assert_array_equal(nr.vmap(lambda x: x + share_p.bind(one))(xs), xs + 0.1)
    named = nr.vmap(lambda x: x + share_p.bind(one), axis_name="i")
    np.testing.assert_array_equal(named(xs), xs + 0.25)
    np.testing.assert_array_equal(nr.jit(named)(xs), xs + 0.25)
    assert asked[1:] == [(4, None), (4, "i"), (4, "i")]


def test_rules_not_given_are_named():
    p = jex.Primitive("nothing")
    with pytest.raises(NotImplementedError, match="nothing.*def_impl"):
        p.bind(1.0)
    with pytest.raises(NotImplementedError, match="nothing.*def_abstract_eval"):
        nr.make_jaxpr(p.bind)(1.0)
    with pytest.raises(NotImplementedError, match="primitive_transposes"):
        ad.get_primitive_transpose(p)
    with pytest.raises(NotImplementedError, match="register_lowering"):
        xla.apply_primitive(p, 1.0)
    with pytest.raises(TypeError, match="lower_fun"):
        mlir.register_lowering(p, lambda ctx, x: x)
    with pytest.raises(TypeError, match="own primitives keep"):
        mlir.register_lowering(lax.sin_p, mlir.lower_fun(lambda x: [x]))


def test_rules_of_built_in_primitives():
    out, tangent = ad.primitive_jvps[lax.sin_p]((jnp.zeros(2),), (jnp.ones(2),))
    np.testing.assert_array_equal(tangent, [1, 1])
    x = jnp.ones((3, 2))
    out, dim = batching.primitive_batchers[lax.reduce_sum_p]((x,), (1,), axes=(0,))
    np.testing.assert_array_equal(out, [3, 3])
    assert dim == 0 and lax.sin_p in ad.primitive_jvps and lax.sin_p not in ad.primitive_transposes


def test_names_of_primitives():
    program = nr.make_jaxpr(lambda x: nr.jit(jnp.sin)(x) + x)(1.0)
    assert program.eqns[0].primitive is jex.primitives.jit_p
    assert program.eqns[1].primitive is lax.add_p is jex.primitives.add_p
    loop = nr.make_jaxpr(lambda x: lax.scan(lambda c, y: (c + y, c), 0.0, x))(jnp.ones(3))
    assert loop.eqns[-1].primitive is lax.scan_p
    with pytest.raises(AttributeError, match="nonsense_p"):
        lax.nonsense_p  # noqa: B018


def test_inverse_by_reading_a_jaxpr():
    """An interpreter of eqns in user code, as in JAX's guide to custom interpreters."""
    inverses = {lax.exp_p: jnp.log, lax.tanh_p: jnp.arctanh}

    def inverse(f):
        def inverted(*outs):
            closed = nr.make_jaxpr(f)(*outs)
            env = {}

            def read(v):
                return v.val if type(v) is jex.Literal else env[v]

            env.update(zip(closed.jaxpr.outvars, outs, strict=True))
            env.update(zip(closed.jaxpr.constvars, closed.literals, strict=True))
            for eqn in closed.jaxpr.eqns[::-1]:
                (out,) = eqn.outvars
                if eqn.primitive is jex.primitives.jit_p:
                    body = inverse(jex.jaxpr_as_fun(eqn.params["jaxpr"]))
                    env[eqn.invars[0]] = body(read(out))[0]
                else:
                    env[eqn.invars[0]] = inverses[eqn.primitive](read(out))
            return [read(v) for v in closed.jaxpr.invars]

        return inverted

    x = jnp.array(0.3)
    (back,) = inverse(lambda x: nr.jit(jnp.exp)(jnp.tanh(x)))(jnp.exp(jnp.tanh(x)))
    np.testing.assert_allclose(back, x, rtol=1e-6)


def test_running_eqns_one_by_one():
    def f(x):
        return jnp.where(x > 0, nr.jit(jnp.sin)(x), x * jnp.arange(3.0))

    x = jnp.array([1.0, -2.0, 3.0])
    closed = nr.make_jaxpr(f)(x)
    env = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    env.update(zip(closed.jaxpr.invars, [x], strict=True))
    for eqn in closed.eqns:
        params = eqn.primitive.get_bind_params(eqn.params)
        values = [v.val if isinstance(v, jex.Literal) else env[v] for v in eqn.invars]
        outs = eqn.primitive.bind(*values, **params)
        outs = outs if eqn.primitive.multiple_results else [outs]
        env.update(zip(eqn.outvars, outs, strict=True))
    np.testing.assert_array_equal(env[closed.jaxpr.outvars[0]], f(x))
    for out in (lax.sin_p.bind(0.5), lax.mul_p.bind(0.5, 3.0), lax.neg_p.bind(2)):
        assert isinstance(out, nr.Array) and out.dtype.itemsize == 4 and out.weak_type


def test_writing_jaxprs():
    """sin replaced by cos, and a program made from parts."""
    closed = nr.make_jaxpr(lambda x: jnp.sin(x) * jnp.arange(3.0))(jnp.ones(3))
    eqns = [
        eqn.replace(primitive=lax.cos_p) if eqn.primitive is lax.sin_p else eqn
        for eqn in closed.eqns
    ]
    opened = closed.jaxpr.replace(eqns=eqns)
    changed = jex.ClosedJaxpr(opened, closed.consts)
    (out,) = nr.core.eval_jaxpr(changed.jaxpr, changed.consts, jnp.zeros(3))
    np.testing.assert_array_equal(out, [0, 1, 2])

    aval = nr.core.ShapedArray((2,), jnp.float32)
    a, b, c = jex.Var(aval), jex.Var(aval), jex.gensym()(aval)
    eqn = jex.new_jaxpr_eqn([a, b], [c], lax.mul_p, {}, set())
    opened = jex.Jaxpr([a], [b], [c], [eqn])
    assert isinstance(opened, jex.Jaxpr)
    closed = jex.ClosedJaxpr(opened, [jnp.array([2.0, 3.0])])
    jex.check_jaxpr(closed)
    assert [list(x) for x in jex.jaxpr_as_fun(closed)(jnp.ones(2))] == [[2, 3]]
    with pytest.raises(jex.JaxprTypeError):
        jex.check_jaxpr(jex.Jaxpr([], [b], [c], [eqn]))


def test_replacing_the_jaxpr_of_a_closed_one():
    closed = nr.make_jaxpr(lambda x: x * jnp.arange(3.0))(1.0)
    other = closed.jaxpr.replace(
        eqns=[eqn.replace(primitive=lax.add_p) if eqn.primitive is lax.mul_p else eqn
              for eqn in closed.eqns]
    )  # fmt: skip
    changed = closed.replace(jaxpr=other)
    np.testing.assert_array_equal(jex.jaxpr_as_fun(changed)(1.0)[0], [1, 2, 3])


def test_where_eqns_come_from_and_their_effects():
    def f(x):
        with nr.named_scope("outer"):
            y = nr.named_call(jnp.sin, name="inner")(x)
        lax.cond(x > 0, lambda: nr.debug.print("{x}", x=x), lambda: None)
        return y

    program = nr.make_jaxpr(f)(1.0)
    found = {eqn.primitive.name: eqn for eqn in program.eqns}
    assert found["sin"].source_info.name_stack == "outer/inner"
    assert not found["sin"].effects
    assert program.effects == found["cond"].effects == {"debug_callback"}


def test_nested_jaxprs():
    def f(x):
        return lax.cond(x > 0, jnp.sin, lambda x: lax.while_loop(lambda c: c < 1, jnp.exp, x), x)

    def names(jaxpr):
        found = [eqn.primitive.name for eqn in jaxpr.eqns]
        for eqn in jaxpr.eqns:
            for inner in jex.jaxprs_in_params(eqn.params):
                found += names(inner)
        return found

    program = nr.make_jaxpr(f)(1.0)
    assert {"sin", "exp", "lt", "while", "cond"} <= set(names(program))
    assert len(list(jex.subjaxprs(program))) == 2


def test_avals_of_lanes():
    aval = nr.core.ShapedArray((4, 3), jnp.int32)
    assert jex.mapped_aval(4, 0, aval).shape == (3,)
    assert jex.unmapped_aval(5, 1, aval).shape == (4, 5, 3)
    with pytest.raises(ValueError, match="mapped_aval"):
        jex.mapped_aval(5, 0, aval)
    assert isinstance(aval, nr.core.AbstractValue)
    assert aval.to_tangent_aval().dtype == nr.dtypes.float0
    assert jex.primal_dtype_to_tangent_dtype(jnp.dtype("int32")) == nr.dtypes.float0
    assert jex.valid_jaxtype(1) and jex.valid_jaxtype(np.ones(2)) and not jex.valid_jaxtype("a")


def test_trace_states():
    state = jex.get_opaque_trace_state
    seen = []

    def f(x):
        seen.append(state())
        assert state() == state()
        return x * 2

    before = state()
    nr.grad(f)(1.0)
    nr.vmap(lambda x: seen.append(jex.unsafe_get_axis_names_DO_NOT_USE()) or x, axis_name="i")(
        jnp.ones(2)
    )
    assert seen[0] != before and state() == before
    assert seen[1] == ["i"]
    assert not jex.nonempty_axis_env_DO_NOT_USE()


def test_which_transformations_are_around():
    def around(x):
        jitted, mapped = (
            jex.unsafe_am_i_under_a_jit_DO_NOT_USE(),
            jex.unsafe_am_i_under_a_vmap_DO_NOT_USE(),
        )
        with jex.take_current_trace() as trace:
            assert float(jnp.ones(3).sum()) == 3 and not jex.unsafe_am_i_under_a_jit_DO_NOT_USE()
        assert trace is jex.find_top_trace(x)
        with nr.core.eval_context():
            assert not isinstance(jnp.zeros(2), nr.core.Tracer)
        with jex.set_current_trace(trace):
            seen.append((jitted, mapped))
            return x * 2

    seen = []
    around(1.0)
    nr.grad(around)(1.0)
    nr.vmap(nr.grad(around))(jnp.ones(2))
    nr.jit(nr.vmap(nr.grad(around)))(jnp.ones(2))
    assert seen == [(False, False), (False, False), (False, True), (True, True)]
    assert jex.no_effects == set()


def test_values_of_one_differentiation_are_told_by_its_main():
    def inner(x, outer):
        main = jex.find_top_trace(x).main
        of = [isinstance(y, ad.JVPTracer) and y._trace.main is main for y in (x, outer, 1.0)]
        assert of == [True, False, False]
        return x * outer

    def f(y):
        return nr.jvp(lambda x: inner(x, y), (y,), (1.0,))[1]

    assert nr.jvp(f, (3.0,), (1.0,))[1] == 1.0


def test_partial_evaluation():
    ran = []

    def f(x, y):
        ran.append(jnp.sin(x))
        return {"known": ran[-1], "both": jnp.sin(x) * y, "unused": y + 1}

    leaves, tree = nr.tree.flatten(((1.0, 2.0), {}))
    flat, out_tree = nr.api_util.flatten_fun(lu.wrap_init(f), tree)
    aval = nr.core.ShapedArray((), jnp.float32)
    pvals = [pe.PartialVal.known(leaves[0]), pe.PartialVal.unknown(aval)]
    jaxpr, outs, consts = pe.trace_to_jaxpr_nounits(flat, pvals)
    both, known, unused = outs  # in the order of keys
    np.testing.assert_allclose(ran[0], np.sin(1.0), rtol=1e-6)  # ran, was not recorded
    assert known.get_known() is ran[0] and known.is_known()
    assert not both.is_known() and both.get_known() is None and both[0].shape == ()
    assert out_tree().unflatten("bku") == {"both": "b", "known": "k", "unused": "u"}
    got = nr.core.eval_jaxpr(jaxpr, [], *consts, 3.0)
    np.testing.assert_allclose(got, [3 * np.sin(1.0), 4.0], rtol=1e-6)
    jaxpr, outs, _ = pe.trace_to_jaxpr_nounits(flat, pvals, instantiate=True)
    assert [p.is_known() for p in outs] == [False] * 3 and len(jaxpr.outvars) == 3

    small, used = pe.dce_jaxpr(nr.make_jaxpr(f)(1.0, 2.0), [False, True, False])
    assert used == [True, False] and [e.primitive.name for e in small.eqns] == ["sin"]
    assert pe.dce_jaxpr(small, [True], instantiate=True)[1] == [True]


def test_tracing_flat_functions():
    flat, out_tree = nr.api_util.flatten_fun_nokwargs(
        lu.wrap_init(lambda x, scale: (x * jnp.arange(3.0) * scale,), {"scale": 2.0}),
        nr.tree.structure((1,)),
    )
    aval = nr.core.ShapedArray((), jnp.float32)
    jaxpr, avals, consts = pe.trace_to_jaxpr_dynamic(flat, [aval])
    assert [a.shape for a in avals] == [(3,)] and out_tree() == nr.tree.structure((0,))
    np.testing.assert_array_equal(nr.core.eval_jaxpr(jaxpr, consts, 1.0)[0], [0, 2, 4])


def test_maps_of_equal_lengths():
    assert nr.api_util.safe_map(int, "12") == [1, 2]
    with pytest.raises(ValueError, match="shorter"):
        nr.api_util.safe_map(max, [1, 2], [3])
    assert nr.api_util.shaped_abstractify(np.ones(2, np.int8)).dtype == "int8"
