import contextlib
import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.images.decode import UnreadableImageError, decode
from resnet_alexnet.data.prepare.recode import Recoding, central_square, recode
from tests.support.archives import encode_kind
from tests.support.images import photograph

SMALL = {kind: encode_kind(photograph(20, 24, seed=1), kind) for kind in ("RGB", "gray", "CMYK", "PNG")}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def grainy(seed: int, height: int, width: int) -> np.ndarray:
    """A photograph with so much grain, gray so that a JPEG keeps it, that it matters how it is resized."""
    grain = np.random.default_rng(seed).normal(0, 40, (height, width, 1))
    return (photograph(height, width, seed=seed) + grain).clip(0, 255).astype(np.uint8)


def by_areas(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resized by plain arithmetic: each new pixel is the mean of the old ones by the area that it shares with them."""
    for axis, size in ((0, height), (1, width)):
        scale = image.shape[axis] / size
        left, right = np.arange(size)[:, None] * scale, (np.arange(size)[:, None] + 1) * scale
        old = np.arange(image.shape[axis])
        shared = np.clip(np.minimum(right, old + 1) - np.maximum(left, old), 0, None)
        image = np.moveaxis(np.tensordot(shared / scale, image, axes=(1, axis)), 0, axis)
    return image


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@pytest.mark.parametrize("resize", [0, 280, 1000])
def test_a_plain_rgb_jpeg_that_needs_no_resizing_stays_byte_for_byte(resize):
    data = encode_kind(photograph(280, 360, seed=1))
    recoded = recode(data, Recoding(resize=resize))
    assert recoded.data is data
    assert recoded.changes == ()
    assert recoded.image.shape == (280, 360, 3)


ODD = {
    "CMYK": "CMYK",
    "gray": "gray",
    "PNG": "PNG",
    "palette": "PNG",
    "rotated": "rotated",
}


@pytest.mark.parametrize(("kind", "reason"), ODD.items(), ids=ODD)
def test_whatever_is_no_plain_rgb_jpeg_becomes_one(kind, reason):
    data = encode_kind(photograph(280, 360, seed=2), kind)
    recoded = recode(data, Recoding())
    assert recoded.changes == (reason,)
    height, width, colors, chroma = simplejpeg.decode_jpeg_header(recoded.data)
    assert (colors, chroma) == ("YCbCr", "420")
    assert (height, width) == ((360, 280) if kind == "rotated" else (280, 360))
    assert psnr(simplejpeg.decode_jpeg(recoded.data, strict=True), by_pillow(data)) > 31
    again = recode(recoded.data, Recoding())
    assert again.changes == ()


def test_of_16_bits_the_upper_8_are_kept():
    image = photograph(280, 360, seed=3)
    recoded = recode(encode_kind(image, "16-bit"), Recoding())
    assert recoded.changes == ("PNG",)
    assert psnr(decode(recoded.data), np.repeat(image[..., :1], 3, axis=-1)) > 33


def test_a_flaw_that_only_pillow_forgives_is_not_passed_on():
    data = encode_kind(photograph(280, 360, seed=4))
    flawed = data[:-2] + bytes(range(20)) + data[-2:]  # bytes that belong to nothing
    with pytest.raises(ValueError, match="JPEG"):
        simplejpeg.decode_jpeg(flawed, strict=True)
    recoded = recode(flawed, Recoding())
    assert recoded.changes == ("flawed JPEG",)
    assert psnr(simplejpeg.decode_jpeg(recoded.data, strict=True), by_pillow(data)) > 31


@pytest.mark.parametrize(("height", "width", "expected"), [(300, 451, (256, 384)), (1000, 900, (284, 256))])
def test_resizing_takes_the_shorter_side_down_by_the_mean_of_areas(height, width, expected):
    data = encode_kind(grainy(5, height, width))
    recoded = recode(data, Recoding(resize=256))
    assert recoded.changes == ("resized",)
    pixels = decode(recoded.data)
    assert pixels.shape[:2] == expected
    assert psnr(pixels, by_areas(by_pillow(data), *expected)) > 33
    assert psnr(pixels, recoded.image) > 33


def test_quality_is_that_of_the_jpeg():
    data = encode_kind(photograph(400, 500, seed=6))
    sizes = [len(recode(data, Recoding(resize=256, quality=quality)).data) for quality in (50, 80, 95)]
    assert sizes == sorted(sizes)
    coarse, fine = (Image.open(io.BytesIO(recode(data, Recoding(resize=256, quality=q)).data)) for q in (50, 95))
    reference = Image.fromarray(photograph(280, 360, seed=6))
    for image, quality in ((coarse, 50), (fine, 95)):
        file = io.BytesIO()
        reference.save(file, "JPEG", quality=quality)
        assert image.quantization == Image.open(file).quantization


@pytest.mark.parametrize("size", [(280, 360), (360, 280), (100, 130), (256, 256), (3, 299)])
def test_raw_is_the_central_square_as_a_ppm(size):
    data = encode_kind(photograph(*size, seed=7), "PNG")
    recoded = recode(data, Recoding(encoding="raw"))
    assert recoded.changes == ("PNG", "raw")
    assert recoded.data.startswith(b"P6\n256 256\n255\n")
    assert len(recoded.data) == 15 + 256 * 256 * 3
    pixels = decode(recoded.data)
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(recoded.data))))
    np.testing.assert_array_equal(pixels, recoded.image)
    np.testing.assert_array_equal(pixels, central_square(photograph(*size, seed=7)))


def test_the_central_square_is_the_middle_resized_by_areas():
    image = grainy(8, 410, 520)
    assert psnr(central_square(image), by_areas(image[:, 55:465], 256, 256)) > 50
    exact = photograph(256, 256, seed=8)
    np.testing.assert_array_equal(central_square(exact), exact)


def test_the_central_square_is_that_of_shorter_side_256_to_half_a_pixel():
    image = photograph(410, 520, seed=8)
    resized = Image.fromarray(image).resize((520 * 256 // 410, 256), Image.Resampling.BILINEAR)
    left = (resized.width - 256) // 2
    assert psnr(central_square(image), np.asarray(resized)[:, left : left + 256]) > 35


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
@pytest.mark.parametrize(
    "data", [b"", b"no image at all", encode_kind(photograph(280, 360, seed=9), "truncated")], ids=len
)
def test_what_cannot_be_decoded(data, encoding):
    with pytest.raises(UnreadableImageError):
        recode(data, Recoding(encoding=encoding))


@pytest.mark.parametrize("recoding", [Recoding(), Recoding(resize=256), Recoding(encoding="raw")], ids=str)
@pytest.mark.parametrize("size", [(20, 2000), (2000, 20)])
def test_slivers_are_unreadable_as_they_are_in_a_run(recoding, size):
    with pytest.raises(UnreadableImageError, match="one side is 100 times the other or more"):
        recode(encode_kind(photograph(*size, seed=9)), recoding)


def test_what_is_too_long_for_a_jpeg(monkeypatch):
    monkeypatch.setattr(geometry, "MAX_ASPECT", 100_000)  # an image less narrow would be large
    with pytest.raises(UnreadableImageError, match="70000 x 1 pixels cannot be a JPEG"):
        recode(encode_kind(np.zeros((1, 70_000, 3), np.uint8), "PNG"), Recoding())


def test_sampling_factors_that_turbojpeg_has_no_name_for_are_recoded():
    data = bytearray(encode_kind(photograph(280, 360, seed=3)))
    data[data.index(b"\xff\xc0") + 11] = 0x31  # luma three times as wide as chroma
    pixels = decode(bytes(data))
    stored = recode(bytes(data), Recoding("jpeg", 0, 95))
    assert "flawed JPEG" in stored.changes
    assert psnr(decode(stored.data), pixels) > 20  # damaged colors are hard to keep


@given(cut=st.integers(0, 700), junk=st.binary(max_size=60), kind=st.sampled_from(["RGB", "gray", "CMYK", "PNG"]))
def test_damage_is_recoded_or_unreadable_and_nothing_else(cut, junk, kind):
    whole = SMALL[kind]
    with contextlib.suppress(UnreadableImageError):
        assert (
            decode(recode(whole[:cut] + junk + whole[cut + len(junk) :], Recoding("jpeg", 0, 95)).data).dtype
            == np.uint8
        )


def test_a_ppm_is_recoded():
    assert "PPM" in recode(b"P6\n2 2\n255\n" + bytes(12), Recoding("jpeg", 0, 95)).changes
