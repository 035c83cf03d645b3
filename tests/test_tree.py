"""Without these a tree could come back changed, in an order not JAX's, or pass a stale guard."""

import dataclasses
import pickle
import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nr.numpy as jnp
from nr import flatten_util, jit, tree, tree_util
from nr.core import trees
from nr.core.trees import (
    Partial,
    broadcast_prefix,
    emit_flatten,
    emit_unflatten,
    flatten_axes,
    keystr,
    make_guarded_flattener,
    prefix_errors,
    tree_flatten,
    tree_flatten_with_path,
    tree_leaves,
    tree_map,
    tree_structure,
    tree_unflatten,
)

Point = namedtuple("Point", "x y")


class Pair:
    """A class registered without keys, with static data."""

    def __init__(self, a: Any, b: Any, tag: Any = None) -> None:
        self.a, self.b, self.tag = a, b, tag

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pair) and vars(self) == vars(other)


tree_util.register_pytree_node(Pair, lambda p: ((p.a, p.b), p.tag), lambda tag, ab: Pair(*ab, tag))


@tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layer:
    w: Any
    b: Any
    name: str = tree.static(default="layer")


@tree_util.register_pytree_with_keys_class
@dataclasses.dataclass
class Keyed:
    value: Any

    def tree_flatten_with_keys(self):
        return ((tree_util.GetAttrKey("value"), self.value),), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


@tree_util.register_pytree_node_class
@dataclasses.dataclass
class Box:
    value: Any

    def tree_flatten(self):
        return iter((self.value,)), "box"

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


@tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Mode:
    train: bool


EXAMPLES = {
    "leaf": 1,
    "none": None,
    "tuple": (1, (), (2,)),
    "list": [1, [], [2]],
    "dict": {"b": 1, "a": {}, "c": {2: 3}},
    "ordered": OrderedDict([("b", 1), ("a", (2,))]),
    "default": defaultdict(list, {"b": 1, "a": [2]}),
    "named": Point(1, Point(2, None)),
    "custom": Pair(1, [2], tag="t"),
    "dataclass": Layer(1, {"x": 2}, name="first"),
    "keyed": Keyed((1, 2)),
    "box": Box((1, 2)),
    "static": (Mode(True), 1),
    "partial": (Partial(max, 1, key=None), 2),
}

keys = st.text("abc", max_size=2)


def containers(inner: st.SearchStrategy) -> st.SearchStrategy:
    dicts = st.dictionaries(keys, inner, max_size=3)
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        dicts,
        dicts.map(lambda d: OrderedDict(reversed(d.items()))),
        dicts.map(lambda d: defaultdict(int, d)),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner, st.sampled_from(["t", None])),
        st.builds(Layer, inner, inner, st.sampled_from(["p", "q"])),
    )


any_tree = st.recursive(
    st.one_of(st.integers(), st.none(), st.text("xy")), containers, max_leaves=8
)


def same(a: Any, b: Any) -> bool:
    """Equal in values, in container types, and in the order of ordered containers."""
    return type(a) is type(b) and a == b and tree_structure(a) == tree_structure(b)


def rebuild_by_code(treedef, leaves):
    namespace = {"leaves": leaves}
    source = emit_unflatten(treedef, [f"leaves[{i}]" for i in range(len(leaves))], namespace)
    return eval(source, namespace)


# ------------------------------------------------------------------ round trips
@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind != "partial"])
def test_round_trip(kind):
    example = EXAMPLES[kind]
    leaves, treedef = tree_flatten(example)
    assert same(tree_unflatten(treedef, leaves), example)
    assert same(rebuild_by_code(treedef, leaves), example)
    assert make_guarded_flattener(treedef)(example) == tuple(leaves)


def test_leaves_are_in_order_and_other_types_are_leaves():
    class MyDict(dict):
        pass

    assert tree_leaves({"b": [2, (3, None)], "a": 1}) == [1, 2, 3]
    assert tree_leaves(OrderedDict(b=1, a=2)) == [1, 2]
    assert tree_leaves(defaultdict(int, b=1, a=2)) == [2, 1]
    assert tree_leaves(MyDict(a=1)) == [{"a": 1}]
    assert tree_leaves([{1, 2}, "text"]) == [{1, 2}, "text"]
    assert tree_map(lambda x: x, defaultdict(list, a=1)).default_factory is list


@settings(max_examples=150, deadline=None)
@given(any_tree)
def test_generic_and_generated_code_agree(example):
    leaves, treedef = tree_flatten(example)
    assert treedef.num_leaves == len(leaves)
    assert same(tree_unflatten(treedef, leaves), example)
    assert same(rebuild_by_code(treedef, leaves), example)
    assert make_guarded_flattener(treedef)(example) == tuple(leaves)
    pairs, with_path = tree_flatten_with_path(example)
    assert with_path == treedef
    assert [leaf for _, leaf in pairs] == leaves
    assert len({keystr(path) for path, _ in pairs}) == len(leaves)
    assert treedef.flatten_up_to(example) == leaves
    assert hash(treedef) == hash(tree_structure(tree_unflatten(treedef, [object()] * len(leaves))))


@settings(max_examples=150, deadline=None)
@given(any_tree, any_tree)
def test_guard_accepts_exactly_the_trees_of_its_structure(first, second):
    accepted = make_guarded_flattener(tree_structure(first))(second) is not None
    assert accepted == (tree_structure(first) == tree_structure(second))


# ------------------------------------------------------------------ generated code
@pytest.mark.parametrize(
    ("expected", "other"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, OrderedDict(a=1)),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (defaultdict(int, a=1), defaultdict(list, a=1)),
        (defaultdict(int, a=1), defaultdict(int, b=1)),
        ((1, 2), (1, 2, 3)),
        ((1, 2), [1, 2]),
        (Point(1, 2), (1, 2)),
        (Layer(1, 2, "p"), Layer(1, 2, "q")),
        (Pair(1, 2, "t"), Pair(1, 2, "u")),
        ((1, None), (1, 2)),
        ((1, 2), (1, None)),
        ((1, 2), (1, (2,))),
        (Mode(True), Mode(False)),
    ],
)
def test_guard_refuses(expected, other):
    flatten = make_guarded_flattener(tree_structure(expected))
    assert flatten(expected) == tuple(tree_leaves(expected))
    assert flatten(other) is None
    if isinstance(other, defaultdict):
        assert len(other) == 1, "a guard must not insert defaults"


def test_guards_of_two_variables_share_a_namespace():
    namespace = {}
    lines, a = emit_flatten(tree_structure(Layer(1, Pair(2, 3))), "x", namespace)
    more, b = emit_flatten(tree_structure([Layer(1, 2)]), "y", namespace)
    source = emit_unflatten(tree_structure([0] * 5), [*a, *b], namespace)
    body = "".join([f"    {line}\n" for line in [*lines, *more, f"return {source}"]])
    exec(f"def both(x, y):\n{body}", namespace)
    assert namespace["both"](Layer(1, Pair(2, 3)), [Layer(4, 5)]) == [1, 2, 3, 4, 5]
    assert sum(value is Layer for value in namespace.values()) == 1


def test_leaf_guard_lines_are_used():
    flatten = make_guarded_flattener(
        tree_structure((0, 0)), lambda i, name: [f"if type({name}) is not int: return None"]
    )
    assert flatten((1, 2)) == (1, 2)
    assert flatten((1, 2.0)) is None


def test_dataclass_guard_reads_attributes_only():
    lines, _ = emit_flatten(tree_structure(Layer(1, 2)), "t", {})
    assert any(line.endswith("= t.w") for line in lines)
    assert not any("(t)" in line.replace("type(t)", "") for line in lines)


def test_deep_trees_and_odd_keys_compile():
    deep = 1
    for _ in range(150):
        deep = {"next": (deep,)}
    odd = {float("inf"): 1, 2.5: 2}
    for example in (deep, odd, {(1, "a"): 1}, {"it's \n": 1}, {-1: 1, True: 2}):
        leaves, treedef = tree_flatten(example)
        assert same(rebuild_by_code(treedef, leaves), example)
        assert make_guarded_flattener(treedef)(example) == tuple(leaves)


def test_emit_unflatten_counts_leaves():
    with pytest.raises(ValueError, match=r"required 2 leaf expressions .* got 1"):
        emit_unflatten(tree_structure((1, 2)), ["x"], {})


# ------------------------------------------------------------------ PyTreeDef
def test_treedef_value_semantics():
    a, b = tree_structure(Layer(1, {"x": 2})), tree_structure(Layer(3, {"x": 4}))
    assert a == b and hash(a) == hash(b) and {a: 1}[b] == 1
    assert a != tree_structure(Layer(1, {"x": 2}, "other"))
    assert tree_structure([1]) != tree_structure((1,)) and a != 3
    with pytest.raises(AttributeError):
        a.num_leaves = 3
    assert pickle.loads(pickle.dumps(a)) == a


def test_treedef_with_unhashable_aux_hashes_and_compares():
    first, second = (
        tree_structure(Pair(1, 2, [3])),
        tree_structure((Pair(1, 2, [3]),)).children()[0],
    )
    assert first == second and hash(first) == hash(second)
    assert first != tree_structure(Pair(1, 2, [4]))


def test_treedef_parts():
    treedef = tree_structure({"b": (1, 2), "a": None})
    assert (treedef.num_leaves, treedef.num_nodes) == (2, 5)
    assert treedef.children() == [tree_structure(None), tree_structure((0, 0))]
    assert treedef.node_data() == (dict, ["a", "b"])
    assert tree_structure(1).node_data() is None and tree_structure(1).is_leaf
    assert trees.treedef_is_leaf(tree_structure(())) and not tree_structure(()).is_leaf
    assert trees.treedef_tuple([tree_structure(1), treedef]) == tree_structure(
        (0, {"b": (1, 2), "a": None})
    )
    composed = tree_structure((0, 0)).compose(tree_structure([0]))
    assert composed == tree_structure(([1], [2])) and composed.num_leaves == 2
    assert trees.build_tree(tree_structure((0, {"a": 0})), [[1], [2]]) == ([1], {"a": 2})
    with pytest.raises(ValueError, match="required 2 items .* got 1"):
        trees.build_tree(tree_structure((0, 0)), [1])


def test_unflatten_counts_leaves():
    treedef = tree_structure((1, 2))
    assert treedef.unflatten(iter([3, 4])) == (3, 4)
    for leaves in ([1], [1, 2, 3]):
        with pytest.raises(ValueError, match=rf"required 2 leaves .* got {len(leaves)}"):
            treedef.unflatten(leaves)
    with pytest.raises(TypeError, match="first argument must be a PyTreeDef"):
        tree_unflatten([1, 2], treedef)


# ------------------------------------------------------------------ registration
def test_registration_errors():
    with pytest.raises(ValueError, match="registered pytree node already"):
        tree_util.register_pytree_node(Pair, lambda p: ((), None), lambda aux, ch: None)
    with pytest.raises(ValueError, match="registered pytree node already"):
        tree_util.register_static(dict)
    with pytest.raises(TypeError, match="flatten_func must be callable"):
        tree_util.register_pytree_node(type("New", (), {}), None, None)

    @dataclasses.dataclass
    class Fields:
        w: int
        z: int

    with pytest.raises(ValueError, match=r"lacks \['z'\]"):
        tree_util.register_dataclass(Fields, ["w"], [])
    with pytest.raises(ValueError, match=r"names \['k'\]"):
        tree_util.register_dataclass(Fields, ["w", "k"], ["z"])
    with pytest.raises(ValueError, match=r"got \['w'\] twice"):
        tree_util.register_dataclass(Fields, ["w"], ["w", "z"])
    with pytest.raises(TypeError, match="both be given"):
        tree_util.register_dataclass(Fields, ["w"])
    with pytest.raises(TypeError, match="not a dataclass"):
        tree_util.register_dataclass(type("Plain", (), {}))


def test_register_dataclass_drop_fields_and_plain_class():
    @dataclasses.dataclass
    class Cached:
        w: int
        cache: int = 0

    tree_util.register_dataclass(Cached, ["w"], [], drop_fields=["cache"])
    assert tree_map(lambda x: x + 1, Cached(1, cache=5)) == Cached(2, cache=0)

    class Plain:
        def __init__(self, *, a, b):
            self.a, self.b = a, b

    tree_util.register_dataclass(Plain, ["a"], ["b"])
    out = tree_map(lambda x: x + 1, Plain(a=1, b=2))
    assert (out.a, out.b) == (2, 2)


def test_partial():
    f = Partial(lambda x, y, z=0: (x, y, z), 1, z=3)
    assert tree_leaves(f) == [1, 3]
    assert tree_map(lambda v: v * 10, f)(2) == (10, 2, 30)
    outer = Partial(f, 2)
    assert tree_leaves(outer) == [2] and outer() == (1, 2, 3)
    assert tree_structure(outer) == tree_structure(Partial(f, 5))
    assert tree_map(lambda v: v + 1, outer)() == (1, 3, 3)
    leaves, treedef = tree_flatten(EXAMPLES["partial"])
    assert make_guarded_flattener(treedef)(EXAMPLES["partial"]) == tuple(leaves)


def test_unsortable_keys():
    for flatten in (tree_flatten, tree_flatten_with_path):
        with pytest.raises(ValueError, match="must be sortable; got keys of types int, str"):
            flatten({1: 1, "a": 2})
    assert tree_leaves(OrderedDict([(1, 1), ("a", 2)])) == [1, 2]


# ------------------------------------------------------------------ functions
def test_map_takes_prefixes_and_is_leaf():
    assert tree.map(lambda x, y: (x, y), {"a": 1}, {"a": [2, 3]}) == {"a": (1, [2, 3])}
    assert tree.map(lambda x: x is None, [1, None], is_leaf=lambda x: x is None) == [False, True]
    out = tree.map(lambda a, b: a + b, [(1,), 2], [(3,), 4], is_leaf=lambda x: type(x) is tuple)
    assert out == [(1, 3), 6]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            {"w": [1, (1, 2)]},
            {"w": [1, [1, 2, 3]]},
            "tree_map: trees must have the same structure; at ['w'][1] got tuple of 2 in the "
            "first tree and list of 3 in tree 2.",
        ),
        (
            {"a": 1, "b": 2},
            {"a": 1, "c": 2},
            "at the root got dict of 2 in the first tree and dict of 2 in tree 2. "
            "Only in the first tree: 'b'. Only in tree 2: 'c'.",
        ),
        (Layer(1, [2]), Layer(1, 2), "at .b got list of 1 in the first tree and a leaf in tree 2."),
        (Layer(1, 2), Layer(1, 2, "q"), "Layer of 2 with static data ('layer',) in the first"),
        ((1, None), (1, 2), "at [1] got None in the first tree and a leaf in tree 2. None is an"),
        ((1, Point(1, 2)), (1, (1, 2)), "at [1] got Point in the first tree and tuple of 2 in"),
    ],
)
def test_map_mismatch_names_place_and_both_sides(first, second, message):
    with pytest.raises(ValueError) as err:
        tree_map(lambda *xs: xs, first, second)
    assert message in str(err.value)
    with pytest.raises(ValueError, match="tree_map_with_path: .* in tree 3"):
        tree.map_with_path(lambda *xs: xs, first, first, second)
    with pytest.raises(ValueError, match="flatten_up_to: "):
        tree_structure(first).flatten_up_to(second)


def test_reduce_all_transpose():
    assert tree.reduce(lambda x, y: x + y, (1, [2, 3])) == 6
    assert tree.reduce(lambda x, y: x + y, (), 5) == 5
    assert tree.reduce(lambda x, y: x, (1,), None) is None
    with pytest.raises(TypeError, match="needs an initializer"):
        tree.reduce(lambda x, y: x + y, ())
    assert tree.reduce_associative(lambda x, y: (x, y), [1, 2, 3, 4, 5]) == ((1, 2), (3, (4, 5)))
    assert tree.reduce_associative(min, [], identity=0) == 0
    with pytest.raises(TypeError, match="needs an identity"):
        tree.reduce_associative(min, [])
    assert tree.all(()) and not tree.all([True, 0])
    outer, inner = tree_structure((0, 0)), tree_structure({"a": 0, "b": 0})
    value = ({"a": 1, "b": 2}, {"a": 3, "b": 4})
    assert tree.transpose(outer, inner, value) == {"a": (1, 3), "b": (2, 4)}
    assert tree.transpose(outer, None, value) == {"a": (1, 3), "b": (2, 4)}
    with pytest.raises(TypeError, match="tree_transpose: required the structure"):
        tree.transpose(outer, inner, value[:1])
    assert trees.all_leaves([1, "a"]) and not trees.all_leaves([1, None])
    assert trees.all_leaves([None], is_leaf=lambda x: x is None)


def test_key_paths():
    example = {"p": Point(1, Pair(2, 3)), "l": [Layer(4, Keyed(5))]}
    names = [keystr(path) for path, _ in tree.leaves_with_path(example)]
    flat = ["['p'].y[<flat index 0>]", "['p'].y[<flat index 1>]"]
    assert names == ["['l'][0].w", "['l'][0].b.value", "['p'].x", *flat]
    simple = [keystr(p, simple=True, separator="/") for p, _ in tree.leaves_with_path(example)]
    assert simple == ["l/0/w", "l/0/b/value", "p/x", "p/y/0", "p/y/1"]
    seen = tree.map_with_path(
        lambda path, x, y: (keystr(path), x + y), [1, {"a": 2}], [3, {"a": 4}]
    )
    assert seen == [("[0]", 4), {"a": ("[1]['a']", 6)}]
    one_deep = tree.leaves_with_path(
        [1, (2, 3)], is_leaf=lambda path, x: len(path) == 1, is_leaf_takes_path=True
    )
    assert [leaf for _, leaf in one_deep] == [1, (2, 3)]


# ------------------------------------------------------------------ prefixes
def test_broadcast_and_prefix_errors():
    full = {"a": (1, [2, 3]), "b": None}
    assert broadcast_prefix({"a": (7, 8), "b": 9}, full) == [7, 8, 8]
    assert tree.broadcast(0, full) == {"a": (0, [0, 0]), "b": None}
    assert prefix_errors({"a": 0, "b": 0}, full) == []
    found = prefix_errors({"a": (1, [2]), "b": (3,)}, full)
    assert [str(error("in_axes")) for error in found] == [
        "in_axes: must be a tree prefix of the value; at in_axes['a'][1] got list of 1 in in_axes "
        "and list of 2 in the value.",
        "in_axes: must be a tree prefix of the value; at in_axes['b'] got tuple of 1 in in_axes "
        "and None in the value.",
    ]
    with pytest.raises(ValueError, match=r"at prefix_tree\['a'\] got list of 2"):
        broadcast_prefix({"a": [1, 2], "b": 0}, full)
    assert broadcast_prefix((None, 1), ((1, 2), 3), is_leaf=lambda x: x is None) == [None, None, 1]


def test_flatten_axes():
    treedef = tree_structure((1, (2, 3), None))
    assert flatten_axes("in_axes", treedef, None) == [None] * 3
    assert flatten_axes("in_axes", treedef, (None, (0, 1), None)) == [None, 0, 1]
    with pytest.raises(ValueError) as err:
        flatten_axes("in_axes", treedef, (0, (0, 1, 2), None))
    for part in ("in_axes[1] got tuple of 3", "tuple of 2 in the value", "(*, (*, *, *), *)"):
        assert part in str(err.value)
    assert repr(treedef) in str(err.value)
    with pytest.raises(ValueError, match=r"at in_axes got list of 3 in in_axes and tuple of 3"):
        flatten_axes("in_axes", treedef, [0, 0, 0])


# ------------------------------------------------------------------ JAX
@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.one_of(st.integers(), st.none()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
            st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
            st.dictionaries(keys, inner, max_size=3).map(lambda d: defaultdict(int, d)),
            st.builds(Point, inner, inner),
        ),
        max_leaves=8,
    )
)
def test_parity_with_jax(example):
    jax = pytest.importorskip("jax")
    leaves, treedef = tree_flatten(example)
    ref_leaves, ref = jax.tree_util.tree_flatten(example)
    assert leaves == ref_leaves
    assert repr(treedef) == repr(ref)
    assert (treedef.num_leaves, treedef.num_nodes) == (ref.num_leaves, ref.num_nodes)
    assert treedef.node_data() == ref.node_data()
    ref_pairs = jax.tree_util.tree_flatten_with_path(example)[0]
    pairs = tree.leaves_with_path(example)
    assert [(repr(p), keystr(p)) for p, _ in pairs] == [
        (repr(p), jax.tree_util.keystr(p)) for p, _ in ref_pairs
    ]
    assert [keystr(p, simple=True, separator="/") for p, _ in pairs] == [
        jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in ref_pairs
    ]


def test_names_cover_jax():
    jax = pytest.importorskip("jax")
    ours = set(tree_util.__all__)
    theirs = {name for name in dir(jax.tree_util) if not name.startswith("_")}
    assert theirs <= ours
    assert {name for name in dir(jax.tree) if not name.startswith("_")} <= set(tree.__all__)


def test_core_trees_imports_nothing_heavy():
    code = (
        "import sys, importlib.util as u, types, pathlib\n"
        "for name in ('nr', 'nr.core'):\n"
        "    pkg = types.ModuleType(name); pkg.__path__ = [name.replace('.', '/')]\n"
        "    sys.modules[name] = pkg\n"
        "import nr.core.trees\n"
        "print(sorted({'numpy', 'numba', 'jax'} & set(sys.modules)))"
    )
    root = trees.__file__.rsplit("/nr/", 1)[0]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert out.stdout.strip() == "[]", out.stderr


def test_flatten_keeps_no_leaf_alive():
    import gc
    import weakref

    class Leaf:
        pass

    leaf = Leaf()
    ref = weakref.ref(leaf)
    gc.disable()
    try:
        tree_map(lambda x: x, {"a": (leaf, [leaf])})
        tree_flatten_with_path([leaf])
        del leaf
        assert ref() is None
    finally:
        gc.enable()


def test_the_registry_takes_nodes_apart():
    registry = tree_util.default_registry
    assert registry.flatten_one_level({"b": 1, "a": (2, 3)}) == (((2, 3), 1), ("a", "b"))
    assert registry.flatten_one_level(None) == ((), None)
    assert registry.flatten_one_level(3) is None and registry.flatten([1])[0] == [1]


def test_functions_that_undo_ravel_pytree_can_be_static_arguments():
    ravel_pytree = flatten_util.ravel_pytree
    params = {"a": jnp.ones(2), "b": jnp.zeros((1, 2))}
    run = jit(lambda unravel, flat: unravel(flat), static_argnums=0)
    for scale in (1.0, 2.0):
        flat, unravel = ravel_pytree(tree.map(lambda x, s=scale: x * s, params))
        assert run(unravel, flat)["a"].tolist() == [scale, scale]
    assert run._cache_size() == 1
    assert ravel_pytree([])[1](jnp.zeros(0)) == []
