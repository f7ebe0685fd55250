"""Reads IDX files, the format of MNIST and Fashion-MNIST."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from resnet_alexnet.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
_UINT8 = 0x08  # third byte of an IDX magic number; the fourth is the number of dimensions


def read_idx(path: Path, *, ndim: int) -> UInt8[np.ndarray, "..."]:
    """Reads one IDX file of unsigned bytes, plain or gzipped (detected from its content).

    Args:
        path: the file.
        ndim: required number of dimensions: 3 for images, 1 for labels.

    Raises:
        InputError: the file is missing or unreadable, is not an IDX file of bytes with `ndim` dimensions, or its length
            does not match its header.

    Source: the file format section of the MNIST database's page (Y. LeCun).
    """
    data = _read_bytes(path)
    header_bytes = 4 + 4 * ndim
    magic = bytes((0, 0, _UINT8, ndim))
    if data[:4] != magic:
        raise InputError(
            f"{path} is not an IDX file of bytes with {ndim} dimensions: it starts with 0x{data[:4].hex()}, "
            f"not 0x{magic.hex()}; put the published file there"
        )
    if len(data) < header_bytes:
        raise InputError(f"{path} is cut off inside its header ({len(data)} bytes): copy or download it again")
    shape = struct.unpack(f">{ndim}I", data[4:header_bytes])
    found, expected = len(data) - header_bytes, math.prod(shape)
    if found != expected:
        state = "cut off" if found < expected else "too long"
        raise InputError(
            f"{path} is {state}: its header says {'x'.join(map(str, shape))} = {expected:,} bytes, "
            f"but it has {found:,}; copy or download it again"
        )
    return np.frombuffer(data, np.uint8, offset=header_bytes).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    """Returns the content of `path`, decompressed if it is gzipped."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}): copy or download it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
