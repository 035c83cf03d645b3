"""Exchange with other libraries, which are imported only when something of theirs is made."""

from nr.interop import torch

__all__ = ["torch"]
