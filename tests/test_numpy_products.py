"""Without these, products and einsum could differ from NumPy's, in jit from eager, or in grad."""

import warnings

import jax
import jax.numpy as jax_numpy
import numpy as np
import pytest

import nr
from nr import lax
from nr import numpy as jnp
from nr.lax.rules import operand
from nr.numpy import products

# float64 sums of a few dozen products in different orders: a few hundred roundings at most.
SUM64 = {"rtol": 1e-12, "atol": 1e-12}


def arrays(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape)).astype(dtype) for shape in shapes]


def check(fun, reference, *xs, tolerance=SUM64):
    """Eager and jitted results agree with the reference."""
    eager = fun(*map(wrapped, xs))
    wanted = reference(*xs)
    assert eager.shape == np.shape(wanted)
    assert eager.dtype == np.asarray(wanted).dtype
    np.testing.assert_allclose(np.asarray(eager), wanted, **tolerance)
    staged = nr.jit(fun)(*map(wrapped, xs))
    assert (staged.shape, staged.dtype) == (eager.shape, eager.dtype)
    np.testing.assert_allclose(np.asarray(staged), np.asarray(eager), **tolerance)
    return eager


def wrapped(x):
    return operand("test", x)


def check_gradient(fun, *xs):
    """The gradient of a weighted sum agrees with central differences."""
    weights = np.random.default_rng(7).normal(size=fun(*map(wrapped, xs)).shape)

    def total(*args):
        return nr.lax.reduce_sum(nr.lax.mul(fun(*args), wrapped(weights)), None)

    grads = nr.grad(total, argnums=tuple(range(len(xs))))(*map(wrapped, xs))
    directions = arrays(8, *[np.shape(x) for x in xs])
    step = 1e-6
    ahead = [x + step * d for x, d in zip(xs, directions)]
    behind = [x - step * d for x, d in zip(xs, directions)]
    slope = (float(total(*map(wrapped, ahead))) - float(total(*map(wrapped, behind)))) / (2 * step)
    along = sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(grads, directions))
    # central differences in float64: error of step^2 and of 1e-16 / step
    np.testing.assert_allclose(along, slope, rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------- matmul and its kin
MATMUL_SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (1, 5, 3, 4)),
    ((1, 1, 2, 3), (1, 3, 4)),
    ((2, 0), (0, 4)),
    ((0, 2, 3), (3, 4)),
]


@pytest.mark.parametrize("a, b", MATMUL_SHAPES)
def test_matmul_broadcasts_like_numpy(a, b):
    check(products.matmul, np.matmul, *arrays(0, a, b))


@pytest.mark.parametrize("a, b", [s for s in MATMUL_SHAPES if 0 not in s[0]])
def test_matmul_gradient(a, b):
    check_gradient(products.matmul, *arrays(1, a, b))


def test_matmul_fast_path_equals_the_general_one():
    a, b = arrays(2, (4, 5), (5, 3), dtype=np.float32)
    fast = products.matmul(wrapped(a), wrapped(b))
    np.testing.assert_array_equal(np.asarray(fast), a @ b)
    with np.errstate(all="raise"):
        big = wrapped(np.full((2, 2), 3e38, np.float32))
        assert np.isinf(np.asarray(products.matmul(big, big))).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(np.asarray(products.matmul(big, big))).all()


@pytest.mark.parametrize("name", ["matmul", "dot", "inner", "vdot", "outer", "tensordot", "vecdot"])
@pytest.mark.parametrize("a", ["float32", "int32", "bool", "bfloat16", "int8", "uint8"])
@pytest.mark.parametrize("b", ["float32", "int32", "bool", "bfloat16", "int8"])
def test_dtypes_are_those_of_jax(name, a, b):
    shape = (3,) if name == "outer" else (3, 3)
    x, y = (np.ones(shape).astype(nr.core.dtypes.DTYPES[d]) for d in (a, b))
    ours = getattr(products, name)(wrapped(x), wrapped(y))
    assert ours.dtype == jax.eval_shape(getattr(jax_numpy, name), x, y).dtype
    wanted = getattr(np, name)(np.float64(x), np.float64(y))
    if ours.dtype == np.bool_:
        wanted = wanted > 0
    np.testing.assert_array_equal(np.float64(np.asarray(ours)), wanted)


def test_mismatch_reads_the_same_in_eager_and_jit():
    a, b = map(wrapped, arrays(0, (32, 64), (32, 10), dtype=np.float32))
    start = r"^matmul: contracting dimensions must match; got f32\[32,64\] and f32\[32,10\]"
    with pytest.raises(TypeError, match=start) as eager:
        products.matmul(a, b)
    with pytest.raises(TypeError, match=start) as staged:
        nr.jit(products.matmul)(a, b)
    assert str(staged.value).startswith(str(eager.value))
    with pytest.raises(TypeError, match="leading dimensions must be broadcastable"):
        products.matmul(*map(wrapped, arrays(0, (2, 3, 4), (5, 4, 3))))
    with pytest.raises(ValueError, match="Use \\* for the product with a scalar"):
        products.matmul(2.0, a)
    with pytest.raises(TypeError, match="got \\[1"):
        products.matmul([1.0, 2.0], b)


def test_vectors_and_stacks():
    a, b, v, w = arrays(3, (5, 2, 3), (2, 3), (5, 3), (1, 3))
    z = a + 1j * a[::-1]
    u = v + 2j * v[::-1]
    check(products.matvec, np.matvec, a, v)
    check(products.matvec, np.matvec, b, v)
    check(products.vecmat, np.vecmat, u, np.swapaxes(z, 1, 2))
    check(products.vecdot, np.vecdot, u, w)
    check(lambda x, y: products.vecdot(x, y, axis=1), lambda x, y: np.vecdot(x, y, axis=1), z, a)
    check(products.vdot, np.vdot, z, a)
    check(products.inner, np.inner, a, b)
    check(products.outer, np.outer, b, v)
    check(products.dot, np.dot, a, np.ones((7, 3, 2)))
    check(products.dot, np.dot, a, np.float64(2.5))
    check(products.dot, np.dot, np.float64(2.5), b)


def test_preferred_element_type():
    a = wrapped(np.full((2, 3), 100, np.int8))
    for name in ("dot", "inner", "matmul", "tensordot"):
        b = a if name == "inner" else nr.lax.transpose(a, (1, 0))
        kwargs = {"axes": 1} if name == "tensordot" else {}
        out = getattr(products, name)(a, b, preferred_element_type="int32", **kwargs)
        assert out.dtype == np.int32
        assert int(out.host()[0, 0]) == 30000
    out = products.einsum("ij,kj,kl->il", a, a, a, preferred_element_type="int32")
    assert out.dtype == np.int32
    assert int(out.host()[0, 0]) == 2 * 3 * 100**3


@pytest.mark.parametrize(
    "axes", [0, 1, 2, ([1, 2], [0, 1]), ([2, 1], [1, 0]), (2, 1), ((-1,), (-2,))]
)
def test_tensordot(axes):
    x, y = arrays(4, (2, 3, 3), (3, 3, 2))
    check(lambda a, b: products.tensordot(a, b, axes), lambda a, b: np.tensordot(a, b, axes), x, y)


def test_tensordot_gradient_and_errors():
    x, y = arrays(4, (2, 3, 4), (4, 3, 2))
    check_gradient(lambda a, b: products.tensordot(a, b, ([1, 2], [1, 0])), x, y)
    with pytest.raises(TypeError, match="tensordot: contracting dimensions must match"):
        products.tensordot(wrapped(x), wrapped(y), 2)
    with pytest.raises(TypeError, match="tensordot: axes"):
        products.tensordot(wrapped(x), wrapped(y), 4)


def test_multi_dot():
    xs = arrays(5, (4, 6), (6, 2), (2, 5), (5, 3))
    check(lambda *a: products.multi_dot(a), lambda *a: np.linalg.multi_dot(a), *xs)
    xs = arrays(5, (6,), (6, 2), (2,))
    check(lambda *a: products.multi_dot(a), lambda *a: np.linalg.multi_dot(a), *xs)


def test_kron_cross_trace():
    a, b = arrays(6, (2, 3), (4, 2))
    check(products.kron, np.kron, a, b)
    check(products.kron, np.kron, a[0], b)
    u, v = arrays(6, (4, 3), (4, 3))
    check(products.cross, np.cross, u, v)
    check(lambda x, y: products.cross(x, y, axis=0), lambda x, y: np.cross(x, y, axis=0), u.T, v.T)
    check(products.cross, np.cross, u, v[0])
    check_gradient(products.cross, u, v)
    planar = products.cross(wrapped(u[:, :2]), wrapped(v[:, :2]))
    np.testing.assert_allclose(planar, u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0], **SUM64)
    mixed = products.cross(wrapped(u[:, :2]), wrapped(v))
    np.testing.assert_allclose(mixed, np.cross(u * [1, 1, 0], v), **SUM64)
    (x,) = arrays(6, (3, 4, 5))
    for offset in (-5, -2, 0, 1, 3, 9):
        check(lambda t, k=offset: products.trace(t, k), lambda t, k=offset: np.trace(t, k), x)
    check(lambda t: products.trace(t, 1, 2, 0), lambda t: np.trace(t, 1, 2, 0), x)
    check_gradient(lambda t: products.trace(t, 1, 2, 0), x)
    for dtype in ("int8", "bool", "uint8", "int32", "bfloat16"):
        x = np.ones((2, 2)).astype(nr.core.dtypes.DTYPES[dtype])
        assert products.trace(wrapped(x)).dtype == jax.eval_shape(jax_numpy.trace, x).dtype


# ---------------------------------------------------------------- einsum
EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ij,jk->ki", [(2, 3), (3, 4)]),
    ("ba,b", [(2, 3), (2,)]),
    ("i,i", [(3,), (3,)]),
    ("i,j->ij", [(3,), (2,)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("iij->ji", [(3, 3, 2)]),
    ("iijj->ij", [(3, 3, 2, 2)]),
    ("iii->i", [(3, 3, 3)]),
    ("ijij,ji->", [(3, 2, 3, 2), (2, 3)]),
    ("ij->", [(2, 3)]),
    ("ij->ji", [(2, 3)]),
    ("ij->j", [(2, 3)]),
    ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
    ("...ij,...jk", [(5, 1, 2, 3), (6, 3, 4)]),
    ("i...->...", [(2, 3, 4)]),
    ("...->...", [(2, 3)]),
    ("i...,i...->i...", [(2, 3), (2,)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("ij,jk,kl,lm->im", [(2, 3), (3, 4), (4, 5), (5, 2)]),
    ("ea,fb,abcd,gc,hd->efgh", [(2, 3), (2, 3), (3, 3, 4, 4), (2, 4), (2, 4)]),
    ("ij,kj->", [(2, 3), (4, 3)]),
    ("ij,ij->ij", [(2, 1), (1, 3)]),
    ("ij,jk->ik", [(2, 1), (3, 4)]),
    ("i,->i", [(3,), ()]),
    (",", [(), ()]),
    (" i j , j -> i ", [(2, 3), (3,)]),
    ("ij,jk->ik", [(2, 0), (0, 4)]),
]


@pytest.mark.parametrize("equation, shapes", EQUATIONS)
def test_einsum(equation, shapes):
    xs = arrays(9, *shapes)
    check(lambda *a: products.einsum(equation, *a), lambda *a: np.einsum(equation, *a), *xs)


@pytest.mark.parametrize("equation, shapes", [e for e in EQUATIONS if (2, 0) not in e[1]])
def test_einsum_gradient(equation, shapes):
    check_gradient(lambda *a: products.einsum(equation, *a), *arrays(10, *shapes))


def random_equation(rng):
    """An equation of one to four operands, with repeated labels, dots, and extents of 1."""
    extents = {label: int(rng.integers(1, 4)) for label in "abcdef"}
    dotted = rng.random() < 0.3
    terms, shapes = [], []
    for _ in range(int(rng.integers(1, 5))):
        labels = list(rng.choice(list("abcdef"), size=int(rng.integers(0, 4))))
        shape = [extents[label] for label in labels]
        if dotted and rng.random() < 0.7:
            place, dots = int(rng.integers(0, len(labels) + 1)), [[], [2], [3, 2], [1, 2]]
            labels.insert(place, "...")
            shape[place:place] = dots[int(rng.integers(0, 4))]
        terms.append("".join(labels))
        shapes.append(tuple(shape))
    equation = ",".join(terms)
    if rng.random() < 0.8:
        present = sorted(set(equation) - set(",."))
        count = int(rng.integers(0, len(present) + 1))
        output = list(rng.permutation(present)[:count])
        if "..." in equation:
            output.insert(int(rng.integers(0, count + 1)), "...")
        equation += "->" + "".join(output)
    return equation, shapes


@pytest.mark.parametrize("seed", range(150))
def test_random_einsum_against_numpy(seed):
    rng = np.random.default_rng(seed)
    equation, shapes = random_equation(rng)
    xs = arrays(seed, *shapes)
    optimize = ["auto", "greedy", "optimal", False, True][seed % 5]
    ours = products.einsum(equation, *map(wrapped, xs), optimize=optimize)
    np.testing.assert_allclose(np.asarray(ours), np.einsum(equation, *xs), **SUM64)
    if seed % 10 == 0:
        check_gradient(lambda *a: products.einsum(equation, *a), *xs)


def test_einsum_interleaved_form():
    x, y, z = arrays(11, (2, 3), (3, 4), (5, 2, 3))
    for terms in ([x, [0, 1], y, [1, 2], [2, 0]], [x, [0, 1], y, [1, 2]]):
        ours = products.einsum(*[wrapped(t) if isinstance(t, np.ndarray) else t for t in terms])
        np.testing.assert_allclose(ours, np.einsum(*terms), **SUM64)
    ours = products.einsum(wrapped(z), [..., 1], wrapped(y), [1, 30], [30, ...])
    np.testing.assert_allclose(ours, np.einsum("...b,bc->c...", z, y), **SUM64)


def test_einsum_takes_an_explicit_path_and_tells_one():
    x, y, z = arrays(12, (2, 3), (3, 4), (4, 5))
    wanted = np.einsum("ij,jk,kl->il", x, y, z)
    for path in ([(1, 2), (0, 1)], [(0, 2), (0, 1)], ["einsum_path", (0, 1), (0, 1)]):
        ours = products.einsum("ij,jk,kl->il", *map(wrapped, (x, y, z)), optimize=path)
        np.testing.assert_allclose(ours, wanted, **SUM64)
    path, info = products.einsum_path("ij,jk,kl->il", *map(wrapped, (x, y, z)))
    assert sorted(len(step) for step in path) == [2, 2]
    assert "Optimized FLOP" in str(info)


def test_einsum_by_a_given_product():
    """As layers of other libraries pass quantized products."""
    seen = []

    def product(x, y, dimension_numbers, precision=None, preferred_element_type=None):
        seen.append((precision, preferred_element_type))
        return 2 * lax.dot_general(x, y, dimension_numbers)

    x = jnp.ones((2, 3))
    out = jnp.einsum("ij,kj->ik", x, x, _dot_general=product, precision="highest")
    np.testing.assert_array_equal(out, np.full((2, 2), 6.0))
    assert seen == [("highest", None)]


def test_einsum_vmap():
    x, y = arrays(13, (5, 2, 3), (3, 4))
    ours = nr.vmap(lambda a, b: products.einsum("ij,jk->ki", a, b), in_axes=(0, None))(
        wrapped(x), wrapped(y)
    )
    np.testing.assert_allclose(ours, np.einsum("bij,jk->bki", x, y), **SUM64)


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "bfloat16", "int8"])
@pytest.mark.parametrize("equation", ["ij->i", "ij,kj->ik", "ii"])
def test_einsum_dtypes(dtype, equation):
    x = np.ones((3, 3)).astype(nr.core.dtypes.DTYPES[dtype])
    xs = [x] * (equation.count(",") + 1)
    ours = products.einsum(equation, *map(wrapped, xs))
    theirs = jax.eval_shape(lambda *a: jax_numpy.einsum(equation, *a), *xs)
    assert ours.dtype == x.dtype == theirs.dtype


@pytest.mark.parametrize(
    "equation, shapes, message",
    [
        ("ij,jk->ik", [(2, 3), (4, 5)], "extents; got 3 and 4 for 'j'"),
        ("ij->ik", [(2, 3)], "labels of the result must occur in a term; got 'k'"),
        ("ij->ii", [(2, 3)], "must be distinct"),
        ("ij", [(2, 3, 4)], "a label a dimension; got 2 labels for operand 0 of rank 3"),
        ("ij,jk", [(2, 3)], "got 2 terms"),
        ("i$->i", [(2, 3)], r"got '\$'"),
    ],
)
def test_einsum_says_what_is_wrong(equation, shapes, message):
    xs = [wrapped(x) for x in arrays(0, *shapes)]
    with pytest.raises(ValueError, match=message):
        products.einsum(equation, *xs)
    with pytest.raises(ValueError, match=message):
        nr.jit(lambda *a: products.einsum(equation, *a))(*xs)
