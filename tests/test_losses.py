"""Without this a loss could differ from torch's, or broadcast or overflow in silence."""

import functools
import math

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import nn
from nr.test_util import check_grads

# Losses are sums of a few terms of size 1 to 10, each rounded a few times (float32: 6e-8).
TOLERANCE = {"float32": {"rtol": 3e-6, "atol": 3e-6}, "float64": {"rtol": 1e-12, "atol": 1e-12}}
N, C = 5, 4
WEIGHT = np.array([0.5, 2.0, 1.0, 0.25])
WEIGHTS = np.linspace(0, 2, N * C).reshape(N, C)


def numbers(rng, *, positive=False, shape=(N, C)):
    x = 2 * rng.normal(size=shape)
    return np.abs(x) + 0.1 if positive else x


def two(rng):
    return numbers(rng), numbers(rng)


def signed(rng):
    return numbers(rng), rng.choice([-1, 1], (N, C))


def distances(rng):
    return numbers(rng, positive=True), rng.choice([-1, 1], (N, C))


def ranked(rng):
    return *two(rng), rng.choice([-1, 1], (N, C))


def probable(rng):
    return rng.uniform(size=(N, C)), rng.uniform(size=(N, C))


def decided(rng):
    return numbers(rng), rng.integers(0, 2, (N, C)).astype(float)


def classes(rng, ignored=-100):
    labels = rng.integers(0, C, N)
    labels[1] = ignored
    return numbers(rng), labels


def images(rng):
    return numbers(rng, shape=(2, C, 3, 2)), rng.integers(0, C, (2, 3, 2))


def distribution(rng, zeros=False):
    p = rng.uniform(size=(N, C))
    if zeros:
        p[:, 1] = 0
    return p / p.sum(-1, keepdims=True)


def soft(rng):
    return numbers(rng), distribution(rng)


def log_soft(rng, log_target=False):
    x, t = np.log(distribution(rng)), distribution(rng, zeros=not log_target)
    return x, np.log(t) if log_target else t


def variances(rng, shape=(N, C)):
    return *two(rng), rng.uniform(1e-8, 2, shape)


def pairs(rng):
    return numbers(rng), numbers(rng), rng.choice([-1, 1], N)


def triplets(rng):
    return tuple(numbers(rng) for _ in range(3))


def lists(rng):
    labels = np.stack([rng.permutation(C) for _ in range(N)])
    labels[0, 2] = labels[1, 1] = labels[2, 0] = -1
    return numbers(rng), labels


# (name, arguments, options[, the arguments to differentiate])
CASES = [
    ("mse_loss", two, {}, (0, 1)),
    ("l1_loss", two, {}, (0, 1)),
    ("huber_loss", two, {}, (0, 1)),
    ("huber_loss", two, {"delta": 2.5}),
    ("smooth_l1_loss", two, {}, (0, 1)),
    ("smooth_l1_loss", two, {"beta": 0.3}),
    ("smooth_l1_loss", two, {"beta": 0.0}),
    ("poisson_nll_loss", two, {}),
    ("poisson_nll_loss", two, {"full": True}),
    ("poisson_nll_loss", lambda rng: (numbers(rng, positive=True), numbers(rng)),
     {"log_input": False, "eps": 1e-3}),
    ("gaussian_nll_loss", variances, {}, (0, 1, 2)),
    ("gaussian_nll_loss", variances, {"full": True, "eps": 0.3}, (0, 2)),
    ("gaussian_nll_loss", functools.partial(variances, shape=(N, 1)), {}, (0, 2)),
    ("binary_cross_entropy", probable, {}),
    ("binary_cross_entropy", probable, {"weight": WEIGHT}),
    ("binary_cross_entropy_with_logits", decided, {}, (0, 1)),
    ("binary_cross_entropy_with_logits", two, {"weight": WEIGHT}),
    ("binary_cross_entropy_with_logits", two, {"pos_weight": WEIGHT, "weight": WEIGHT[::-1]}),
    ("kl_div", log_soft, {}),
    ("kl_div", functools.partial(log_soft, log_target=True), {"log_target": True}, (0, 1)),
    ("cross_entropy", functools.partial(classes, ignored=0), {}),
    ("cross_entropy", functools.partial(classes, ignored=0), {"weight": WEIGHT}),
    ("cross_entropy", classes, {"weight": WEIGHT, "ignore_index": -100}),
    ("cross_entropy", functools.partial(classes, ignored=2), {"ignore_index": 2}),
    ("cross_entropy", classes, {"label_smoothing": 0.2, "ignore_index": -100}),
    ("cross_entropy", classes,
     {"label_smoothing": 0.2, "ignore_index": -100, "weight": WEIGHT}),
    ("cross_entropy", images, {"axis": 1}),
    ("cross_entropy", images, {"axis": 1, "label_smoothing": 0.1, "weight": WEIGHT}),
    ("cross_entropy", soft, {}, (0, 1)),
    ("cross_entropy", soft, {"label_smoothing": 0.3}),
    ("cross_entropy", soft, {"weight": WEIGHT, "label_smoothing": 0.3}),
    ("nll_loss", functools.partial(classes, ignored=0), {}),
    ("nll_loss", classes, {"weight": WEIGHT, "ignore_index": -100}),
    ("nll_loss", images, {"axis": 1, "weight": WEIGHT}),
    ("soft_margin_loss", signed, {}),
    ("hinge_embedding_loss", distances, {}),
    ("hinge_embedding_loss", distances, {"margin": 2.5}),
    ("margin_ranking_loss", ranked, {}, (0, 1)),
    ("margin_ranking_loss", ranked, {"margin": 0.7}, (0, 1)),
    ("multi_margin_loss", functools.partial(classes, ignored=0), {}),
    ("multi_margin_loss", functools.partial(classes, ignored=0),
     {"p": 2, "margin": 1.5, "weight": WEIGHT}),
    ("multilabel_margin_loss", lists, {}),
    ("multilabel_soft_margin_loss", decided, {}),
    ("multilabel_soft_margin_loss", decided, {"weight": WEIGHT}),
    ("cosine_embedding_loss", pairs, {}, (0, 1)),
    ("cosine_embedding_loss", pairs, {"margin": 0.2}, (0, 1)),
    ("triplet_margin_loss", triplets, {}, (0, 1, 2)),
    ("triplet_margin_loss", triplets, {"swap": True, "margin": 3.0}, (0, 1, 2)),
    ("triplet_margin_loss", triplets, {"p": 1, "eps": 1e-3}, (0, 1, 2)),
    ("triplet_margin_loss", triplets, {"p": 3, "margin": 2.0}, (0, 1, 2)),
]  # fmt: skip
# Their weights have the shape of the whole batch.
WEIGHTED = [
    ("mse_loss", two, {"weight": WEIGHTS}, (0, 1)),
    ("l1_loss", two, {"weight": WEIGHTS}, (0, 1)),
    ("huber_loss", two, {"delta": 0.7, "weight": WEIGHTS}, (0, 1)),
]


def ours(name):
    return getattr(nn, {"cross_entropy": "softmax_cross_entropy"}.get(name, name))


def converted(values, dtype):
    return [np.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None) for x in values]


def torch_results(torch, f, args, options, wrt):
    """The value, and the gradients of the value times growing numbers."""
    args = [torch.from_numpy(np.array(x)) for x in args]
    for i in wrt:
        args[i].requires_grad_()
    value = f(*args, **options)
    scale = torch.linspace(1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
    (value * scale).sum().backward()
    return value.detach().numpy(), [args[i].grad.numpy() for i in wrt]


def check(f, args, value, grads, wrt, dtype):
    """The function agrees with a value and gradients as of torch_results, eagerly and compiled."""
    scale = np.linspace(1, 2, value.size, dtype=dtype).reshape(value.shape)

    def scaled(*args):
        out = f(*args)
        return (out * scale).sum(), out

    both = nr.value_and_grad(scaled, wrt, has_aux=True)
    for run in (both, nr.jit(both)):
        (_, got), slopes = run(*args)
        assert got.dtype == dtype and got.shape == value.shape
        np.testing.assert_allclose(got, value, **TOLERANCE[dtype])
        for slope, expected in zip(slopes, grads, strict=True):
            assert slope.dtype == dtype
            np.testing.assert_allclose(slope, expected, **TOLERANCE[dtype])


# torch announces that kl_div's "mean" will be its "batchmean" one day.
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES + WEIGHTED, ids=lambda c: "-".join([c[0], *map(str, c[2])]))
def test_values_and_gradients_are_those_of_torch(case, dtype):
    torch = pytest.importorskip("torch")
    name, make, options, wrt = case if len(case) == 4 else (*case, (0,))
    args = converted(make(np.random.default_rng(len(name))), dtype)
    options = {k: v.astype(dtype) if k.endswith("weight") else v for k, v in options.items()}
    theirs = {
        k: torch.from_numpy(v.copy()) if k.endswith("weight") else v
        for k, v in options.items() if k != "axis"
    }  # fmt: skip
    if dtype == "float64":
        reductions = ["none"]
    else:
        reductions = ["mean", "batchmean"] if name == "kl_div" else ["mean"]
    for reduction in reductions:
        reference = getattr(torch.nn.functional, name)
        value, grads = torch_results(
            torch, reference, args, {**theirs, "reduction": reduction}, wrt
        )  # fmt: skip
        f = functools.partial(ours(name), **options, reduction=reduction)
        check(f, args, value, grads, wrt, dtype)


# ---------------------------------------------------------------- without torch
def test_softmax_cross_entropy_of_classes_and_probabilities():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(5, 7)), rng.integers(0, 7, 5)
    expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(5), labels]
    for reduction, value in (
        ("none", expected),
        ("sum", expected.sum()),
        ("mean", expected.mean()),
    ):
        for given in (labels, np.eye(7)[labels]):
            got = nn.softmax_cross_entropy(logits, given, reduction=reduction)
            np.testing.assert_allclose(got, value, rtol=1e-13)
        got = nn.softmax_cross_entropy(logits.T, labels, axis=0, reduction=reduction)
        np.testing.assert_allclose(got, value, rtol=1e-13)
    slopes = nr.grad(nn.softmax_cross_entropy)(logits, labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(slopes, (probabilities - np.eye(7)[labels]) / 5, atol=1e-15)


def test_softmax_cross_entropy_is_safe():
    logits = jnp.array([[0.0, 1e4], [-jnp.inf, 0.0]])
    one = jnp.array([1, 1])
    for labels in (one, nn.one_hot(one, 2)):
        value, slopes = nr.value_and_grad(nn.softmax_cross_entropy)(logits, labels)
        assert float(value) == 0.0
        np.testing.assert_array_equal(slopes, np.zeros((2, 2)))


def test_infinite_logits_that_are_right():
    inf = np.inf
    x = np.array([-inf, inf, -inf, inf], np.float32)
    t = np.array([0, 1, 1, 0])
    got = nn.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_array_equal(got, [0, 0, inf, inf])
    slopes = nr.grad(lambda x: nn.binary_cross_entropy_with_logits(x, t[:2]))(x[:2])
    np.testing.assert_array_equal(slopes, [0, 0])
    got = nn.softmax_cross_entropy(x[:2], np.array([0.5, 0.5], np.float32))
    assert not np.isfinite(got)


# ---------------------------------------------------------------- what torch lacks
def sigmoid_focal(torch, logits, targets, alpha, gamma):
    """torchvision's formula."""
    p = torch.sigmoid(logits)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    losses = losses * (1 - p_t) ** gamma
    return losses if alpha is None else (alpha * targets + (1 - alpha) * (1 - targets)) * losses


def softmax_focal(torch, logits, labels, weight, gamma):
    p = torch.softmax(logits, -1)[torch.arange(N), labels]
    return weight[labels] * (1 - p) ** gamma * -torch.log(p)


def contrastive(torch, x1, x2, targets, margin):
    d = torch.linalg.vector_norm(x1 - x2, dim=-1)
    return torch.where(targets == 1, d**2 / 2, torch.relu(margin - d) ** 2 / 2)


def info_nce(torch, x1, x2, temperature):
    logits = torch.cosine_similarity(x1[:, None], x2[None], -1) / temperature
    return torch.nn.functional.cross_entropy(logits, torch.arange(N), reduction="none")


def nt_xent(torch, x1, x2, temperature):
    """The paper's equation: the numerator is one pair, the denominator has all but the row."""
    x = torch.cat([x1, x2])
    e = torch.exp(torch.cosine_similarity(x[:, None], x[None], -1) / temperature)
    rows = torch.arange(2 * N)
    return -torch.log(e[rows, (rows + N) % (2 * N)] / (e.sum(-1) - e[rows, rows]))


FORMULAS = [
    (nn.sigmoid_focal_loss, sigmoid_focal, decided, {"alpha": 0.25, "gamma": 2.0}, (0,)),
    (nn.sigmoid_focal_loss, sigmoid_focal, probable, {"alpha": None, "gamma": 0.5}, (0, 1)),
    (nn.softmax_focal_loss, softmax_focal, functools.partial(classes, ignored=0),
     {"weight": WEIGHT, "gamma": 1.5}, (0,)),
    (nn.contrastive_loss, contrastive, pairs, {"margin": 3.0}, (0, 1)),
    (nn.info_nce_loss, info_nce, two, {"temperature": 0.5}, (0, 1)),
    (nn.nt_xent_loss, nt_xent, two, {"temperature": 0.5}, (0, 1)),
    (nn.hinge_loss, lambda torch, x, t: torch.relu(1 - t * x), signed, {}, (0,)),
    (nn.log_cosh_loss, lambda torch, x, t: torch.log(torch.cosh(x - t)), two, {}, (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f, formula, make, options, wrt", FORMULAS)
def test_formulas(f, formula, make, options, wrt, dtype):
    torch = pytest.importorskip("torch")
    args = converted(make(np.random.default_rng(3)), dtype)
    theirs = {k: torch.from_numpy(v.astype(dtype)) if k == "weight" else v
              for k, v in options.items()}  # fmt: skip
    value, grads = torch_results(torch, functools.partial(formula, torch), args, theirs, wrt)
    check(functools.partial(f, **options, reduction="none"), args, value, grads, wrt, dtype)
    np.testing.assert_allclose(f(*args, **options), value.mean(), rtol=1e-5)
    np.testing.assert_allclose(f(*args, **options, reduction="sum"), value.sum(), rtol=1e-5)


def test_losses_of_batches_of_batches():
    x1, x2 = np.random.default_rng(0).normal(size=(2, 3, N, C))
    for f in (nn.info_nce_loss, nn.nt_xent_loss):
        got = f(x1, x2, temperature=0.3, reduction="none")
        each = [f(a, b, temperature=0.3, reduction="none") for a, b in zip(x1, x2)]
        np.testing.assert_allclose(got, np.stack(each), rtol=1e-12)


# ---------------------------------------------------------------- CTC
T, S = 9, 3


def sequences(repeats=False):
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(N, T, C))
    targets = rng.integers(1, C, (N, S))
    if repeats:
        targets[0] = 1
        targets[1, 1:] = 2
    return logits, targets, np.array([9, 5, 7, 3, 9]), np.array([3, 3, 2, 1, 0])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ctc_is_that_of_torch(dtype, repeats, reduction):
    torch = pytest.importorskip("torch")
    logits, targets, steps, labels = sequences(repeats)
    args = converted((logits, targets), dtype)

    def theirs(logits, targets):
        scores = torch.log_softmax(logits, -1).transpose(0, 1)
        lengths = [torch.from_numpy(x) for x in (steps, labels)]
        return torch.nn.functional.ctc_loss(scores, targets, *lengths, reduction=reduction)

    def loss(logits, targets):
        return nn.ctc_loss(
            logits, targets, input_lengths=steps, target_lengths=labels, reduction=reduction
        )

    value, grads = torch_results(torch, theirs, args, {}, (0,))
    check(loss, args, value, grads, (0,), dtype)


def test_ctc_sums_all_alignments():
    logits, targets, *_ = sequences()
    logits, targets = logits[0, :4], np.array([2, 1])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    total = 0.0
    for path in np.ndindex(*[C] * 4):
        merged = [c for c, before in zip(path, (None, *path)) if c != before]
        if [c for c in merged if c != 3] == [2, 1]:
            total += math.prod(p[t, c] for t, c in enumerate(path))
    got = nn.ctc_loss(logits, targets, blank=3, reduction="none")
    np.testing.assert_allclose(got, -math.log(total), rtol=1e-12)


def test_ctc_of_what_cannot_be():
    logits = np.zeros((3, 2, C), np.float32)
    logits[2, :, 1] = -np.inf  # the label's class is impossible
    targets = np.array([[1, 1], [1, -1], [1, -1]])
    options = {"target_lengths": np.array([2, 1, 1])}
    for zero, lost in ((False, np.inf), (True, 0)):

        def loss(x, zero=zero):
            return nn.ctc_loss(x, targets, zero_infinity=zero, reduction="none", **options)

        got = loss(logits)
        np.testing.assert_allclose(got, [lost, math.log(16 / 3), lost], rtol=1e-6)
        slopes = nr.jit(nr.grad(lambda x, loss=loss: loss(x).sum()))(logits)
        assert np.isfinite(slopes).all()
        assert (np.asarray(slopes)[0] == 0).all() and np.abs(slopes[1]).max() > 0.1
    far = nn.ctc_loss(np.array([[1e4, 0.0], [0.0, 1e4]], np.float32), np.array([1]))
    assert float(far) == pytest.approx(0.0, abs=1e-6)
    wrong = nr.value_and_grad(nn.ctc_loss)(np.array([[1e4, 0.0]], np.float32), np.array([1]))
    assert float(wrong[0]) == 1e4
    np.testing.assert_allclose(wrong[1], [[1, -1]])


def test_ctc_maps():
    logits, targets, steps, labels = sequences(repeats=True)

    def one(logits, targets, steps, labels):
        return nn.ctc_loss(
            logits, targets, input_lengths=steps, target_lengths=labels, reduction="none"
        )

    np.testing.assert_allclose(
        nr.vmap(one)(logits, targets, steps, labels),
        one(logits, targets, steps, labels),
        rtol=1e-12,
    )


# ---------------------------------------------------------------- extremes
def slope(f, x, *rest, **options):
    return np.asarray(nr.grad(lambda x: f(x, *rest, **options, reduction="sum"))(x))


@pytest.mark.parametrize("label", [0, 1])
def test_far_logits_have_the_losses_and_gradients_of_their_limits(label):
    x = np.array([-1e4, -100.0, 0.0, 100.0, 1e4], np.float32)
    t = np.full(5, label)
    wrong = -x if label else x
    expected = np.where(wrong == 0, math.log(2), np.maximum(wrong, 0))
    side = np.where(wrong > 0, 1, np.where(wrong == 0, 0.5, 0)) * (-1 if label else 1)
    logits = np.stack([np.zeros(5, np.float32), x], -1)
    for f, args in (
        (nn.binary_cross_entropy_with_logits, (x, t)),
        (nn.soft_margin_loss, (x, 2 * t - 1)),
    ):
        np.testing.assert_allclose(f(*args, reduction="none"), expected, rtol=1e-6, atol=1e-30)
        np.testing.assert_allclose(slope(f, *args), side, atol=1e-30)
    got = nn.softmax_cross_entropy(logits, t, reduction="none")
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(slope(nn.softmax_cross_entropy, logits, t)[:, 1], side, atol=1e-6)
    for f, args in ((nn.sigmoid_focal_loss, (x, t)), (nn.softmax_focal_loss, (logits, t))):
        for gamma in (0.0, 0.5, 2.0):
            assert np.isfinite(f(*args, gamma=gamma, reduction="none")).all()
            assert np.isfinite(slope(f, *args, gamma=gamma)).all()


def test_small_losses_keep_their_digits():
    x = np.array([20.0, 60.0], np.float32)
    got = nn.binary_cross_entropy_with_logits(x, np.ones(2), reduction="none")
    np.testing.assert_allclose(got, np.exp(-x), rtol=1e-6)
    got = slope(nn.binary_cross_entropy_with_logits, -x, np.zeros(2))
    np.testing.assert_allclose(got, np.exp(-x), rtol=1e-6)
    d = np.array([1e-4, 1e-2, 0.99, 1.01, 50, 1e30])
    expected = [5e-9, *np.log(np.cosh(d[1:5])), 1e30]
    got = nn.log_cosh_loss(d.astype(np.float32), np.zeros(6, np.float32), reduction="none")
    np.testing.assert_allclose(got, expected, rtol=3e-6)
    np.testing.assert_allclose(slope(nn.log_cosh_loss, d, np.zeros(6)), np.tanh(d), rtol=1e-6)


def test_binary_cross_entropy_of_certain_probabilities():
    torch = pytest.importorskip("torch")
    p = np.array([0.0, 1.0, 0.0, 1.0, 1e-20, 1e-40], np.float32)
    t = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], np.float32)
    value, (grads,) = torch_results(
        torch, torch.nn.functional.binary_cross_entropy, (p, t), {"reduction": "none"}, (0,)
    )
    np.testing.assert_allclose(nn.binary_cross_entropy(p, t, reduction="none"), value, rtol=1e-6)
    got = slope(lambda p, t, reduction: (nn.binary_cross_entropy(
        p, t, reduction="none") * np.linspace(1, 2, 6, dtype="f")).sum(), p, t)  # fmt: skip
    # Right and certain: the one-sided derivatives, 1 and -1; torch has 0.
    np.testing.assert_allclose(got[[0, 1, 4, 5]], grads[[0, 1, 4, 5]], rtol=1e-6)
    np.testing.assert_allclose(got[2:4], np.linspace(1, 2, 6)[2:4] * [1, -1], rtol=1e-6)


def test_differences_of_zero_and_far_ones():
    x = np.array([0.0, 1e30, -1e30], np.float32)
    zero = np.zeros(3, np.float32)
    for f in (nn.l1_loss, nn.huber_loss, nn.smooth_l1_loss, nn.log_cosh_loss):
        np.testing.assert_allclose(f(x, zero, reduction="none"), np.abs(x), rtol=1e-6)
        np.testing.assert_array_equal(slope(f, x, zero), [0, 1, -1])
    same = np.ones((2, 3), np.float32)
    for f in (nn.contrastive_loss, nn.cosine_embedding_loss):
        for target in (np.ones(2), -np.ones(2)):
            assert np.isfinite(slope(f, same, same, target)).all()
            assert np.isfinite(slope(f, 0 * same, same, target)).all()


def test_kl_of_impossible_outcomes():
    x = np.array([-np.inf, 0.0], np.float32)
    for t, log in ((np.array([0.0, 1.0]), False), (np.array([-np.inf, 0.0]), True)):
        t = t.astype(np.float32)
        np.testing.assert_array_equal(nn.kl_div(x, t, log_target=log, reduction="none"), [0, 0])
        np.testing.assert_array_equal(slope(nn.kl_div, x, t, log_target=log), [0, -1])
    assert nn.kl_div(x, np.array([0.5, 0.5], np.float32), reduction="sum") == np.inf


def test_a_batch_in_which_nothing_counts_is_zero():
    x, labels = jnp.ones((2, 3)), jnp.array([-1, -1])
    for f in (nn.softmax_cross_entropy, nn.nll_loss):
        for weight in (None, jnp.ones(3)):
            value, slopes = nr.value_and_grad(
                lambda x, f=f, weight=weight: f(x, labels, ignore_index=-1, weight=weight)
            )(x)
            assert float(value) == 0
            np.testing.assert_array_equal(slopes, np.zeros((2, 3)))


def test_ignored_labels_of_narrow_dtypes():
    x = np.random.default_rng(0).normal(size=(3, 200))
    got = nn.softmax_cross_entropy(
        x, np.array([150, 255, 156], np.uint8), ignore_index=255, reduction="none"
    )
    assert float(got[1]) == 0 and float(got[0]) > 0
    # -100 is no uint8; 156, its image modulo 256, must count.
    got = nn.softmax_cross_entropy(
        x, np.array([150, 2, 156], np.uint8), ignore_index=-100, reduction="none"
    )
    assert (np.asarray(got) > 0).all()


# ---------------------------------------------------------------- what all losses share
ELEMENTWISE = [
    nn.mse_loss, nn.l1_loss, nn.huber_loss, nn.smooth_l1_loss, nn.log_cosh_loss,
    nn.poisson_nll_loss, nn.binary_cross_entropy, nn.binary_cross_entropy_with_logits, nn.kl_div,
    nn.hinge_loss, nn.soft_margin_loss, nn.hinge_embedding_loss, nn.sigmoid_focal_loss,
    nn.multilabel_soft_margin_loss,
]  # fmt: skip


@pytest.mark.parametrize("f", ELEMENTWISE)
def test_predictions_and_targets_do_not_broadcast(f):
    column, row = jnp.full((3, 1), 0.5), jnp.full(3, 0.5)
    for run in (f, nr.jit(f)):
        for args in ((column, row), (row, column)):
            with pytest.raises(TypeError, match=rf"{f.__name__}: .* was required; got f32\["):
                run(*args)
    with pytest.raises(ValueError, match=f"{f.__name__}: reduction must be .* got 'avg'"):
        f(row, row, reduction="avg")


@pytest.mark.parametrize("f", ELEMENTWISE)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_floats_give_half_floats(f, dtype):
    rng = np.random.default_rng(5)
    x, t = jnp.array(rng.uniform(0.1, 0.9, (6, 4)), dtype), jnp.array(rng.integers(0, 2, (6, 4)))
    value, slopes = nr.jit(nr.value_and_grad(f))(x, t.astype(dtype))
    expected, theirs = nr.value_and_grad(f)(x.astype("float32"), t.astype("float32"))
    assert value.dtype == slopes.dtype == dtype
    # Computed in float32, then rounded once: half a unit in the last of 8 or 11 bits.
    unit = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[dtype]
    np.testing.assert_allclose(value.astype("float32"), expected, rtol=unit)
    np.testing.assert_allclose(slopes.astype("float32"), theirs, rtol=unit, atol=1e-7)
    assert f(x, t).dtype == dtype  # integers do not widen


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join([c[0], *map(str, c[2])]))
def test_losses_in_bfloat16(case):
    name, make, options = case[:3]
    args = [
        jnp.asarray(x, "bfloat16") if x.dtype.kind == "f" else x
        for x in make(np.random.default_rng(2))
    ]
    f = functools.partial(ours(name), **options, reduction="none")
    value, slopes = f(*args), nr.grad(lambda *args: f(*args).sum())(*args)
    assert value.dtype == slopes.dtype == "bfloat16"
    exact = f(*[x.astype("float32") if x.dtype == "bfloat16" else x for x in args])
    np.testing.assert_allclose(value.astype("float32"), exact, rtol=2.0**-8)


def test_ctc_and_batches_in_bfloat16():
    logits, targets, *_ = sequences()
    x1, x2 = (jnp.asarray(x, "bfloat16") for x in two(np.random.default_rng(0)))
    for f, x in (
        (lambda x: nn.ctc_loss(x, targets), jnp.asarray(logits, "bfloat16")),
        (lambda x: nn.info_nce_loss(x, x2, temperature=0.5), x1),
        (lambda x: nn.nt_xent_loss(x, x2, temperature=0.5), x1),
    ):
        value, slopes = nr.value_and_grad(f)(x)
        assert value.dtype == slopes.dtype == "bfloat16"
        assert float(value) == pytest.approx(float(f(x.astype("float32"))), rel=2.0**-8)


def test_second_derivatives():
    rng = np.random.default_rng(6)
    logits, targets, *_ = sequences(repeats=True)
    x, t = two(rng)
    p = rng.uniform(0.1, 0.9, (N, C))
    for f, x in (
        (lambda x: nn.binary_cross_entropy(x, p), p[::-1]),
        (lambda x: nn.binary_cross_entropy_with_logits(x, p), x),
        (lambda x: nn.softmax_cross_entropy(x, np.arange(N) % C, label_smoothing=0.1), x),
        (lambda x: nn.sigmoid_focal_loss(x, p), x),
        (lambda x: nn.log_cosh_loss(x, t), x),
        (lambda x: nn.info_nce_loss(x, t, temperature=0.5), x),
        (lambda x: nn.ctc_loss(x, targets), logits),
    ):
        check_grads(f, (x,), order=2)
    assert nr.hessian(lambda x: nn.binary_cross_entropy_with_logits(x, 1.0))(0.0) == 0.25


def test_sums_of_float16_do_not_overflow_inside():
    x = jnp.full((4,), 300.0, "float16")
    value, slopes = nr.value_and_grad(nn.huber_loss)(x, jnp.zeros(4, "float16"))
    assert float(value) == 299.5 and np.isfinite(slopes.astype("float32")).all()
    assert float(nn.mse_loss(x / 2, -x / 4)) == pytest.approx(50625, rel=1e-3)


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join([c[0], *map(str, c[2])]))
def test_losses_map_and_add_up(case):
    name, make, options = case[:3]
    f = functools.partial(ours(name), **options, reduction="none")
    args = make(np.random.default_rng(2))
    if "axis" in options:
        f = functools.partial(f, axis=0)
    whole = functools.partial(ours(name), **options, reduction="none")(*args)
    np.testing.assert_allclose(nr.vmap(f)(*args), whole, rtol=1e-12, atol=1e-12)
    total = ours(name)(*args, **options, reduction="sum")
    np.testing.assert_allclose(total, np.sum(whole), rtol=1e-12)


def test_weights_of_elements():
    x, zeros = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.zeros((2, 2))
    assert float(nn.mse_loss(x, zeros, weight=jnp.array([1.0, 0.0]))) == 5  # of 1 and 9
    assert float(nn.l1_loss(x, zeros, weight=jnp.zeros((2, 1)))) == 0
    for f in (nn.mse_loss, nn.l1_loss, nn.huber_loss):
        with pytest.raises(TypeError, match=r'broadcasts to f32\[2,2\] .* got f32\[3\] for "wei'):
            f(x, zeros, weight=jnp.ones(3))


def test_errors():
    x, labels = jnp.ones((2, 3)), jnp.zeros(2, int)
    raises = pytest.raises
    for f in (nn.softmax_cross_entropy, nn.nll_loss, nn.softmax_focal_loss):
        for run in (f, nr.jit(f)):
            with raises(TypeError, match=r"i32\[2\] was required .* got i32\[3\]"):
                run(x, jnp.zeros(3, int))
            for label in (3, -1):
                with raises(IndexError):
                    run(x, jnp.array([0, label]))
        with raises(ValueError, match="an axis of .* was required; got axis 2"):
            f(x, labels, axis=2)
        with raises(TypeError, match=r"one number a class, \[3\], was required; got f32\[2\]"):
            f(x, labels, weight=jnp.ones(2))
    with raises(TypeError, match=r"nll_loss: integer classes were required; got f32\[2\]"):
        nn.nll_loss(x, jnp.ones(2))
    with raises(TypeError, match=r"f32\[2,3\] was required .* got f32\[2\]"):
        nn.softmax_cross_entropy(x, jnp.ones(2))
    with raises(TypeError, match="integers were required with ignore_index"):
        nn.softmax_cross_entropy(x, x, ignore_index=0)
    with raises(TypeError, match=r"kl_div: an axis of batches was required; got f32\[\]"):
        nn.kl_div(0.0, 1.0, reduction="batchmean")
    with raises(ValueError, match=r"label_smoothing must be in \[0, 1\]; got 2"):
        nn.softmax_cross_entropy(x, labels, label_smoothing=2)
    with raises(TypeError, match=r'got b1\[2\] for "labels"'):
        nn.softmax_cross_entropy(x, jnp.ones(2, bool))
    with raises(TypeError, match="real numbers were required; got c64"):
        nn.mse_loss(x + 1j, x)
    with raises(TypeError, match=r"broadcasts to f32\[2,3\] was required; got f32\[2\]"):
        nn.binary_cross_entropy(x, x, weight=jnp.ones(2))
    with raises(TypeError, match=r'or \[2, 1\], was required; got f32\[2\] for "var"'):
        nn.gaussian_nll_loss(x, x, jnp.ones(2))
    with raises(TypeError, match=r"integers \[2\] were required .* got i32\[3\]"):
        nn.multi_margin_loss(x, jnp.zeros(3, int))
    with raises(IndexError):
        nn.multi_margin_loss(x, jnp.array([0, -1]))
    with raises(ValueError, match="p must be 1 or 2; got 3"):
        nn.multi_margin_loss(x, labels, p=3)
    with raises(TypeError, match=r"integers \[2,3\] were required"):
        nn.multilabel_margin_loss(x, labels)
    for f in (nn.cosine_embedding_loss, nn.contrastive_loss):
        with raises(TypeError, match=r"of the shape of f32\[2\], was required; got f32\[2,1\]"):
            f(x, x, jnp.ones((2, 1)))
        with raises(TypeError, match=r'the shape of "x1", f32\[2,3\], was required; got f32\[3\]'):
            f(x, x[0], jnp.ones(2))
    with raises(TypeError, match=r"\[\.\.\., examples, features\] was required; got f32\[3\]"):
        nn.info_nce_loss(x[0], x[0], temperature=1.0)
    for f in (nn.info_nce_loss, nn.nt_xent_loss):
        with raises(ValueError, match="temperature must be positive; got 0"):
            f(x, x, temperature=0)
    with raises(ValueError, match="delta must be positive; got 0"):
        nn.huber_loss(x, x, delta=0)
    with raises(ValueError, match="beta must not be negative; got -1"):
        nn.smooth_l1_loss(x, x, beta=-1)
    with raises(ValueError, match="gamma must not be negative; got -1"):
        nn.sigmoid_focal_loss(x, x, gamma=-1)
    with raises(ValueError, match=r"alpha must be in \[0, 1\] or None; got 2"):
        nn.sigmoid_focal_loss(x, x, alpha=2)


def test_errors_of_ctc():
    x, labels = jnp.ones((2, 5, 3)), jnp.ones((2, 2), int)
    with pytest.raises(TypeError, match=r"ctc_loss: integers \[2, S\] were required"):
        nn.ctc_loss(x, labels[0])
    with pytest.raises(TypeError, match=r"\[\.\.\., T, classes\] was required; got f32\[3\]"):
        nn.ctc_loss(x[0, 0], labels[0])
    with pytest.raises(ValueError, match="blank must be one of 3 classes; got 3"):
        nn.ctc_loss(x, labels, blank=3)
    with pytest.raises(TypeError, match=r'\[2\], was required; got i32\[3\] for "input_lengths"'):
        nn.ctc_loss(x, labels, input_lengths=jnp.ones(3, int))
