"""The IDX file format: arrays as a short big-endian header followed by the raw items.

The format is the one in which MNIST was published (Y. LeCun, C. Cortes, C. J. C. Burges,
"The MNIST database of handwritten digits", 1998): two zero bytes, a type code, the number of
dimensions, one 32-bit extent a dimension, then the items in row-major order.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_GZIP_MAGIC = b"\x1f\x8b"
_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file, gzipped or plain, into an array.

    Args:
        path: the file; gzip is recognized by its content, not by the name.

    Returns:
        A writable array in native byte order, of the type and shape the header states.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not IDX, or is shorter or longer than its header says.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp(), "pair.idx")
        >>> _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        >>> read_idx(file)
        array([7, 9], dtype=uint8)
    """
    return parse_idx(read_maybe_gzipped(path), source=str(path))


def read_maybe_gzipped(path: str | os.PathLike[str]) -> bytes:
    """Return a file's bytes, decompressed if they are gzip.

    Raises:
        ValueError: if the file starts as gzip but is damaged or cut short.
    """
    content = Path(path).read_bytes()
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f'read_idx: a complete gzip file was required; "{path}" is damaged ({error}). '
            "Delete the file and fetch it again."
        ) from error


def parse_idx(content: bytes, *, source: str) -> npt.NDArray[Any]:
    """Parse the bytes of an uncompressed IDX file.

    Args:
        content: the whole file.
        source: what to call it in error messages.

    Raises:
        ValueError: as for `read_idx`.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        codes = ", ".join(f"0x{code:02x}" for code in _DTYPES)
        raise ValueError(
            f"read_idx: an IDX file begins with two zero bytes, a type code ({codes}) and the "
            f'number of dimensions; got {content[:4].hex(" ") or "no bytes"} in "{source}". '
            "Check that the file is what its name says."
        )
    dtype, ndim = _DTYPES[content[2]], content[3]
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(
            f"read_idx: a header of {ndim} dimensions has {start} bytes; "
            f'"{source}" has {len(content)} in all. Fetch the file again.'
        )
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    required = math.prod(shape) * dtype.itemsize
    if len(content) - start != required:
        raise ValueError(
            f"read_idx: {dtype.newbyteorder('=').name} items of shape {shape} fill {required} "
            f'bytes; "{source}" holds {len(content) - start}. Fetch the file again.'
        )
    items = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return items.astype(dtype.newbyteorder("="))
