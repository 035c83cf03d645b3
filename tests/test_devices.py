"""Without these, operands on different devices would mix silently and results land elsewhere."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr.core import devices as core_devices
from nr.extend import backend
from tests.cases import ALL_CASES
from tests.fake_cupy import FakeCupy, ndarray
from tests.util import check_on_device

# The first case of each primitive; device_put's say themselves where their results lie.
FIRST_CASES = {case.primitive: case for case in reversed(ALL_CASES) if case.primitive}
del FIRST_CASES["device_put"]


@pytest.fixture
def cuda(monkeypatch):
    """A CUDA device simulated over NumPy."""
    monkeypatch.setitem(sys.modules, "cupy", FakeCupy())
    monkeypatch.delitem(core_devices._backends, "cuda", raising=False)
    yield nr.device("cuda:0")
    core_devices._backends.pop("cuda", None)
    for name in [n for n in core_devices._devices if n.startswith("cuda")]:
        del core_devices._devices[name]


def on_gpu(x):
    return isinstance(x.data, ndarray) and str(x.device) == "cuda:0"


def test_the_cpu_is_always_there():
    assert str(nr.devices("cpu")[0]) == "cpu:0"
    assert nr.device("cpu") is nr.device("cpu:0")
    assert jnp.ones(2).device is nr.device("cpu")


def test_unknown_devices_are_refused():
    with pytest.raises(ValueError, match=r"device: cpu:7 was asked for; this machine has 1 cpu"):
        nr.device("cpu:7")
    with pytest.raises(ValueError, match=r"device: the platform must be one of cpu, cuda; got 't"):
        nr.device("tpu")


def test_results_are_on_the_device_of_their_operands(cuda):
    x = nr.device_put(np.arange(3.0, dtype=np.float32), cuda)
    assert on_gpu(x)
    for y in (x + x, x * 2.0, nr.lax.sin(x), x[1:], x.sum(), jnp.stack([x, x])):
        assert on_gpu(y), y
    np.testing.assert_array_equal(np.asarray(x + x), [0, 2, 4])


def test_uncommitted_operands_follow(cuda):
    x = nr.device_put(np.ones(3, np.float32), "cuda:0")
    assert on_gpu(x + jnp.ones(3)) and on_gpu(jnp.ones(3) * x)


def test_operands_on_two_devices_are_refused(cuda):
    x = nr.device_put(np.ones(3, np.float32), "cuda:0")
    y = nr.device_put(np.ones(3, np.float32), "cpu")
    with pytest.raises(ValueError, match=r"one device; got .* on (cpu|cuda):0 .* (cpu|cuda):0"):
        x + y


def test_device_get_and_back(cuda):
    x = nr.device_put({"a": np.ones(2), "b": 3}, cuda)
    back = nr.device_get(x)
    assert type(back["a"]) is np.ndarray and back["b"] == 3
    assert nr.device_put(x["a"], "cpu").device is nr.device("cpu")


def test_jit_and_grad_on_a_device(cuda):
    x = nr.device_put(np.arange(1.0, 4.0, dtype=np.float32), cuda)

    def f(x):
        return (jnp.sin(x) * x).sum()

    reference = nr.grad(f)(jnp.arange(1.0, 4.0))
    for g in (nr.grad(f), nr.jit(nr.grad(f))):
        assert on_gpu(g(x))
        np.testing.assert_allclose(np.asarray(g(x)), np.asarray(reference), rtol=1e-6)
    assert on_gpu(nr.jit(lambda x: nr.lax.scan(lambda c, e: (c + e, c), x[0], x)[0])(x))


def test_default_device(cuda):
    with nr.default_device(cuda):
        assert on_gpu(nr.lax.iota("float32", 3)) and on_gpu(jnp.zeros(3))
    assert jnp.zeros(3).device is nr.device("cpu")


def test_the_cuda_module_without_a_gpu():
    if core_devices.backend("cuda").device_count():
        pytest.skip("a GPU is present")
    assert nr.devices() == nr.devices("cpu")
    for platform in ("cuda", "gpu", "tpu"):
        with pytest.raises(RuntimeError, match=f"devices: Unknown backend {platform!r}"):
            nr.devices(platform)
    with pytest.raises(ValueError, match=r"this machine has 0 cuda device"):
        nr.device("cuda:0")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the stand-in reports under its own name
@pytest.mark.parametrize("primitive", sorted(FIRST_CASES))
def test_each_row_runs_on_a_device_and_stays_there(cuda, primitive):
    case = FIRST_CASES[primitive]
    check_on_device(case, case.dtypes[0], cuda)


def test_the_environment_in_words(capsys):
    text = nr.print_environment_info(return_string=True)
    assert f"nr: {nr.__version__}\n" in text and "devices: [Device('cpu:0')]" in text
    nr.print_environment_info()
    assert capsys.readouterr().out == text + "\n"


def test_backends_name_their_devices(cuda):
    assert backend.backends() == {name: backend.get_backend(name) for name in ("cuda", "cpu")}
    client = backend.get_backend("gpu")
    assert client.platform == "cuda" and client.devices() == [cuda] == client.local_devices()
    assert client is backend.get_backend(client) and client.process_index() == 0
    assert backend.get_backend().platform == nr.default_backend() == "cpu"
    assert backend.get_default_device() is nr.device("cpu")
    with pytest.raises(RuntimeError, match="Unknown backend 'tpu'"):
        backend.get_backend("tpu")


def test_one_process_has_all_devices():
    assert nr.process_indices() == [nr.process_index()] == [0] and nr.process_count("cpu") == 1
    assert nr.local_devices(0, "cpu") == nr.devices("cpu") and nr.local_device_count() >= 1
    with pytest.raises(ValueError, match="local_devices: process_index must be 0 or None; got 1"):
        nr.local_devices(1)


def test_device_get_keeps_traced_values():
    doubled = nr.jit(lambda x: nr.device_get({"x": x})["x"] * 2.0)
    assert float(doubled(3.0)) == 6.0
    assert float(nr.grad(lambda x: nr.device_get(x) * 2.0)(3.0)) == 2.0


def test_device_get_leaves_pythons_numbers_alone():
    assert nr.device_get([jnp.ones(()), 2, 3.0, None])[1:] == [2, 3.0, None]
    assert type(nr.device_get(2)) is int


def test_device_put_can_be_asked_for_memory_of_its_own():
    x = nr.device_put(np.arange(3))
    assert nr.device_put(x) is x and nr.device_put(x, may_alias=True) is x
    other = nr.device_put(x, may_alias=False)
    assert other is not x and other.unsafe_buffer_pointer() != x.unsafe_buffer_pointer()
    with pytest.raises(ValueError, match="at most one of donate and may_alias"):
        nr.device_put(x, donate=True, may_alias=True)


def test_the_default_device_as_an_option():
    assert nr.config.jax_default_device is None
    try:
        nr.config.update("jax_default_device", nr.device("cpu"))
        assert nr.config.jax_default_device is nr.device("cpu")
    finally:
        nr.config.update("jax_default_device", None)
