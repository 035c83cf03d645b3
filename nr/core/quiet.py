"""Silence for NumPy's floating-point reports: nr's arithmetic is IEEE, and says nothing.

`np.errstate` costs more than a small operation. What it does is to set a context variable; here
that variable and its all-ignoring value are found once, and set directly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any

import numpy as np


def _find() -> tuple[ContextVar, Any]:
    before = copy_context()

    def silent() -> Context:
        with np.errstate(all="ignore"):
            return copy_context()

    inside = Context().run(silent)
    for var, value in inside.items():
        if var not in before or before[var] is not value:
            return var, value
    return ContextVar("unused"), None  # a NumPy that does it otherwise: its reports are shown


_STATE, _IGNORE = _find()


# Be silent from now on; give the token that `hush` returns to `unhush`. Functions in C: every
# operation calls them.
hush: Callable[[], Token] = functools.partial(_STATE.set, _IGNORE)
unhush = _STATE.reset
