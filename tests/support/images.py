"""Made-up photographs, and the files that hold them."""

import io
import zlib

import numpy as np
from PIL import Image


def photograph(height=40, width=60, channels=3, seed=0):
    """A smooth color image with some noise, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, channels), np.uint8)
    image = np.stack(
        [
            np.asarray(Image.fromarray(coarse[..., c]).resize((width, height), Image.Resampling.BICUBIC))
            for c in range(channels)
        ],
        axis=-1,
    )
    return np.clip(image.astype(int) + rng.integers(-5, 6, image.shape), 0, 255).astype(np.uint8)


def encode(image, kind="JPEG", **options):
    """The bytes of an array, or of a Pillow image, in a file format."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png(header, *chunks):
    """A PNG of chunks, (kind, content), between those that every PNG begins and ends with."""

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in ((b"IHDR", header), *chunks, (b"IEND", b"")))


def png_of_size(width, height):
    """The first bytes of a PNG that claims to be this large: a decompression bomb costs its maker nothing."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return png(header, (b"IDAT", zlib.compress(b"\0" * 100)))
