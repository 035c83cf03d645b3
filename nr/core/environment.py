"""What nr runs on, in words: for reports of bugs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from nr.core import devices


def print_environment_info(return_string: bool = False) -> str | None:
    """Print the versions of nr, Python and the libraries below it, and the devices.

    Args:
        return_string: give the text back in place of printing it.
    """
    lines = {"nr": sys.modules["nr"].__version__}
    for package in ("numpy", "llvmlite", "ml_dtypes", "opt_einsum", "scipy-openblas32"):
        lines[package] = importlib.metadata.version(package)
    lines["python"] = sys.version
    lines["devices"] = str(devices.devices())
    lines["platform"] = platform.platform()
    text = "\n".join([f"{name}: {value}" for name, value in lines.items()])
    if return_string:
        return text
    print(text)
    return None
