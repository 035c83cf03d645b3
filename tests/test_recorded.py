"""Without this, eager derivatives could change in the third call, when rules run by their records;
and eager loops could run the program of another body.
"""

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.transforms import recorded
from tests.cases import ALL_CASES
from tests.util import arrays, grad_dtype

X = np.linspace(-0.9, 1.3, 6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def no_records():
    recorded._records.clear()


def exact(tree):
    """Bits, dtypes and weakness of all leaves."""
    return [
        (np.asarray(x).tobytes(), x.aval, x.weak_type) if isinstance(x, nr.Array) else repr(x)
        for x in nr.tree.leaves(tree)
    ]


def stay_the_same(f, *args):
    first = exact(f(*args))
    for _ in range(2):
        assert exact(f(*args)) == first


def records():
    return [r for r in recorded._records.values() if r]


# ------------------------------------------------- rules
@pytest.mark.parametrize("case", [c for c in ALL_CASES if grad_dtype(c)], ids=lambda c: c.name)
def test_records_give_what_rules_give(case):
    (args,) = case.samples(grad_dtype(case), 1)
    chosen = [i for i in (range(len(args)) if case.grad is True else case.grad)
              if args[i].dtype.kind in "fc"]  # fmt: skip

    def f(*xs):
        full = arrays(args)
        for i, x in zip(chosen, xs, strict=True):
            full[i] = x
        return case.fun(*full)

    xs = arrays([args[i] for i in chosen])

    def both(*xs):
        out, pullback = nr.vjp(f, *xs)
        ones = nr.tree.map(lambda x: jnp.ones(x.shape, x.dtype), out)
        tangents = tuple([jnp.ones(x.shape, x.dtype) for x in xs])
        return out, pullback(ones) if case_is_inexact(out) else None, nr.jvp(f, xs, tangents)

    def case_is_inexact(out):
        return all(np.dtype(x.dtype).kind in "fc" for x in nr.tree.leaves(out))

    stay_the_same(both, *xs)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (jnp.tanh(x) * 2 + x**2).sum(),
        lambda x: (x @ x.T + x[:, 0]).mean(),
        lambda x: jnp.where(x > 0, x, 0.5 * x).sum() / 3,
        lambda x: nr.nn.log_softmax(x)[0, 1],
        lambda x: jnp.sort(x, axis=1)[0, 0] * jnp.max(x),
        lambda x: nr.lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x).sum(),
    ],
)
def test_all_transformations_stay_the_same(f):
    x = jnp.array(X)
    stay_the_same(nr.value_and_grad(f), x)
    stay_the_same(nr.grad(lambda x: jnp.sum(nr.grad(f)(x) ** 2)), x)
    stay_the_same(nr.hessian(f), x)
    stay_the_same(nr.vmap(nr.grad(f)), jnp.stack([x, 2 * x]))
    stay_the_same(nr.grad(lambda x: nr.vmap(f)(x).sum()), jnp.stack([x, 2 * x]))
    assert records()


@pytest.mark.parametrize("x", [2.0, np.float64(2), np.float32(2), 3 + 0j], ids=str)
def test_numbers_keep_their_weakness(x):
    stay_the_same(lambda x: nr.jvp(lambda x: jnp.sin(x) * x / 3, (x,), (x,)), x)
    stay_the_same(lambda x: nr.vjp(lambda x: jnp.sin(x) * x / 3, x)[1](x), x)


def test_records_are_of_dtypes_and_options():
    def g(x):
        return nr.grad(lambda x: (x * 2).sum() + jnp.ones(()))(x)

    for _ in range(3):
        assert g(jnp.array(X)).dtype == "float32"
        assert g(jnp.array(X, "float64")).dtype == "float64"
        with nr.config.using(default_float="float64"):
            assert nr.grad(lambda x: x * 2)(3.0).dtype == "float64"
        assert nr.grad(lambda x: x * 2)(3.0).dtype == "float32"


def test_a_residual_that_is_an_argument_is_that_array():
    x = jnp.array(X)
    for _ in range(3):
        _, pullback = nr.vjp(lambda x: x * x, x)
        assert all(r is x for r in pullback.residuals) and len(pullback.residuals) == 1


def test_errors_stay_the_same():
    x = jnp.array(X)
    messages = set()
    for _ in range(4):
        with pytest.raises(TypeError) as caught:
            nr.grad(lambda x: nr.lax.add(x, x[0]).sum())(x)
        messages.add(str(caught.value))
    assert len(messages) == 1 and "add: operands must have the same shape" in messages.pop()
    gradient = nr.grad(lambda x, y: (x * y).sum())
    for _ in range(3):
        gradient(x, jnp.array(X))
    gone = jnp.array(X)
    gone.delete()
    with pytest.raises(RuntimeError, match="memory was given away"):
        gradient(x, gone)


def test_rules_that_run_python_are_not_recorded():
    calls = []

    @nr.custom_jvp
    def f(x):
        return x * 2

    @f.defjvp
    def f_jvp(primals, tangents):
        calls.append(float(primals[0]))
        return f(*primals), 2 * tangents[0]

    for value in (1.0, 2.0, 3.0, 4.0):
        assert float(nr.grad(f)(value)) == 2
    assert calls == [1, 2, 3, 4]


def test_a_callback_in_a_derivative_runs_outside_of_it():
    def host(x):
        return np.asarray(jnp.sin(jnp.asarray(x)))

    def f(x):
        y = nr.pure_callback(host, nr.ShapeDtypeStruct((), "float32"), nr.lax.stop_gradient(x))
        return x * y

    for _ in range(3):
        np.testing.assert_allclose(nr.grad(f)(jnp.float32(0.5)), np.sin(np.float32(0.5)))


def test_there_are_not_ever_more_records(monkeypatch):
    monkeypatch.setattr(recorded, "_MOST", 5)
    for n in range(1, 20):
        nr.grad(lambda x: jnp.tanh(x * x).sum())(jnp.ones(n))
        assert len(recorded._records) <= 5


# ------------------------------------------------- bodies of eager loops
@pytest.fixture
def compilations(monkeypatch):
    from nr.backends.cpu import program

    made = []
    init = program.CompiledProgram.__init__

    def counting(self, *args, **kwargs):
        made.append(args[0])
        init(self, *args, **kwargs)

    monkeypatch.setattr(program.CompiledProgram, "__init__", counting)
    return made


def test_a_body_traced_again_is_not_compiled_again(compilations):
    def run(w, factor):
        return nr.lax.scan(lambda c, x: (nr.nn.relu(c @ w) * factor + x, c), jnp.ones(3), X)

    w = jnp.array(np.arange(9, dtype=np.float32).reshape(3, 3))
    first = exact(run(w, 0.5))
    made = len(compilations)
    assert exact(run(w, 0.5)) == first
    c = np.ones(3, np.float32)
    for x in X:  # another array that the body closes over
        c = np.maximum(c @ np.asarray(w + 1), 0) * np.float32(0.5) + x
    np.testing.assert_allclose(run(w + 1, 0.5)[0], c, rtol=1e-6)
    assert len(compilations) == made
    assert exact(run(w, 0.25)) != first  # another number
    assert len(compilations) > made


def test_bodies_that_differ_in_params_alone(compilations):
    def run(axis):
        return nr.lax.fori_loop(0, 3, lambda i, c: c + jnp.cumsum(c, axis), jnp.array(X))

    assert exact(run(0)) == exact(run(0)) != exact(run(1))


def test_branches_and_conditions_are_found_again(compilations):
    def run(limit):
        c = nr.lax.while_loop(lambda c: c.sum() < limit, lambda c: 2 * c, jnp.ones(3))
        return nr.lax.cond(c[0] > 4, lambda c: c + 1, lambda c: c - 1, c)

    first = run(10.0)
    made = len(compilations)
    assert exact(run(10.0)) == exact(first)
    assert len(compilations) == made
    np.testing.assert_array_equal(run(3.0), np.zeros(3))
