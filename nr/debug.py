"""Looking into running programs: ``nr.debug.print``, ``nr.debug.log``, ``nr.debug.callback``."""

from nr.transforms.callbacks import debug_callback as callback
from nr.transforms.callbacks import debug_log as log
from nr.transforms.callbacks import debug_print as print  # noqa: A004 - JAX's name

__all__ = ["callback", "log", "print"]
