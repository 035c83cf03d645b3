"""Without this, the cache on disk could return damaged or foreign code, or grow without end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nr
from nr.backends.cpu import object_cache

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache in a folder of its own, and the settings of before afterwards."""
    monkeypatch.setattr(object_cache, "_settings", None)
    monkeypatch.setattr(object_cache, "_counts", {"hits": 0, "misses": 0, "writes": 0})
    monkeypatch.setenv("NR_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("NR_CACHE", "NR_CACHE_MAX_BYTES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def fresh():
    """Forgets what was read of the environment."""
    object_cache._settings = None


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def fill(n, size=1000):
    keys = [object_cache.key("fill", str(i)) for i in range(n)]
    for i, key in enumerate(keys):
        object_cache.put(key, bytes([i % 256]) * size)
        path = object_cache._file(object_cache.directory(), key)
        if os.path.exists(path):
            os.utime(path, (time.time() - 1000 + i,) * 2)  # the first is the oldest
    return keys


def test_keeps_objects(folder):
    key = object_cache.key("a", "b")
    assert object_cache.get(key) is None
    assert not folder.exists()  # reading creates nothing
    object_cache.put(key, b"code")
    assert object_cache.get(key) == b"code"
    info = nr.cache.info()
    assert (info.hits, info.misses, info.writes) == (1, 1, 1)
    assert (info.path, info.enabled, info.entries, info.reason) == (folder, True, 1, "")
    assert info.bytes == sum(path.stat().st_size for path in files(folder))


def test_keys_tell_parts_apart():
    key = object_cache.key
    assert (
        len({key("ab", "c"), key("a", "bc"), key("abc"), key("c", "ab"), key("ab", "c", "")}) == 5
    )


def test_only_the_user_may_read_or_write(folder):
    object_cache.put(object_cache.key("a"), b"code")
    for path in [folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
        lambda data: b"\0" * len(data),
    ],
)
def test_damaged_file(folder, damage):
    key = object_cache.key("a")
    object_cache.put(key, b"some code")
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))
    assert object_cache.get(key) is None
    assert files(folder) == []
    object_cache.put(key, b"some code")
    assert object_cache.get(key) == b"some code"


def test_object_under_a_wrong_name(folder):
    key, other = object_cache.key("a"), object_cache.key("b")
    object_cache.put(key, b"code")
    target = Path(object_cache._file(folder, other))
    target.parent.mkdir(exist_ok=True)
    files(folder)[0].rename(target)
    assert object_cache.get(other) is None


def test_file_that_others_may_write(folder):
    key = object_cache.key("a")
    object_cache.put(key, b"code")
    files(folder)[0].chmod(0o622)
    assert object_cache.get(key) is None


def test_directory_that_others_may_write(folder):
    folder.mkdir()
    folder.chmod(0o777)
    object_cache.put(object_cache.key("a"), b"code")
    info = nr.cache.info()
    assert not info.enabled and "everybody may write" in info.reason
    assert files(folder) == []


def test_directory_of_another_user(folder, monkeypatch):
    folder.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    object_cache.put(object_cache.key("a"), b"code")
    assert "belongs to another user" in nr.cache.info().reason
    assert files(folder) == []


def test_directory_that_cannot_be_created(folder):
    folder.parent.joinpath("file").write_text("")
    nr.cache.set_directory(folder.parent / "file" / "cache")
    key = object_cache.key("a")
    object_cache.put(key, b"code")
    assert object_cache.get(key) is None
    info = nr.cache.info()
    assert not info.enabled and "cannot be used" in info.reason


def test_directory_that_cannot_be_written_to(folder, monkeypatch):
    key = object_cache.key("a")
    object_cache.put(key, b"code")

    def fails(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    object_cache.put(object_cache.key("b"), b"code")
    assert len(files(folder)) == 1  # the unfinished file is gone
    assert object_cache.get(key) == b"code"
    info = nr.cache.info()
    assert info.enabled and "No space left" in info.reason


def test_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NR_CACHE", "0")
    fresh()
    assert nr.cache.info().path is None and "NR_CACHE=0" in nr.cache.info().reason
    monkeypatch.delenv("NR_CACHE")
    monkeypatch.setenv("NR_CACHE_DIR", "")
    fresh()
    assert not nr.cache.info().enabled and "NR_CACHE_DIR" in nr.cache.info().reason
    object_cache.put(object_cache.key("a"), b"code")
    assert object_cache.get(object_cache.key("a")) is None
    assert nr.cache.info().misses == 0  # a cache that is off misses nothing
    monkeypatch.delenv("NR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NR_CACHE_MAX_BYTES", "12345")
    fresh()
    assert (nr.cache.info().path, nr.cache.info().limit) == (tmp_path / "nr", 12345)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    fresh()
    inner = "Library/Caches" if sys.platform == "darwin" else ".cache"
    assert nr.cache.info().path == tmp_path / inner / "nr"
    monkeypatch.setenv("NR_CACHE_MAX_BYTES", "lots")
    fresh()
    with pytest.raises(ValueError, match="NR_CACHE_MAX_BYTES must be"):
        nr.cache.info()


def test_clear_and_set_directory(folder, tmp_path):
    fill(3)
    nr.cache.set_directory(tmp_path / "other")
    assert nr.cache.info().entries == 0
    nr.cache.set_directory(folder)
    assert nr.cache.info().entries == 3
    nr.cache.clear()
    assert nr.cache.info().entries == 0 and files(folder) == []


def test_clear_leaves_other_files(folder):
    fill(1)
    (folder / "notes").write_text("mine")
    nr.cache.clear()
    assert files(folder) == [folder / "notes"]


def test_limit(folder):
    nr.cache.set_limit(20_000)
    keys = fill(60)
    assert 10_000 < sum(path.stat().st_size for path in files(folder)) <= 20_000
    assert object_cache.get(keys[-1]) is not None
    assert object_cache.get(keys[0]) is None
    object_cache.put(object_cache.key("large"), b"x" * 30_000)
    assert object_cache.get(object_cache.key("large")) is None
    nr.cache.set_limit(0)
    assert files(folder) == []


def test_used_objects_stay(folder):
    keys = fill(10)
    path = Path(object_cache._file(folder, keys[0]))
    os.utime(path, (time.time() - 10_000,) * 2)
    assert object_cache.get(keys[0]) is not None  # used now
    nr.cache.set_limit(5_000)
    assert object_cache.get(keys[0]) is not None
    assert object_cache.get(keys[1]) is None


def test_set_limit_checks():
    with pytest.raises(TypeError, match="must be an int"):
        nr.cache.set_limit(1.5)
    with pytest.raises(ValueError, match="must not be negative"):
        nr.cache.set_limit(-1)


def test_what_killed_processes_left_goes(folder):
    key = object_cache.key("a")
    object_cache.put(key, b"code")
    for age in (10, 10_000):
        path = Path(f"{object_cache._file(folder, key)}.{age}.tmp")
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    object_cache.evict()
    assert [path.suffix for path in files(folder)] == [".o", ".tmp"]


MANY = """
import sys
from nr.backends.cpu import object_cache as c
for turn in range(60):
    for i in range(8):
        key = c.key(str(i))
        found = c.get(key)
        assert found in (None, bytes([i]) * 5000), i
        if found is None or turn % 3 == 0:
            c.put(key, bytes([i]) * 5000)
    c.evict()
"""


def test_concurrent_processes(folder):
    env = {**os.environ, "NR_CACHE_MAX_BYTES": "30000"}
    started = [
        subprocess.Popen([sys.executable, "-c", MANY], cwd=ROOT, env=env, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    assert all(path.suffix == ".o" for path in files(folder))
    assert nr.cache.info().bytes <= 30_000


COMPILE = """
import ctypes, sys
import nr
from nr.backends.cpu import llvm
text = "define i64 @f(i64 %x) {\\n  %y = mul i64 %x, 3\\n  ret i64 %y\\n}\\n"
(obj,) = llvm.compile_many([text])
loaded = llvm.load(obj, imports={}, exports=["f"])
f = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(loaded.address("f"))
assert f(14) == 42
info = nr.cache.info()
print(llvm.runs(), info.hits, info.misses, info.writes, info.entries)
"""


def compile_in_a_process():
    result = subprocess.run(
        [sys.executable, "-c", COMPILE], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return tuple(map(int, result.stdout.split()))


def test_second_process_does_not_compile(folder):
    assert compile_in_a_process() == (1, 0, 1, 1, 1)
    assert compile_in_a_process() == (0, 1, 0, 0, 1)
    (path,) = files(folder)
    path.write_bytes(path.read_bytes()[:-100])
    assert compile_in_a_process() == (1, 0, 1, 1, 1)  # damaged: compiled again
    assert compile_in_a_process() == (0, 1, 0, 0, 1)
