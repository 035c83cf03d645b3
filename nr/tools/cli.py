"""The console script ``nr``."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence

_DEPENDENCIES = ("numpy", "llvmlite", "opt-einsum", "ml_dtypes", "scipy-openblas32")
_OPTIONAL = ("cupy-cuda12x", "cupy-cuda13x", "matplotlib", "tqdm", "jax", "torch")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``nr`` command.

    Args:
        argv: the arguments after the program's name; ``sys.argv[1:]`` by default.

    Returns:
        The exit status: 0 for success.
    """
    parser = argparse.ArgumentParser(prog="nr", description="Tools of the nr library.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, devices, threads and cache directories")
    commands.add_parser(
        "demo",
        help="train a classifier on real images and draw the result (nr demo --help)",
        add_help=False,
    )
    options, rest = parser.parse_known_args(argv)
    if options.command == "demo":
        return _demo(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return _info()


def _info() -> int:
    import nr
    from nr.data import cache_dir

    print(f"nr         {_version('nr') or 'not installed (run from its source tree)'}")
    print(f"python     {platform.python_version()} on {platform.platform()}")
    for name in (*_DEPENDENCIES, *_OPTIONAL):
        version = _version(name)
        if version or name in _DEPENDENCIES:
            print(f"  {name:<18} {version or 'MISSING'}")
    print(f"devices    {', '.join(str(device) for device in nr.devices())}")
    print(f"cores      {_usable_cores()} usable of {os.cpu_count()}")
    print(f"data cache {cache_dir()}")
    return 0


def _demo(argv: Sequence[str]) -> int:
    from nr.tools import demo

    return demo.main(argv)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _usable_cores() -> int:
    # Containers and batch systems restrict a process to some of the machine's cores.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
