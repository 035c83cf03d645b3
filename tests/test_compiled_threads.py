"""Without these tests compiled programs might not survive threads, forks and Ctrl-C.

Programs called by several Python threads at once, results that do not depend on the number of
threads, forked children, and an interrupt inside a program, which must return quickly and leave
the session usable. What may end the process runs in one of its own.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax


@pytest.fixture(autouse=True)
def number_of_threads() -> Iterator[None]:
    before = nr.get_num_threads()
    yield
    nr.set_num_threads(before)


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def mlp_loss(params: Any, x: Any, y: Any) -> Any:
    for w, b in params[:-1]:
        x = nr.nn.gelu(x @ w + b)
    w, b = params[-1]
    return -jnp.mean(jnp.sum(nr.nn.log_softmax(x @ w + b) * y, axis=-1))


def mlp(sizes: tuple[int, ...]) -> Any:
    return [
        (normal((n, m), i) / n**0.5, normal((m,), -i - 1 & 0xFF))
        for i, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
    ]


def layer_norm(x: Any) -> Any:
    centered = x - jnp.mean(x, axis=-1, keepdims=True)
    return centered * lax.rsqrt(jnp.mean(centered**2, axis=-1, keepdims=True) + 1e-5)


def attention(x: Any) -> Any:
    scores = nr.nn.softmax(jnp.einsum("hik,hjk->hij", x, x) * 0.1)
    return jnp.einsum("hij,hjk->hik", scores, x)


def bytes_of(tree: Any) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in nr.tree.leaves(tree)]


PROGRAMS: dict[str, tuple[Callable, tuple]] = {
    "sums": (
        lambda x: (jnp.sum(x), jnp.sum(x, 0), jnp.sum(x, 1), jnp.var(x), jnp.sum(x.T @ x)),
        (normal((1000, 303)),),
    ),
    "long sum": (lambda x: (jnp.sum(jnp.sin(x)), jnp.argmax(x), jnp.max(x)), (normal((700_001,)),)),
    "columns": (lambda x: jnp.sum(x * x, axis=0), (normal((20_011, 7)),)),
    "matmul": (lambda a, b: (a @ b, b.T @ a.T), (normal((257, 300), 1), normal((300, 190), 2))),
    "softmax": (nr.nn.softmax, (normal((517, 400)),)),
    "norms": (
        lambda x: (layer_norm(x), layer_norm(x.T), nr.grad(lambda x: layer_norm(x).sum())(x)),
        (normal((300, 257)),),
    ),
    "attention": (nr.value_and_grad(lambda x: jnp.sum(attention(x) ** 2)), (normal((8, 100, 32)),)),
    "mlp": (
        nr.value_and_grad(mlp_loss),
        (mlp((100, 300, 200, 10)), normal((257, 100), 5), np.abs(normal((257, 10), 6))),
    ),
    "scan": (
        lambda c, x: lax.scan(lambda c, r: (c * 0.9 + r[:, None] * r, jnp.sum(c)), c, x),
        (normal((300, 300)), normal((6, 300))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_do_not_depend_on_the_number_of_threads(name: str) -> None:
    f, args = PROGRAMS[name]
    compiled = nr.jit(f)
    nr.set_num_threads(1)
    want = bytes_of(compiled(*args))
    for n in (2, 3, 4, 2, 1):
        nr.set_num_threads(n)
        for _ in range(3):
            assert bytes_of(compiled(*args)) == want, f"{n} threads"


def test_results_do_not_depend_on_the_place_of_inputs() -> None:
    """Vectors need not begin at multiples of their size."""
    f = nr.jit(lambda x: (jnp.sum(x), nr.nn.softmax(x), x @ x.T))
    x = normal((65, 129))
    want = bytes_of(f(x))
    for k in range(1, 5):
        moved = np.zeros(x.size + k, np.float32)[k:].reshape(x.shape)
        moved[...] = x
        assert bytes_of(f(moved)) == want


def at_once(functions: list[Callable[[], None]]) -> None:
    """Run functions in threads of their own, starting together; the first failure is raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(functions))

    def run(f: Callable[[], None]) -> None:
        try:
            barrier.wait()
            f()
        except BaseException as error:  # noqa: BLE001  raised by the caller
            failures.append(error)

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("threads", [1, 3])
def test_one_program_in_several_threads_with_their_own_inputs(threads: int) -> None:
    nr.set_num_threads(threads)
    f = nr.jit(lambda x: (layer_norm(x @ x.T), jnp.sort(x, 1), jnp.sum(jnp.exp(x))))
    xs = [normal((120, 70), s) for s in range(6)]
    want = [bytes_of(f(x)) for x in xs]

    def calls(k: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(30):
                assert bytes_of(f(xs[k])) == want[k]

        return run

    at_once([calls(k) for k in range(6)])


def test_several_programs_in_several_threads() -> None:
    nr.set_num_threads(2)
    compiled = {name: nr.jit(f) for name, (f, _) in PROGRAMS.items()}
    want = {name: bytes_of(compiled[name](*PROGRAMS[name][1])) for name in PROGRAMS}

    def calls(name: str) -> Callable[[], None]:
        def run() -> None:
            for _ in range(4):
                assert bytes_of(compiled[name](*PROGRAMS[name][1])) == want[name]

        return run

    at_once([calls(name) for name in PROGRAMS])


def test_first_calls_in_several_threads() -> None:
    """Tracing and compiling, the same function and others, at once."""
    shared = nr.jit(lambda x: jnp.sum(jnp.cos(x) * 3 + 1, axis=0))

    def work(k: int) -> Callable[[], None]:
        def run() -> None:
            x = normal((30 + k % 3, 5), k)
            own = nr.jit(lambda x: jnp.exp(x * (k + 1)) - jnp.max(x))
            np.testing.assert_allclose(
                np.asarray(shared(x)), (np.cos(x) * 3 + 1).sum(0), rtol=1e-5, atol=1e-5
            )
            np.testing.assert_allclose(
                np.asarray(own(x)), np.exp(x * (k + 1)) - x.max(), rtol=1e-4, atol=1e-5
            )

        return run

    at_once([work(k) for k in range(8)])


def test_changing_the_number_of_threads_while_programs_run() -> None:
    f, args = PROGRAMS["mlp"]
    compiled = nr.jit(f)
    want = bytes_of(compiled(*args))

    def calls() -> None:
        for _ in range(10):
            assert bytes_of(compiled(*args)) == want

    def changes() -> None:
        for k in range(60):
            nr.set_num_threads(1 + k % 4)

    at_once([calls, calls, changes])


def test_an_exception_in_one_thread_does_not_stop_another() -> None:
    def check(v: Any) -> Any:
        if v < 0:
            raise ValueError("negative")
        return v

    f = nr.jit(
        lambda x: (
            jnp.sum(x * 2) + nr.pure_callback(check, nr.ShapeDtypeStruct((), np.float32), x[0])
        )
    )

    def good() -> None:
        for _ in range(50):
            assert float(f(np.ones(5, np.float32))) == 11

    def bad() -> None:
        for _ in range(50):
            with pytest.raises(ValueError, match="negative"):
                f(-np.ones(5, np.float32))

    at_once([good, bad, good, bad])


# ---------------------------------------------------------------- processes
PRELUDE = """
import os, signal, sys, threading, time
import numpy as np
import nr, nr.numpy as jnp
from nr import lax

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells' background jobs ignore it

def interrupted(f, *args):
    '''Seconds from an interrupt 0.2 s after the call's beginning to its KeyboardInterrupt.'''
    sent = []
    def send():
        time.sleep(0.2)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        f(*args)
    except KeyboardInterrupt:
        late = time.perf_counter() - sent[0]
    else:
        sys.exit("the program ended before it was interrupted" if not sent else "not interrupted")
    sender.join()
    return late

def usable():
    x = np.arange(12.0).reshape(3, 4)
    for n in (1, 2):
        nr.set_num_threads(n)
        got = nr.jit(lambda x: (jnp.sum(x), x @ x.T, lax.fori_loop(0, 5, lambda i, c: c + i, x)))(x)
        assert float(got[0]) == 66
        assert (np.asarray(got[1]) == x @ x.T).all()
        assert (np.asarray(got[2]) == x + 10).all()
        big = np.ones((700, 700))
        assert float(nr.jit(lambda x: jnp.sum(jnp.sin(x @ x) * 0 + x))(big)) == 490000
"""


def run_python(code: str, timeout: float = 120) -> str:
    """The output of a program in a process of its own, which must end well; one that hangs (busy
    machines take a while) tells where."""
    watch = f"import faulthandler\nfaulthandler.dump_traceback_later({timeout}, exit=True)\n"
    done = subprocess.run(
        [sys.executable, "-c", watch + PRELUDE + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=timeout + 60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("threads", [1, 2])
def test_fork_after_use(threads: int) -> None:
    out = run_python(f"""
        nr.set_num_threads({threads})
        f = nr.jit(lambda x: (jnp.sum(jnp.sin(x)), x @ x.T))
        x = np.random.default_rng(0).normal(size=(600, 500))
        want = [np.asarray(y).tobytes() for y in f(x)]
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                ok = [np.asarray(y).tobytes() for y in f(x)] == want
                g = nr.jit(lambda x: jnp.max(x * 2, axis=0))  # compiled in the child
                ok = ok and (np.asarray(g(x)) == (x * 2).max(0)).all()
                os._exit(0 if ok else 3)
            assert os.waitpid(pid, 0)[1] == 0, "the child failed"
            assert [np.asarray(y).tobytes() for y in f(x)] == want
        print("well")
    """)
    assert out == "well\n"


# About a tenth of a second is promised; a busy test machine may add as much again.
SOON = 0.2
# Programs that run for a long time: `f(*args)`.
LONG: dict[str, str] = {
    "while loop of scalars": """
        f = nr.jit(lambda x: lax.while_loop(lambda c: c[0] >= 0, lambda c: (c[0] + 1e-9, c[1]), x))
        args = ((1.0, 2.0),)
    """,
    "while loop of large kernels": """
        step = lambda c: jnp.abs(jnp.sin(c))
        f = nr.jit(lambda x: lax.while_loop(lambda c: c[0, 0] >= 0, step, x))
        args = (np.ones((500, 500)),)
    """,
    "scan of products": """
        step = lambda c, _: (jnp.tanh(c @ c), None)
        f = nr.jit(lambda x: lax.scan(step, x, None, length=10**7)[0])
        args = (np.eye(60),)
    """,
    "scan in a while loop": """
        inner = lambda c: lax.scan(lambda c, _: (c * 0.5 + 1, None), c, None, length=1000)[0]
        f = nr.jit(lambda x: lax.while_loop(lambda c: c[0] >= 0, inner, x))
        args = (np.ones(9),)
    """,
    "while loop of rows of the table": """
        step = lambda c: jnp.linalg.cholesky(c @ c.T + jnp.eye(4)) * 0.5
        f = nr.jit(lambda x: lax.while_loop(lambda c: c[0, 0] >= 0, step, x))
        args = (np.eye(4),)
    """,
    "while loop of callbacks": """
        call = lambda c: nr.pure_callback(lambda v: v, nr.ShapeDtypeStruct((), np.float64), c)
        f = nr.jit(lambda x: lax.while_loop(lambda c: c >= 0, call, x))
        args = (1.0,)
    """,
    "straight line of kernels": """
        def many(x):
            for i in range(250):
                x = jnp.tanh(x @ x * 1e-3 + i % 3)
            return x
        f = nr.jit(many)
        args = (np.ones((600, 600)),)
        f.lower(*args).compile()(*args)
    """,
}


@pytest.mark.parametrize("threads", [1, 2])
def test_interrupts(threads: int) -> None:
    parts = [f"nr.set_num_threads({threads})"]
    for name, code in LONG.items():
        parts += [
            textwrap.dedent(code),
            f"print({name!r}, interrupted(f, *args), interrupted(f, *args), sep=':')",
            f"nr.set_num_threads({threads})",
        ]
    out = run_python("\n".join([*parts, "usable()"]))
    assert len(out.splitlines()) == len(LONG)
    for line in out.splitlines():
        name, *late = line.split(":")
        assert all(float(seconds) < SOON for seconds in late), f"{name}: returned after {late} s"


def test_an_interrupt_reaches_the_callers_own_handler() -> None:
    out = run_python("""
        class Stop(Exception):
            pass

        def handler(number, frame):
            raise Stop

        signal.signal(signal.SIGALRM, handler)
        f = nr.jit(lambda x: lax.while_loop(lambda c: c >= 0, lambda c: c + 1e-9, x))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        begin = time.perf_counter()
        try:
            f(1.0)
        except Stop:
            print(time.perf_counter() - begin)
        usable()
    """)
    assert 0.3 <= float(out) < 0.3 + SOON


def test_other_threads_run_while_a_program_does() -> None:
    """The lock of the interpreter is free meanwhile."""
    f = nr.jit(lambda x: lax.fori_loop(0, 40, lambda i, c: jnp.tanh(c @ x), x))
    x = np.eye(400)
    f(x)
    counted: list[int] = []
    stop = threading.Event()

    def count() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            stop.wait(0.001)
        counted.append(n)

    counter = threading.Thread(target=count)
    counter.start()
    f(x)
    stop.set()
    counter.join()
    assert counted[0] > 5
