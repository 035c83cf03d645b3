"""The models of examples/, each a file that is in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def example(name: str) -> ModuleType:
    """The module of ``examples/{name}.py``."""
    known = f"example_{name.replace('/', '_')}"
    if known not in sys.modules:
        spec = importlib.util.spec_from_file_location(known, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[known] = module  # dataclasses look for their module while it runs
        spec.loader.exec_module(module)
    return sys.modules[known]
