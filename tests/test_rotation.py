"""Without these, rotations could turn the wrong way, or have no derivative at none."""

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation as Theirs
from scipy.spatial.transform import Slerp as TheirSlerp

import nr
from nr.scipy.spatial.transform import Rotation, Slerp

# Tens of products.
F64 = {"rtol": 1e-11, "atol": 1e-12}
RNG = np.random.default_rng(0)
QUATERNIONS = np.concatenate(
    [
        [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1e-9, 0, 1], [0, 1, 0, 1], [0, 1, 0, -1], [0, 0, -1, 0]],
        [[0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0]],
        RNG.normal(size=(12, 4)),
    ]
)
OURS, THEIRS = Rotation.from_quat(QUATERNIONS), Theirs.from_quat(QUATERNIONS)


@pytest.mark.parametrize(
    "name, options",
    [
        ("as_matrix", {}),
        ("as_mrp", {}),
        ("as_rotvec", {}),
        ("as_rotvec", {"degrees": True}),
        ("as_quat", {"canonical": True}),
        ("as_quat", {"scalar_first": True}),
        ("magnitude", {}),
    ],
)
def test_other_forms(name, options):
    wanted = getattr(THEIRS, name)(**options)
    np.testing.assert_allclose(getattr(OURS, name)(**options), wanted, **F64)
    np.testing.assert_allclose(getattr(OURS[3], name)(**options), wanted[3], **F64)
    jitted = nr.jit(lambda r: getattr(r, name)(**options))(OURS)
    np.testing.assert_allclose(jitted, wanted, **F64)


@pytest.mark.parametrize("form", ["matrix", "rotvec", "mrp", "quat"])
def test_from_other_forms(form):
    data = getattr(THEIRS, f"as_{form}")()
    back = getattr(Rotation, f"from_{form}")(data)
    np.testing.assert_allclose(back.as_matrix(), THEIRS.as_matrix(), **F64)


@pytest.mark.filterwarnings("ignore:Gimbal lock")
@pytest.mark.parametrize(
    "seq", ["".join(s) for s in itertools.product("xyz", repeat=3) if s[0] != s[1] != s[2]]
)
def test_euler_angles(seq):
    for axes in (seq, seq.upper()):
        got, wanted = np.asarray(OURS.as_euler(axes)), THEIRS.as_euler(axes)
        gap = np.abs(got - wanted)
        # 1e-7: where two axes coincide, angles are as exact as the root of rounding errors
        assert np.minimum(gap, np.abs(gap - 2 * np.pi)).max() < 1e-7
        angles = RNG.uniform(-170, 170, (4, 3))
        np.testing.assert_allclose(
            Rotation.from_euler(axes, angles, degrees=True).as_matrix(),
            Theirs.from_euler(axes, angles, degrees=True).as_matrix(),
            **F64,
        )


@pytest.mark.parametrize("seq, angles", [("x", 0.3), ("Y", [0.3]), ("xy", [0.1, 0.2])])
def test_fewer_axes(seq, angles):
    ours, theirs = Rotation.from_euler(seq, angles), Theirs.from_euler(seq, angles)
    assert ours.quat.shape == theirs.as_quat().shape
    np.testing.assert_allclose(ours.as_matrix(), theirs.as_matrix(), atol=1e-6)


def test_products_and_vectors():
    product, wanted = OURS[3:9] * OURS[:6], THEIRS[3:9] * THEIRS[:6]
    np.testing.assert_allclose(product.as_matrix(), wanted.as_matrix(), **F64)
    vectors = RNG.normal(size=(len(OURS), 3))
    np.testing.assert_allclose(OURS.apply(vectors), THEIRS.apply(vectors), **F64)
    np.testing.assert_allclose(
        OURS.apply(vectors[0], inverse=True), THEIRS.apply(vectors[0], inverse=True), **F64
    )
    np.testing.assert_allclose((OURS * OURS.inv()).as_matrix(), [np.eye(3)] * len(OURS), atol=1e-12)
    weights = RNG.uniform(size=len(OURS))
    for w in (None, weights):
        np.testing.assert_allclose(OURS.mean(w).as_matrix(), THEIRS.mean(w).as_matrix(), **F64)
    both = Rotation.concatenate([OURS[0], OURS[2:4]])
    np.testing.assert_allclose(both.quat, OURS.quat[np.array([0, 2, 3])], **F64)
    assert OURS[0].single and not OURS.single


def test_random_rotations_are_uniform():
    turns = Rotation.random(nr.random.key(0), 4000)
    np.testing.assert_allclose(np.linalg.norm(turns.quat, axis=-1), 1, rtol=1e-6)
    # means of 4000 numbers of variance 1/3: five standard deviations
    assert np.abs(np.asarray(turns.as_matrix()).mean(0)).max() < 5 * np.sqrt(1 / 3 / 4000)
    assert Rotation.random(nr.random.key(1)).single
    assert Rotation.identity(3).quat.shape == (3, 4) and Rotation.identity().single


def test_slerp():
    times = np.sort(RNG.uniform(size=5))
    at = np.linspace(times[0], times[-1], 9)
    ours, theirs = Slerp.init(times, OURS[8:13]), TheirSlerp(times, THEIRS[8:13])
    np.testing.assert_allclose(ours(at).as_matrix(), theirs(at).as_matrix(), **F64)
    np.testing.assert_allclose(nr.jit(lambda s, t: s(t))(ours, at[3]).as_matrix(),
                               theirs(at[3]).as_matrix(), **F64)  # fmt: skip


def test_derivatives_at_no_rotation():
    zero = np.zeros(3)
    slope = nr.jacrev(lambda v: Rotation.from_rotvec(v).as_rotvec())(zero)
    np.testing.assert_allclose(slope, np.eye(3), atol=1e-12)
    matrix = nr.jacfwd(lambda v: Rotation.from_rotvec(v).as_matrix())(zero)
    np.testing.assert_allclose(matrix[2, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(matrix[1, 2], [-1, 0, 0], atol=1e-12)


def test_errors():
    with pytest.raises(ValueError, match=r"Rotation.from_quat: an array \[4\] or \[k, 4\]"):
        Rotation.from_quat(np.ones(3))
    with pytest.raises(ValueError, match='letters of "xyz"'):
        Rotation.from_euler("xY", np.ones(2))
    with pytest.raises(ValueError, match="neighbouring axes must differ; got 'xxy'"):
        Rotation.from_euler("xxy", np.ones(3))
    with pytest.raises(ValueError, match="three axes were expected"):
        OURS.as_euler("xy")
    with pytest.raises(TypeError, match="a single rotation has no length"):
        len(OURS[0])
    with pytest.raises(ValueError, match="Slerp.init: two rotations or more"):
        Slerp.init(np.zeros(1), OURS[:1])
