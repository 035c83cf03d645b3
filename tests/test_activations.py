"""Without this activations and functions over an axis could differ from those of JAX and torch."""

import functools
import math

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn

X = np.concatenate([np.linspace(-8, 8, 41), [0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 1e-4, -1e-4, 90, -90]])
X32 = X.astype(np.float32)
# Functions of a few float32 operations, each rounded once (6e-8), here and in JAX.
RTOL, ATOL = 2e-6, 2e-6

ACTIVATIONS = [
    "celu", "elu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "identity",
    "leaky_relu", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_sign",
    "softplus", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh", "gelu",
]  # fmt: skip
REDUCTIONS = ["softmax", "log_softmax", "logsumexp", "standardize"]


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


def close(got, expected, rtol=RTOL, atol=ATOL):
    expected = np.asarray(expected)
    assert got.shape == expected.shape
    assert np.dtype(got.dtype) == expected.dtype
    np.testing.assert_allclose(np.asarray(got), expected, rtol=rtol, atol=atol)


def derivative(lib, jnp_, f, x):
    return lib.grad(lambda x: jnp_.sum(f(x)))(x)


# ---------------------------------------------------------------- activations
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_derivatives_are_those_of_jax(name, jax):
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    close(ours(X32), theirs(X32))
    close(nr.jit(ours)(X32), theirs(X32))
    # X holds the kinks: 0, 1, -1, 3, -3, 6.
    close(derivative(nr, jnp, ours, X32), derivative(jax, jax.numpy, theirs, X32))
    assert ours(jnp.ones(2, "bfloat16")).dtype == "bfloat16"
    assert ours(X).dtype == "float64"


def test_integers_become_floats_where_they_do_in_jax(jax):
    x = np.array([-3, 0, 2, 9], np.int32)
    for name in set(ACTIVATIONS) - {"sigmoid", "silu", "swish"}:  # errors in JAX
        close(getattr(nn, name)(x), getattr(jax.nn, name)(x))


@pytest.mark.parametrize(
    "call",
    [
        lambda nn: nn.elu(X32, alpha=0.5),
        lambda nn: nn.celu(X32, 2.0),
        lambda nn: nn.leaky_relu(X32, 0.2),
        lambda nn: nn.squareplus(X32, 1.0),
        lambda nn: nn.gelu(X32, approximate=False),
        lambda nn: nn.glu(X32[:40].reshape(4, 10)),
        lambda nn: nn.glu(X32[:40].reshape(4, 10), axis=0),
        lambda nn: nn.log1mexp(np.abs(X32) + np.float32(1e-6)),
        lambda nn: nn.relu(np.array([-1, 2], np.int32)),
    ],
)
def test_arguments_of_activations(call, jax):
    close(call(nn), call(jax.nn))


def test_activations_in_float64_against_their_formulas():
    phi = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in X])
    np.testing.assert_allclose(nn.gelu(X, approximate=False), X * phi, rtol=1e-12)
    assert np.abs(nn.gelu(X) - X * phi).max() < 5e-4  # the docstring's promise
    np.testing.assert_allclose(nn.log_sigmoid(X), -np.logaddexp(0, -X), rtol=1e-14)
    tiny = np.array([1e-12, 1e-3, 30.0])
    np.testing.assert_allclose(
        nn.log1mexp(tiny), [np.log(1e-12), np.log(-np.expm1(-1e-3)), -np.exp(-30.0)], rtol=1e-12
    )


@pytest.mark.parametrize("approximate", [True, False])
def test_gelu_keeps_one_array_for_its_gradient(approximate):
    """Of more, a scan over layers would stack each one."""
    gelu = functools.partial(nn.gelu, approximate=approximate)

    def layers(x):
        return nr.lax.scan(lambda x, _: (gelu(x), None), x, None, length=3)[0].sum()

    forward, _ = [
        eqn
        for eqn in nr.make_jaxpr(nr.grad(layers))(X32).jaxpr.eqns
        if "scan" in str(eqn.primitive)
    ]
    stacked = [v for v in forward.outvars if v.aval.shape == (3, *X32.shape)]
    assert len(stacked) == 1


@pytest.mark.parametrize("name", ["relu", "elu", "celu", "softplus", "sigmoid", "log_sigmoid"])
def test_extremes_have_finite_derivatives(name):
    x = np.array([-np.inf, -1e30, 1e30, np.inf], np.float32)
    slopes = derivative(nr, jnp, getattr(nn, name), x)
    assert np.isfinite(slopes).all()
    assert np.isnan(getattr(nn, name)(np.float32(np.nan)))


def test_relu_is_differentiable_twice_and_maps():
    x = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(nr.vmap(nr.grad(nn.relu))(x), [0, 0, 1])
    assert nr.grad(nn.relu)(np.nan) == nr.jit(nr.grad(nn.relu))(np.nan) == 0
    assert np.isnan(nn.relu(np.nan)) and np.isnan(nr.jit(nn.relu)(np.nan))
    np.testing.assert_array_equal(nr.hessian(lambda x: (nn.relu(x) ** 2).sum())(x)[2], [0, 0, 2])


# ---------------------------------------------------------------- over an axis
SCORES = np.array([[1.0, -2.0, 0.5, 1000.0], [-np.inf, 3.0, 3.0, -1000.0]], np.float32)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [-1, 0, (0, 1), None])
def test_functions_over_an_axis_are_those_of_jax(name, axis, jax):
    x = np.clip(SCORES, -50, 50) if name == "standardize" else SCORES
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    close(ours(x, axis=axis), theirs(x, axis=axis))
    finite = np.clip(x, -50, 50)
    weights = np.linspace(1, 2, np.size(ours(finite, axis=axis)), dtype=np.float32)
    slopes = [
        derivative(lib, np_, lambda x, f=f, np_=np_: np_.ravel(f(x, axis=axis)) * weights, finite)
        for lib, np_, f in ((nr, jnp, ours), (jax, jax.numpy, theirs))
    ]
    close(*slopes, atol=1e-5)  # differences of terms as large as 50


@pytest.mark.parametrize("name", REDUCTIONS)
def test_where_masks_values_and_gradients(name, jax):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 5)).astype(np.float32)
    mask = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 0]], bool)
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    close(ours(x, axis=-1, where=mask), theirs(x, axis=-1, where=mask))
    if name != "standardize":  # whose masked elements are still moved and scaled
        poisoned = np.where(mask, x, np.nan)
        close(ours(poisoned, axis=-1, where=mask), theirs(x, axis=-1, where=mask))
        slopes = derivative(
            nr, jnp, lambda x: jnp.where(mask.any(), ours(x, axis=-1, where=mask), 0)[..., :1], x
        )
        assert (np.asarray(slopes)[:, 1:][~mask[:, 1:]] == 0).all()


def test_softmax_of_a_row_masked_as_a_whole_is_zero():
    x, mask = jnp.ones((2, 3)), np.array([[True] * 3, [False] * 3])
    value, slopes = nr.value_and_grad(
        lambda x: (nn.softmax(x, where=mask) * jnp.arange(3.0)).sum()
    )(x)
    assert float(value) == pytest.approx(1.0)
    np.testing.assert_allclose(slopes, [[-1 / 3, 0, 1 / 3], [0, 0, 0]], atol=ATOL)


def test_rows_of_infinities_are_as_in_jax(jax):
    inf = np.inf
    x = np.array([[-inf, -inf], [inf, 1.0], [inf, inf], [-inf, 0.0]], np.float32)
    for name in ("softmax", "log_softmax"):
        close(getattr(nn, name)(x), getattr(jax.nn, name)(x))
    close(nn.logsumexp(x, axis=1), jax.nn.logsumexp(x, axis=1))


def test_logsumexp_arguments(jax):
    x = np.array([[1.0, 2.0, -np.inf], [100.0, 0.0, 1.0]], np.float32)
    b = np.array([[1.0, -2.0, 5.0], [0.0, 2.0, -3.0]], np.float32)
    close(nn.logsumexp(x, axis=1, b=b), jax.nn.logsumexp(x, axis=1, b=b))
    got = nn.logsumexp(x, axis=0, b=b, return_sign=True, keepdims=True)
    for mine, theirs in zip(
        got, jax.nn.logsumexp(x, axis=0, b=b, return_sign=True, keepdims=True), strict=True
    ):
        close(mine, theirs)
    close(nn.logmeanexp(x, axis=1), jax.nn.logmeanexp(x, axis=1))
    mask = np.array([True, True, False])
    close(nn.logmeanexp(x, axis=1, where=mask), jax.nn.logmeanexp(x, axis=1, where=mask))


def test_standardize_takes_given_moments(jax):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    kwargs = {"mean": np.float32(1.0), "variance": np.full((2, 1), 4.0, np.float32)}
    close(nn.standardize(x, epsilon=0.1, **kwargs), jax.nn.standardize(x, epsilon=0.1, **kwargs))
    far = 1e4 + x  # where mean(x**2) - mean(x)**2 has lost all digits
    for algorithm in ("fast", "stable"):
        moved = nn.standardize(far, algorithm=algorithm)
        np.testing.assert_allclose(moved.std(axis=-1), 1.0, rtol=1e-3)
    with pytest.raises(ValueError, match='standardize: algorithm must be "fast" or "stable"'):
        nn.standardize(far, algorithm="slow")


def test_one_hot(jax):
    x = np.array([[0, 2], [3, -1]])
    for kwargs in ({}, {"axis": 0}, {"axis": -2}, {"dtype": np.int32}, {"dtype": bool}):
        close(nn.one_hot(x, 3, **kwargs), jax.nn.one_hot(x, 3, **kwargs))
    close(nn.one_hot(np.uint8(200), 300), jax.nn.one_hot(np.uint8(200), 300))
    close(nn.one_hot(1, 2), jax.nn.one_hot(1, 2))
    close(nn.one_hot([0, 5, -1], 3), jax.nn.one_hot([0, 5, -1], 3))
    labels = np.float32([0, 1.5, 2])  # as JAX, floats too
    close(nn.one_hot(labels, 3), jax.nn.one_hot(labels, 3))


# ---------------------------------------------------------------- torch's
# At a kink (0, 1, -1, 3, -3 of X) the derivatives must agree as well.
TORCH = [
    ("hardshrink", {}), ("hardshrink", {"lambd": 3.0}), ("softshrink", {}),
    ("softshrink", {"lambd": 1.0}), ("tanhshrink", {}),
    ("threshold", {"threshold": 1.0, "value": 5.0}),
]  # fmt: skip
# float64: of formulas of a few operations.
F64 = {"rtol": 1e-12, "atol": 1e-12}


def tolerance(dtype):
    return F64 if dtype == "float64" else {"rtol": RTOL, "atol": ATOL}


def agrees(f, reference, args, dtype):
    """Values and gradients with respect to all arguments, eagerly and compiled."""
    torch = pytest.importorskip("torch")
    args = [np.asarray(x, dtype) for x in args]
    tensors = [torch.from_numpy(x.copy()).requires_grad_() for x in args]
    value = reference(*tensors)
    scale = np.linspace(1, 2, value.numel(), dtype=dtype).reshape(value.shape)
    (value * torch.from_numpy(scale)).sum().backward()
    wrt = tuple(range(len(args)))

    def scaled(*args):
        out = f(*args)
        return (out * scale).sum(), out

    both = nr.value_and_grad(scaled, wrt, has_aux=True)
    for run in (both, nr.jit(both)):
        (_, got), slopes = run(*args)
        close(got, value.detach().numpy(), **tolerance(dtype))
        for slope, tensor in zip(slopes, tensors, strict=True):
            close(slope, tensor.grad.numpy(), **tolerance(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, options", TORCH)
def test_activations_and_derivatives_are_those_of_torch(name, options, dtype):
    torch = pytest.importorskip("torch")
    reference = getattr(torch.nn.functional, name)
    x = X[np.abs(X) < 20]
    agrees(lambda x: getattr(nn, name)(x, **options), lambda x: reference(x, **options), [x], dtype)
    assert getattr(nn, name)(jnp.ones(2, "bfloat16"), **options).dtype == "bfloat16"
    assert np.isnan(getattr(nn, name)(np.float32(np.nan), **options))


# (ours, torch's): one function under the names of JAX and of torch.
BOTH = [
    (nn.relu, "relu", {}), (nn.relu6, "relu6", {}), (nn.leaky_relu, "leaky_relu", {}),
    (nn.elu, "elu", {}), (nn.celu, "celu", {}), (nn.selu, "selu", {}), (nn.silu, "silu", {}),
    (nn.mish, "mish", {}), (nn.gelu, "gelu", {"approximate": "tanh"}),
    (functools.partial(nn.gelu, approximate=False), "gelu", {}),
    (nn.softplus, "softplus", {"threshold": 50}), (nn.log_sigmoid, "logsigmoid", {}),
    (nn.soft_sign, "softsign", {}), (nn.sigmoid, "sigmoid", {}), (nn.tanh, "tanh", {}),
    (nn.hard_sigmoid, "hardsigmoid", {}), (nn.hard_silu, "hardswish", {}),
    (nn.hard_tanh, "hardtanh", {}), (nn.softmax, "softmax", {"dim": -1}),
    (nn.log_softmax, "log_softmax", {"dim": -1}), (nn.glu, "glu", {}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f, name, options", BOTH)
def test_functions_of_jax_are_those_of_torch(f, name, options, dtype):
    torch = pytest.importorskip("torch")
    reference = getattr(torch.nn.functional, name)
    if name == "hardsigmoid":  # whose derivative in torch is 1 / 6 rounded to float32

        def reference(x):
            return torch.nn.functional.relu6(x + 3) / 6

    x = (X[np.abs(X) < 20] + 0.01)[:48]  # beside the kinks, where the two differ
    agrees(f, lambda x: reference(x, **options), [x.reshape(4, 12)], dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("slopes", [[0.25], [0.5, 0.0, -1.0]])
def test_prelu_is_that_of_torch(slopes, dtype):
    torch = pytest.importorskip("torch")
    x = np.stack([X[:20], X[20:40], X[31:]], -1)  # 0 among them
    agrees(nn.prelu, torch.nn.functional.prelu, [x, np.array(slopes)], dtype)
    layer = nn.PReLU.init(3, slope=0.5, dtype=dtype)
    np.testing.assert_array_equal(layer(x.astype(dtype)), np.where(x > 0, x, x / 2).astype(dtype))
    grads = nr.grad(lambda layer: layer(x).sum())(layer)
    np.testing.assert_allclose(grads.weight, np.minimum(x, 0).sum(0), rtol=1e-6)
    assert nr.tree.leaves(nn.PReLU.init())[0].shape == (1,)


def test_rrelu_draws_slopes_in_training_only():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional.rrelu
    agrees(
        lambda x: nn.rrelu(x, 0.1, 0.3, training=False), lambda x: f(x, 0.1, 0.3), [X], "float64"
    )
    x = -np.ones(10_000, np.float32)
    drawn = np.asarray(nn.rrelu(x, 0.1, 0.3, training=True, key=nr.random.key(0)))
    assert drawn.min() >= -0.3 and drawn.max() <= -0.1
    assert abs(drawn.mean() + 0.2) < 5 * 0.2 / 12**0.5 / 100  # five standard errors
    slopes = nr.grad(lambda x: nn.rrelu(x, training=True, key=nr.random.key(0)).sum())(x)
    np.testing.assert_allclose(slopes, -nn.rrelu(x, training=True, key=nr.random.key(0)), rtol=1e-6)
    np.testing.assert_array_equal(nn.rrelu(-x, training=True, key=nr.random.key(0)), -x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmin_is_that_of_torch(dtype):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(3, 4))
    agrees(nn.softmin, lambda x: torch.nn.functional.softmin(x, -1), [x], dtype)
    agrees(lambda x: nn.softmin(x, 0), lambda x: torch.nn.functional.softmin(x, 0), [x], dtype)


def test_gumbel_softmax_samples_classes():
    p = np.array([0.5, 0.3, 0.2], np.float32)
    logits = np.broadcast_to(np.log(p), (20_000, 3))
    key = nr.random.key(1)
    hard = nn.gumbel_softmax(logits, key=key, hard=True)
    assert np.isin(hard, [0, 1]).all() and (hard.sum(-1) == 1).all()
    # Five standard errors of a frequency.
    assert (np.abs(hard.mean(0) - p) < 5 * np.sqrt(p * (1 - p) / 20_000)).all()
    for tau in (0.5, 2.0):
        soft = nn.gumbel_softmax(logits, key=key, tau=tau)
        np.testing.assert_allclose(soft.sum(-1), 1, rtol=1e-5)
        np.testing.assert_array_equal(jnp.argmax(soft, -1), jnp.argmax(hard, -1))

        def loss(x, hard, tau=tau):
            weights = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)
            return (nn.gumbel_softmax(x, key=key, tau=tau, hard=hard) * weights).sum()

        slopes = [nr.grad(loss)(logits[:4], hard) for hard in (True, False)]
        np.testing.assert_array_equal(*slopes)
        assert np.abs(slopes[0]).max() > 0.01
    across = nn.gumbel_softmax(logits.T, key=key, hard=True, axis=0)
    assert (across.sum(0) == 1).all()


# ---------------------------------------------------------------- distances
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 0.5, math.inf])
def test_distances_are_those_of_torch(p, dtype):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    x, y = np.random.default_rng(0).normal(size=(2, 3, 4)) + np.array([0, 3])[:, None, None]
    agrees(lambda x: nn.normalize(x, p), lambda x: f.normalize(x, p, -1), [x], dtype)
    agrees(lambda x: nn.normalize(x, p, 0), lambda x: f.normalize(x, p, 0), [x], dtype)
    agrees(
        lambda x, y: nn.pairwise_distance(x, y, p), lambda x, y: f.pairwise_distance(x, y, p),
        [x, y], dtype,
    )  # fmt: skip
    agrees(nn.cosine_similarity, lambda x, y: f.cosine_similarity(x, y, -1), [x, y], dtype)
    agrees(
        lambda x, y: nn.cosine_similarity(x[:, None], y[None]),
        lambda x, y: f.cosine_similarity(x[:, None], y[None], -1), [x, y], dtype,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_distances_of_zeros_and_far_vectors(dtype):
    zero, far = jnp.zeros(3, dtype), jnp.full(3, 1e4, dtype)
    for p in (1, 2, 3, 0.5, math.inf):
        for f in (lambda x, p=p: nn.normalize(x, p, eps=1e-3).sum(),
                  lambda x, p=p: nn.pairwise_distance(x, x, p, eps=0.0)):  # fmt: skip
            value, slopes = nr.value_and_grad(f)(zero)
            assert float(value) == 0 and np.isfinite(slopes.astype("float32")).all()
    assert float(nn.cosine_similarity(zero, far)) == 0
    assert float(nn.cosine_similarity(far, far)) == pytest.approx(1, rel=1e-3)
    unit = nn.normalize(far)
    assert unit.dtype == dtype
    np.testing.assert_allclose(unit.astype("float32"), 3**-0.5, rtol=4e-3)  # bfloat16's 8 bits


# ---------------------------------------------------------------- errors
def test_errors():
    raises = pytest.raises
    with raises(ValueError, match=r"glu: axis -1 .* even size; got f32\[3\]"):
        nn.glu(jnp.ones(3))
    with raises(ValueError, match="one_hot: an axis of the result, of rank 2"):
        nn.one_hot(jnp.ones(2, int), 3, axis=2)
    for run in (nn.prelu, nr.jit(nn.prelu), lambda x, w: nn.PReLU(w)(x)):
        with raises(TypeError, match=r"prelu: .* one a channel, \[3\], .* got f32\[2\]"):
            run(jnp.ones((2, 3)), jnp.ones(2))
    with raises(TypeError, match="rrelu: a key was required in training; got None"):
        nn.rrelu(jnp.ones(3), training=True)
    with raises(ValueError, match="gumbel_softmax: tau must be positive; got 0"):
        nn.gumbel_softmax(jnp.ones(3), key=nr.random.key(0), tau=0)
    with raises(ValueError, match="normalize: p must be positive; got 0"):
        nn.normalize(jnp.ones(3), 0)
    with raises(ValueError, match="pairwise_distance: p must be positive; got -1"):
        nn.pairwise_distance(jnp.ones(3), jnp.ones(3), -1)


@pytest.mark.parametrize("f, slope", [(nn.silu, 1.0), (lambda x: x * jnp.tanh(x), 1.0)])
def test_slopes_of_saturated_factors_do_not_cancel(f, slope):
    x = np.array([30.0, 1e5, 1e10], np.float32)
    np.testing.assert_array_equal(derivative(nr, jnp, f, x), slope)
