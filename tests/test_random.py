"""Without these, random numbers could silently differ from JAX's, or between eager and jit."""

import math

import ml_dtypes
import numpy as np
import pytest

import nr
import nr.random as nrandom
from nr.lax.threefry import threefry2x32

try:
    import jax
    import jax.random as jrandom
except ImportError:
    jax = None

needs_jax = pytest.mark.skipif(jax is None, reason="parity needs jax")
KEY = nrandom.PRNGKey(7)
SHAPES = [(), (0,), (4, 5)]
FLOATS = ["float32", "bfloat16", "float16", "float64"]
# What the issue allows where JAX's own elementary functions differ from ours in the last digits.
FUNCTION_ULPS = 4
# XLA's float64 log1p is itself off by up to 128 ulp in (-0.414, -0.38); so is what it goes into.
XLA_LOG1P_ULPS = 256
# Results of formulas in which terms near 1 cancel: what a few of their roundings come to.
CANCELLED = {"float32": 4e-6, "float64": 1e-13, "float16": 4e-3, "bfloat16": 4e-2}


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def host(x):
    return np.asarray(x)


def same(ours, theirs):
    ours, theirs = host(ours), host(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


def ordinal(x):
    """Floats as integers in their order, neighbours being one apart."""
    bits = x.view(f"i{x.dtype.itemsize}").astype(object)
    lowest = -(2 ** (8 * x.dtype.itemsize - 1))
    return np.where(bits < 0, lowest - bits, bits)


def close(ours, theirs, ulps=FUNCTION_ULPS):
    ours, theirs = np.atleast_1d(host(ours)), np.atleast_1d(host(theirs))
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    if ours.size:
        assert np.max(np.abs(ordinal(ours) - ordinal(theirs))) <= ulps


# ---------------------------------------------------------------- golden vectors
def test_threefry_known_answers():
    """The vectors of the Random123 distribution (kat_vectors, threefry2x32, 20 rounds)."""
    for key, block, expected in [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]:
        out = threefry2x32(*[np.uint32(v) for v in (*key, *block)])
        assert tuple(int(x) for x in out) == expected


def test_golden_numbers():
    """Obtained once from jax 0.10.2 with its defaults (partitionable Threefry), key 42."""
    key = nrandom.key(42)
    assert host(nrandom.key_data(nrandom.split(key))).tolist() == GOLDEN_SPLIT
    assert host(nrandom.key_data(nrandom.fold_in(key, 7))).tolist() == GOLDEN_FOLD
    assert host(nrandom.bits(key, (3,))).tolist() == GOLDEN_BITS
    assert [x.hex() for x in host(nrandom.uniform(key, (2,))).tolist()] == GOLDEN_UNIFORM
    assert host(nrandom.randint(key, (5,), 0, 10)).tolist() == GOLDEN_INTEGERS
    assert host(nrandom.permutation(key, 6)).tolist() == GOLDEN_PERMUTATION


GOLDEN_SPLIT = [[1832780943, 270669613], [64467757, 2916123636]]
GOLDEN_FOLD = [2547012911, 1371500959]
GOLDEN_BITS = [2098992034, 2919706841, 2646866425]
GOLDEN_UNIFORM = ["0x1.f470480000000p-2", "0x1.5c0e600000000p-1"]
GOLDEN_INTEGERS = [4, 4, 1, 9, 9]
GOLDEN_PERMUTATION = [4, 2, 5, 3, 0, 1]


# ---------------------------------------------------------------- keys
@needs_jax
@pytest.mark.parametrize("seed", [0, 1, -1, -5, 2**31, 2**32 - 1, 2**32 + 7, 2**63 - 1, -(2**63)])
def test_seeds(seed, x64):
    with jax.enable_x64(False):
        same(nrandom.PRNGKey(seed), jrandom.PRNGKey(seed))
    with nr.config.using(default_int="int64"):
        same(nrandom.PRNGKey(seed), jrandom.PRNGKey(seed))
    same(nrandom.PRNGKey(np.int64(seed)), jrandom.PRNGKey(np.int64(seed)))


@needs_jax
def test_split_and_fold_in():
    ours, theirs = nrandom.key(3), jrandom.key(3)
    for num in [0, 1, 2, 5, (2, 3), ()]:
        same(
            nrandom.key_data(nrandom.split(ours, num)), jrandom.key_data(jrandom.split(theirs, num))
        )
    for data in [0, 7, 2**32 - 1, np.int32(-1)]:
        folded = nrandom.fold_in(ours, data)
        same(nrandom.key_data(folded), jrandom.key_data(jrandom.fold_in(theirs, data)))


def test_typed_keys_behave_as_arrays():
    keys = nrandom.split(nrandom.key(0), (2, 3))
    assert (keys.shape, keys.ndim, keys.size, len(keys)) == ((2, 3), 2, 6, 2)
    assert repr(keys.dtype) == "key<fry>"
    assert nr.dtypes.issubdtype(keys.dtype, nr.dtypes.prng_key)
    assert keys[1].shape == (3,) and keys[1, 2].shape == () and keys[..., 0].shape == (2,)
    assert [row.shape for row in keys] == [(3,), (3,)]
    assert keys.reshape(3, -1).shape == (3, 2) and keys.ravel().shape == (6,)
    assert keys[:1].squeeze().shape == (3,) and keys[:1].squeeze(0).shape == (3,)
    assert keys.T.shape == (3, 2) and host(keys.T[2, 1] == keys[1, 2])
    assert host(keys == keys).all() and (keys == keys).shape == (2, 3)
    assert host(keys != keys[0, 0]).sum() == 5
    data = nrandom.key_data(keys)
    assert host(nrandom.wrap_key_data(data) == keys).all()
    assert nrandom.key_impl(keys) == "threefry2x32"
    assert host(nrandom.clone(keys) == keys).all()
    assert repr(nrandom.key(0)) == "Array((), dtype=key<fry>) overlaying:\n[0 0]"


def test_typed_and_raw_keys_agree():
    same(nrandom.normal(nrandom.key(7), (3,)), nrandom.normal(KEY, (3,)))
    assert type(nrandom.split(KEY)) is not type(nrandom.split(nrandom.key(7)))


# ---------------------------------------------------------------- parity, exact
@needs_jax
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_bits(dtype, x64):
    for shape in SHAPES:
        same(nrandom.bits(KEY, shape, dtype), jrandom.bits(host(KEY), shape, dtype))


BOUNDS = [(0.0, 1.0), (-3.0, 7.3), (0.1, 0.7), (3.0, 1.0), (-1.0, 1.0)]


@needs_jax
@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform(dtype, x64):
    for shape in SHAPES[: 3 if dtype == "float32" else 1]:
        same(nrandom.uniform(KEY, shape, dtype), jrandom.uniform(host(KEY), shape, dtype))
    low = np.linspace(-2, 1, 5).astype("float32")
    high = np.linspace(1.1, 9, 4).astype("float32")[:, None]
    for shape, bounds in (*[((3000,), b) for b in BOUNDS], ((4, 5), (low, high))):
        ours = nrandom.uniform(KEY, shape, dtype, *bounds)
        theirs = jrandom.uniform(host(KEY), shape, dtype, *bounds)
        if dtype != "float16":
            same(ours, theirs)
            continue
        # XLA rounds the product, too, where the processor has no arithmetic of float16.
        u = host(nrandom.uniform(KEY, shape, dtype))
        low16, high16 = [np.asarray(b).astype(dtype) for b in bounds]
        span = high16 - low16
        exact = u.astype("float64") * span + low16
        once, twice = [np.maximum(low16, x) for x in (exact.astype(dtype), u * span + low16)]
        same(ours, once)
        assert host(theirs).tobytes() in (once.tobytes(), twice.tobytes())


RANGES = [(0, 10), (-5, 5), (0, 64), (0, 1 << 20), (5, 5), (5, 3), (-100, 101), (0, 127)]


@needs_jax
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint32", "uint64"])
def test_randint(dtype, x64):
    info = np.iinfo(dtype)
    ranges = [(max(lo, int(info.min)), hi) for lo, hi in RANGES if hi <= int(info.max) + 1]
    top = min(int(info.max), 2**63 - 2) + 1  # one beyond the dtype, as far as int64 has it
    ranges += [(0, top), (max(int(info.min), -(2**63)), top)]
    for lo, hi in ranges:
        theirs = jrandom.randint(host(KEY), (400,), np.int64(lo), np.int64(hi), dtype)
        same(nrandom.randint(KEY, (400,), lo, hi, dtype), theirs)
        same(nrandom.randint(KEY, (400,), np.int64(lo), np.int64(hi), dtype), theirs)
    low = np.arange(5, dtype="int32")
    same(
        nrandom.randint(KEY, (3, 5), low, np.int64(40), dtype),
        jrandom.randint(host(KEY), (3, 5), low, np.int64(40), dtype),
    )


@needs_jax
def test_bernoulli_and_rademacher():
    for mode in ["low", "high"]:
        for p, shape in [(0.3, None), (0.3, (60, 5)), (np.float32([0, 0.2, 1]), None)]:
            same(
                nrandom.bernoulli(KEY, p, shape, mode),
                jrandom.bernoulli(host(KEY), p, shape, mode),
            )
    half = np.asarray([0.25, 0.5], ml_dtypes.bfloat16)
    same(nrandom.bernoulli(KEY, half, (50, 2)), jrandom.bernoulli(host(KEY), half, (50, 2)))
    for dtype in ["int32", "float32"]:
        same(nrandom.rademacher(KEY, (99,), dtype), jrandom.rademacher(host(KEY), (99,), dtype))


@needs_jax
def test_permutation():
    x = np.arange(24, dtype="float32").reshape(4, 6)
    for args in [(5,), (0,), (1,), (3000,), (x,), (x, 1), (x, 1, True), (x, 0, True), (x[0],)]:
        same(nrandom.permutation(KEY, *args), jrandom.permutation(host(KEY), *args))


@needs_jax
def test_choice():
    x = np.arange(24, dtype="float32").reshape(4, 6)
    p = np.asarray([0.1, 0.2, 0.0, 0.7], "float32")
    cases = [(9, (3, 2)), (x, (5,)), (x, (2, 2), True, None, 1), (9, (4,), False), (9, ()),
             (x, (3,), False), (x, (2, 2), False, None, 1), (4, (3,), False, p),
             (x, (2,), False, p), (5, (0, 2))]  # fmt: skip
    for args in cases:
        same(nrandom.choice(KEY, *args), jrandom.choice(host(KEY), *args))


@needs_jax
def test_choice_with_probabilities_and_replacement():
    p = np.asarray([0.1, 0.2, 0.0, 0.7], "float32")
    same(nrandom.choice(KEY, 4, (300,), True, p), jrandom.choice(host(KEY), 4, (300,), True, p))


@needs_jax
def test_categorical():
    logits = np.linspace(-2, 2, 24).astype("float32").reshape(4, 6) ** 2
    one_row = logits[:1]
    same(
        nrandom.categorical(KEY, one_row, shape=(3, 5)),
        jrandom.categorical(host(KEY), one_row, shape=(3, 5)),
    )
    cases = [{}, {"axis": 0, "shape": (2, 3, 6)}, {"shape": (3, 4), "replace": False}]
    for options in cases:
        same(
            nrandom.categorical(KEY, logits, **options),
            jrandom.categorical(host(KEY), logits, **options),
        )


# ---------------------------------------------------------------- parity, within ulps
STANDARD = [
    *[(name, dtype) for name in ("normal", "exponential", "gumbel") for dtype in FLOATS],
    *[(name, dtype) for name in ("laplace", "cauchy", "maxwell") for dtype in FLOATS[:1]],
]


@needs_jax
@pytest.mark.parametrize(("name", "dtype"), STANDARD)
def test_standard_distributions(name, dtype, x64):
    ulps = XLA_LOG1P_ULPS if dtype == "float64" else FUNCTION_ULPS
    ours = getattr(nrandom, name)(KEY, (4, 500), dtype)
    close(ours, getattr(jrandom, name)(host(KEY), (4, 500), dtype), ulps)
    assert getattr(nrandom, name)(KEY, (), dtype).shape == ()
    assert getattr(nrandom, name)(KEY, (2, 0), dtype).shape == (2, 0)


def nearly(ours, theirs):
    """Equal but for roundings of intermediate results near 1."""
    ours, theirs = host(ours), host(theirs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    limit = CANCELLED[ours.dtype.name]
    wide = [x.astype("float64") for x in (ours, theirs)]
    np.testing.assert_allclose(*wide, rtol=limit, atol=limit)


@needs_jax
@pytest.mark.parametrize("dtype", FLOATS)
def test_logistic(dtype, x64):
    nearly(nrandom.logistic(KEY, (2000,), dtype), jrandom.logistic(host(KEY), (2000,), dtype))


@needs_jax
@pytest.mark.parametrize("mode", ["high", "highest"])
def test_gumbel_modes(mode):
    for dtype in ["float32", "float16"]:
        nearly(
            nrandom.gumbel(KEY, (2000,), dtype, mode),
            jrandom.gumbel(host(KEY), (2000,), dtype, mode),
        )


@needs_jax
def test_complex_normal():
    ours, theirs = (
        nrandom.normal(KEY, (99,), "complex64"),
        jrandom.normal(host(KEY), (99,), "complex64"),
    )
    close(host(ours).view("float32"), host(theirs).view("float32"))


VECTOR = np.asarray([0.5, 1.0, 2.5], "float32")
PARAMETRIZED = [
    ("truncated_normal", (-2.0, 2.0), (500,)),
    ("truncated_normal", (-VECTOR, VECTOR + 1), (50, 3)),
    ("lognormal", (0.7,), (500,)),
    ("rayleigh", (VECTOR,), (100, 3)),
    ("weibull_min", (2.0, 1.5), (500,)),
    ("pareto", (VECTOR,), (100, 3)),
    ("triangular", (-1.0, 0.5, 2.0), (500,)),
    ("geometric", (VECTOR / 4,), (100, 3)),
]


@needs_jax
@pytest.mark.parametrize(("name", "params", "shape"), PARAMETRIZED)
def test_distributions_with_parameters(name, params, shape):
    ours = getattr(nrandom, name)(KEY, *params, shape=shape)
    close(ours, getattr(jrandom, name)(host(KEY), *params, shape=shape))


CANCELLING = [
    ("double_sided_maxwell", (1.0, 2.0), (500,)),
    ("wald", (VECTOR,), (100, 3)),
    ("gamma", (VECTOR,), (50, 3)),
    ("loggamma", (VECTOR / 50,), (50, 3)),
    ("poisson", (VECTOR * 10,), (50, 3)),
    ("poisson", (np.float32(0),), (5,)),
]


@needs_jax
@pytest.mark.parametrize(("name", "params", "shape"), CANCELLING)
def test_distributions_that_cancel(name, params, shape):
    ours = getattr(nrandom, name)(KEY, *params, shape=shape)
    theirs = getattr(jrandom, name)(host(KEY), *params, shape=shape)
    if host(ours).dtype.kind == "i":
        same(ours, theirs)
    else:
        nearly(ours, theirs)


def test_dirichlet_and_ball():
    parts = host(nrandom.dirichlet(KEY, VECTOR, (2000,))).astype("float64")
    np.testing.assert_allclose(parts.sum(-1), 1, rtol=4e-7)
    np.testing.assert_allclose(parts.mean(0), VECTOR / VECTOR.sum(), atol=5 * 0.25 / 2000**0.5)
    points = host(nrandom.ball(KEY, 3, shape=(2000,)))
    radii = np.linalg.norm(points, axis=-1)
    # the cube of the radius is uniform in [0, 1]
    assert radii.max() <= 1 and abs((radii**3).mean() - 0.5) < 5 * (1 / 12 / 2000) ** 0.5
    assert nrandom.gamma(KEY, VECTOR, (0, 3)).shape == (0, 3)


@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit])
@pytest.mark.parametrize("log_space", [False, True])
def test_gamma_samples_move_with_their_parameter(wrap, log_space):
    """As the quantile does at which the distribution function has the value that it has there."""
    special = pytest.importorskip("scipy.special")
    sample = nrandom.loggamma if log_space else nrandom.gamma
    a = np.array([0.05, 0.5, 1.0, 3.0, 40.0, 3e3])
    x = host(sample(KEY, a, dtype="float64"))
    got = wrap(nr.grad(lambda a: sample(KEY, a, dtype="float64").sum()))(a)
    levels = special.gammainc(a, np.exp(x) if log_space else x)
    step = 1e-5 * a
    ends = [special.gammaincinv(a + sign * step, levels) for sign in (1, -1)]
    up, down = np.log(ends) if log_space else ends
    np.testing.assert_allclose(got, (up - down) / (2 * step), rtol=1e-6)  # the step's square


def test_log_gamma_samples_that_underflow_have_derivatives():
    """x^a / gamma(a + 1) is the distribution function near 0, so log x is near log(u) / a."""
    a = np.full(20, 1e-3)
    x = host(nrandom.loggamma(KEY, a, dtype="float64"))
    assert (x < -40).sum() > 10
    got = host(nr.grad(lambda a: nrandom.loggamma(KEY, a, dtype="float64").sum())(a))
    digamma = -0.5772156649 + np.pi**2 / 6 * 1e-3 - 1.2020569 * 1e-6  # of 1 + a
    np.testing.assert_allclose(got[x < -40], ((digamma - x) / a)[x < -40], rtol=1e-9)


@needs_jax
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binomials_are_those_of_jax(dtype, x64):
    n = np.array([10, 5, 100, 1000, 1000, 10, 10, 0, -1, 10, 1e6, 3.7], dtype)
    p = np.array([0.3, 0.9, 0.5, 0.02, 0.7, 0, 1, 0.5, 0.5, 1.5, 0.3, 0.5], dtype)
    weights = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]], dtype)
    for name, *args in (
        ("binomial", n, p),
        ("binomial", n[:2, None], p[3:5], (3, 2, 2)),
        ("multinomial", n[2:4], weights),
    ):
        got = getattr(nrandom, name)(nrandom.key(1), *args, dtype=dtype)
        want = getattr(jrandom, name)(jrandom.key(1), *args, dtype=dtype)
        assert host(got).dtype == want.dtype
        np.testing.assert_array_equal(got, want)


def test_binomials_under_transformations():
    keys = nrandom.split(KEY, 3)
    draw = lambda key: nrandom.binomial(key, np.array([5.0, 500.0]), 0.3)  # noqa: E731
    lanes = nr.jit(nr.vmap(draw))(keys)
    np.testing.assert_array_equal(lanes, np.stack([draw(k) for k in keys]))
    options = {"shape": (9, 3), "dtype": "int32"}
    counts = nr.jit(lambda key: nrandom.multinomial(key, 50, np.array([0.1, 0.2, 0.7]), **options))
    assert counts(KEY).shape == (9, 3) and counts(KEY).dtype == np.int32
    assert (host(counts(KEY)).sum(-1) == 50).all()
    assert nrandom.binomial(KEY, 5, 0.3, (0, 2)).shape == (0, 2)
    with pytest.raises(ValueError, match="multinomial: rank 1 or more was expected"):
        nrandom.multinomial(KEY, 5, 0.3)


# ---------------------------------------------------------------- transformations
THROUGH_LOGARITHMS = ("gumbel", "exponential", "gamma")
SAMPLERS = {
    "bits": lambda k: nrandom.bits(k, (3, 2)),
    "uniform": lambda k: nrandom.uniform(k, (5,), minval=-1.0, maxval=3.3),
    "normal": lambda k: nrandom.normal(k, (5,)),
    "scalar normal": nrandom.normal,
    "randint": lambda k: nrandom.randint(k, (5,), 0, 100),
    "bernoulli": lambda k: nrandom.bernoulli(k, 0.3, (5,)),
    "categorical": lambda k: nrandom.categorical(k, np.zeros(9, "float32"), shape=(4,)),
    "gumbel": lambda k: nrandom.gumbel(k, (5,)),
    "exponential": lambda k: nrandom.exponential(k, (5,)),
    "truncated_normal": lambda k: nrandom.truncated_normal(k, -1.0, 1.0, (5,)),
    "permutation": lambda k: nrandom.permutation(k, 6),
    "choice": lambda k: nrandom.choice(k, 9, (4,), replace=False),
    "gamma": lambda k: nrandom.gamma(k, 0.7, (4,)),
    "poisson": lambda k: nrandom.poisson(k, 12.0, (4,)),
    "fold_in": lambda k: nrandom.key_data(nrandom.fold_in(k, 5)),
    "split": lambda k: nrandom.key_data(nrandom.split(k, 3)),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("make", [nrandom.key, nrandom.PRNGKey])
def test_vmap_and_jit_give_the_eager_numbers(name, make):
    sample = SAMPLERS[name]
    keys = nrandom.split(make(1), 4)
    expected = np.stack([host(sample(k)) for k in keys])
    same(nr.vmap(sample)(keys), expected)
    one, all_of_them = nr.jit(sample)(keys[2]), nr.jit(nr.vmap(sample))(keys)
    if name in THROUGH_LOGARITHMS:
        # Compiled programs take the compiler's log and log1p, eager ones NumPy's, an ulp apart;
        # gumbel passes through zero, where that ulp is an absolute error.
        np.testing.assert_allclose(host(one), expected[2], rtol=1e-6, atol=2e-7)
        np.testing.assert_allclose(host(all_of_them), expected, rtol=1e-6, atol=2e-7)
    else:
        same(one, expected[2])
        same(all_of_them, expected)


def test_vmap_over_seeds_and_data():
    seeds = nr.vmap(nrandom.key)(np.arange(3, dtype="int32"))
    assert seeds.shape == (3,)
    folded = nr.vmap(nrandom.fold_in, in_axes=(None, 0))(
        nrandom.key(0), np.arange(3, dtype="int32")
    )
    for i in range(3):
        assert host(seeds[i] == nrandom.key(i))
        assert host(folded[i] == nrandom.fold_in(nrandom.key(0), i))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_with_respect_to_bounds(dtype):
    lo, hi = np.asarray(-1, dtype), np.asarray(2.7, dtype)
    u = host(nrandom.uniform(KEY, (50,), dtype)).astype("float64")

    def total(lo, hi):
        return nr.lax.reduce_sum(nrandom.uniform(KEY, (50,), dtype, lo, hi), (0,))

    by_lo, by_hi = nr.grad(total, argnums=(0, 1))(lo, hi)
    rounding = 50 * 50 * np.finfo(dtype).eps  # sums of 50 terms below 1
    assert abs(float(by_hi) - u.sum()) < rounding
    assert abs(float(by_lo) - (1 - u).sum()) < rounding


@needs_jax
def test_gradients_with_respect_to_parameters():
    def ours(a):
        return nr.lax.reduce_sum(nrandom.truncated_normal(KEY, -a, a, (20,)), (0,))

    theirs = jax.grad(lambda a: jrandom.truncated_normal(host(KEY), -a, a, (20,)).sum())
    # 20 terms that are within 4 ulp of JAX's, whose sum may cancel
    assert math.isclose(float(nr.grad(ours)(1.5)), float(theirs(1.5)), abs_tol=20 * 4 * 2**-22)


# ---------------------------------------------------------------- statistics
MOMENTS = [
    ("normal", (), 0.0, 1.0),
    ("exponential", (), 1.0, 1.0),
    ("gumbel", (), 0.5772157, math.pi**2 / 6),
    ("laplace", (), 0.0, 2.0),
    ("logistic", (), 0.0, math.pi**2 / 3),
    ("maxwell", (), math.sqrt(8 / math.pi), 3 - 8 / math.pi),
    ("rayleigh", (1.0,), math.sqrt(math.pi / 2), 2 - math.pi / 2),
    ("triangular", (0.0, 1.0, 2.0), 1.0, 1 / 6),
    ("t", (9.0,), 0.0, 9 / 7),
    ("geometric", (0.3,), 1 / 0.3, 0.7 / 0.09),
    ("wald", (1.0,), 1.0, 1.0),
    ("gamma", (0.6,), 0.6, 0.6),
    ("beta", (2.0, 3.0), 0.4, 0.04),
    ("chisquare", (3.0,), 3.0, 6.0),
    ("f", (10.0, 30.0), 15 / 14, 2 * 900 * 38 / (10 * 784 * 26)),
    ("generalized_normal", (2.0,), 0.0, 0.5),
    ("poisson", (3.0,), 3.0, 3.0),
    ("poisson", (40.0,), 40.0, 40.0),
]


@pytest.mark.parametrize(("name", "params", "mean", "variance"), MOMENTS)
def test_moments(name, params, mean, variance):
    n = 40000
    x = host(getattr(nrandom, name)(KEY, *params, shape=(n,))).astype("float64")
    # Five standard errors; that of the variance for an excess kurtosis of 15, Wald's, the largest.
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n)
    assert abs(x.var() - variance) < 5 * variance * math.sqrt(17 / n)


# ---------------------------------------------------------------- errors
ERRORS = [
    (lambda: nrandom.normal(nrandom.split(KEY)), ValueError, "single key.*shape \\(2,\\)"),
    (lambda: nrandom.normal(np.zeros(3, "uint32")), TypeError, "key of dtype u32.*u32\\[3\\]"),
    (lambda: nrandom.normal(np.zeros(2, "int32")), TypeError, "key of dtype u32.*i32\\[2\\]"),
    (lambda: nrandom.normal(3), TypeError, "a key was expected; got 3"),
    (lambda: nrandom.normal(KEY, (-1,)), ValueError, "no negative extents"),
    (lambda: nrandom.normal(KEY, (2,), "int32"), ValueError, "floating or complex; got i32"),
    (lambda: nrandom.uniform(KEY, (2,), "int32"), ValueError, "must be floating; got i32"),
    (lambda: nrandom.uniform(KEY, (2,), minval="a"), TypeError, "got 'a' of type str"),
    (lambda: nrandom.uniform(KEY, (2,), minval=1j), TypeError, "must be real"),
    (lambda: nrandom.uniform(KEY, (2,), minval=VECTOR), ValueError, '"minval" and shape \\(2,\\)'),
    (lambda: nrandom.bits(KEY, (2,), "int32"), ValueError, "unsigned integer type; got i32"),
    (lambda: nrandom.randint(KEY, (2,), 0, 1, "float32"), TypeError, "integer type; got f32"),
    (lambda: nrandom.bernoulli(KEY, 1), TypeError, "must be floating; got i32"),
    (lambda: nrandom.bernoulli(KEY, 0.5, mode="x"), ValueError, "'low' or 'high'"),
    (lambda: nrandom.gumbel(KEY, mode="x"), ValueError, "mode must be one of"),
    (lambda: nrandom.choice(KEY, 3, (4,), False), ValueError, "at most 3 draws"),
    (lambda: nrandom.choice(KEY, 0, (4,)), ValueError, "at least one element"),
    (lambda: nrandom.choice(KEY, 3, (2,), p=VECTOR[:2]), ValueError, "3 elements.*f32\\[2\\]"),
    (lambda: nrandom.choice(KEY, [1, 2]), TypeError, "got \\[1, 2\\] of type list"),
    (lambda: nrandom.permutation(KEY, 2.5), TypeError, "an integer.*f32\\[\\]"),
    (
        lambda: nrandom.categorical(KEY, VECTOR * np.ones((2, 1)), shape=(2, 3)),
        ValueError,
        "must end in",
    ),
    (lambda: nrandom.key(1.5), TypeError, "rank-0 integer.*f32"),
    (lambda: nrandom.key(nrandom.key(1)), TypeError, "got a key"),
    (lambda: nrandom.key(2**63), OverflowError, "fit 64 bits"),
    (lambda: nrandom.key(0, impl="rbg"), ValueError, "'rbg'"),
    (lambda: nrandom.fold_in(KEY, -1), OverflowError, "got -1"),
    (lambda: nrandom.fold_in(KEY, VECTOR), TypeError, "rank-0 integer"),
    (lambda: np.asarray(nrandom.key(0)), TypeError, "key_data"),
    (lambda: list(nrandom.key(0)), TypeError, "Use nr.random.split"),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
