"""Without these, programs written for meshes could not run, or compute otherwise, on one device."""

import pickle

import jax
import numpy as np
import pytest

import nr
import nr.numpy as jnp
from nr import lax
from nr.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

X = np.arange(6, dtype=np.float32).reshape(3, 2)
W = np.float32([[1.0, -2.0], [0.5, 3.0]])


def mesh_of(library):
    devices = np.array(library.devices()[:1]).reshape(1, 1)
    return library.sharding.Mesh(devices, ("data", "model"))


def train(library):
    """A step as programs for many devices have it."""
    P = library.sharding.PartitionSpec
    mesh = mesh_of(library)
    rows = library.sharding.NamedSharding(mesh, P("data", None))
    whole = library.sharding.NamedSharding(mesh, P())

    def step(w, x):
        y = library.lax.with_sharding_constraint(library.numpy.tanh(x @ w), rows)
        return w - 0.1 * x.T @ y, {"loss": (y**2).mean()}

    with library.set_mesh(mesh):
        w, x = library.device_put((W, X), (whole, rows))
        return library.jit(step, in_shardings=(whole, rows), out_shardings=(whole, None))(w, x)


def test_a_step_is_that_of_jax():
    ours, theirs = train(nr), train(jax)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)  # sums of three terms
    np.testing.assert_allclose(ours[1]["loss"], theirs[1]["loss"], rtol=1e-5)


def test_shard_map_is_that_of_jax():
    def run(library):
        P = library.sharding.PartitionSpec

        @library.jit
        def f(x, w):
            def piece(x, w):
                y = library.lax.psum(x @ w, "model")
                return y, library.lax.pmean(y.sum(), ("data", "model")) + library.lax.axis_index(
                    "data"
                )

            specs = {"in_specs": (P("data", "model"), P("model")), "out_specs": (P("data"), P())}
            return library.shard_map(piece, mesh=mesh_of(library), check_vma=False, **specs)(x, w)

        return f(X, W)

    for got, want in zip(run(nr), run(jax), strict=True):
        assert got.shape == want.shape and got.dtype == want.dtype
        np.testing.assert_allclose(got, want)


def test_shard_map_is_differentiable_and_takes_its_options_first():
    mesh = nr.make_mesh((1,), ("i",))
    f = nr.shard_map(mesh=mesh, in_specs=nr.P("i"), out_specs=nr.P())(lambda x: lax.psum(x**2, "i"))
    np.testing.assert_array_equal(nr.grad(lambda x: f(x).sum())(X), 2 * X)


def test_places_of_shardings():
    mesh = nr.make_mesh((1, 1), ("data", "model"))
    sharding = NamedSharding(mesh, PartitionSpec(("data", "model"), None))
    assert sharding.device_set == {nr.devices()[0]} and sharding.shard_shape((4, 2)) == (4, 2)
    assert mesh.shape == {"data": 1, "model": 1} and mesh == mesh_of(nr)
    assert sharding == NamedSharding(mesh, PartitionSpec(("data", "model"), None))
    assert sharding != NamedSharding(mesh, PartitionSpec("data"))
    assert len({sharding, NamedSharding(mesh_of(nr), PartitionSpec(("data", "model"), None))}) == 1
    assert pickle.loads(pickle.dumps(PartitionSpec("data", None))) == ("data", None)
    placed = nr.device_put(
        {"a": X, "b": (X, 1)}, {"a": sharding, "b": SingleDeviceSharding(nr.device("cpu"))}
    )
    assert placed["a"].committed is nr.devices()[0] and placed["b"][1].committed is nr.device("cpu")
    assert str(jax.sharding.PartitionSpec("data", None)) == str(PartitionSpec("data", None))
    with nr.set_mesh(mesh):
        assert nr.jit(lambda x: x + 1)(jnp.ones(2))[0] == 2


def test_errors():
    cpu = nr.device("cpu")
    with pytest.raises(ValueError, match="Mesh: one device and a name for each axis"):
        Mesh(np.array([cpu, cpu]), ("data",))
    with pytest.raises(ValueError, match="Mesh: one device and a name for each axis"):
        Mesh(np.array([cpu]), ("data", "model"))
    with pytest.raises(ValueError, match="make_mesh: extents of 1"):
        nr.make_mesh((2,), ("data",))
    with pytest.raises(ValueError, match='NamedSharding: axes of the mesh.* for "spec", with z'):
        NamedSharding(nr.make_mesh((1,), ("data",)), PartitionSpec("z"))
    with pytest.raises(TypeError, match="with_sharding_constraint: shardings were required"):
        lax.with_sharding_constraint(X, "cpu")
