"""Pictures of every mode and depth become RGB with 8 bits by the stated rules."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from trainable.data import pictures
from trainable.data.pictures import PictureError, as_rgb, decode, picture_bytes

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOURS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def encoded(image, kind="png", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def pixels(image, kind="png", **settings):
    """What a picture is after it was written to a file and decoded."""
    return np.asarray(decode(encoded(image, kind, **settings)))


def grey(values):
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def test_rgb_is_as_it_was():
    np.testing.assert_array_equal(pixels(Image.fromarray(COLOURS)), COLOURS)
    image = Image.fromarray(COLOURS)
    assert as_rgb(image) is image


def test_jpeg_is_what_pillow_makes_of_it():
    content = encoded(Image.fromarray(COLOURS), "jpeg")
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(decode(content)), expected)


def test_grey_and_bits():
    np.testing.assert_array_equal(pixels(Image.fromarray(RAMP)), grey(RAMP))
    bits = RAMP > 100
    np.testing.assert_array_equal(pixels(Image.fromarray(bits)), grey(bits * 255))


@pytest.mark.parametrize("kind", ["png", "tiff", "ppm"])
def test_sixteen_bits_are_scaled_by_their_range(kind):
    values = np.linspace(0, 65535, 1024).round().astype(np.uint16).reshape(32, 32)
    expected = grey(np.round(values / 257))
    np.testing.assert_array_equal(pixels(Image.fromarray(values), kind), expected)
    assert len(np.unique(expected)) == 256


def test_every_sixteen_bit_value_is_rounded_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    found = np.asarray(as_rgb(Image.fromarray(values)))[..., 0]
    np.testing.assert_array_equal(found, np.round(values / 257))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_sixteen_bits_of_either_byte_order(mode):
    order = ">u2" if mode == "I;16B" else "<u2"
    values = (RAMP.astype(np.uint16) * 257).astype(order)
    image = Image.frombytes(mode, (16, 16), values.tobytes())
    np.testing.assert_array_equal(np.asarray(as_rgb(image)), grey(RAMP))


@pytest.mark.parametrize(("dtype", "kind"), [(np.int32, "integers"), (np.float32, "fractions")])
def test_thirty_two_bits_are_refused(dtype, kind):
    with pytest.raises(PictureError, match=f"{kind} of 32 bits"):
        pixels(Image.fromarray(RAMP.astype(dtype)), "tiff")


def test_transparency_shows_black():
    alpha = np.full((16, 16), 255, np.uint8)
    alpha[:4], alpha[4:8] = 0, 51  # none, a fifth
    for image, colours in (
        (Image.fromarray(np.dstack([COLOURS, alpha])), COLOURS),
        (Image.fromarray(np.dstack([RAMP, alpha])), grey(RAMP)),
    ):
        found = pixels(image)
        assert not found[:4].any()
        np.testing.assert_allclose(found[4:8], colours[4:8] / 5, atol=1)
        np.testing.assert_array_equal(found[8:], colours[8:])


def test_one_transparent_colour_shows_black():
    white = np.full((16, 16, 3), 255, np.uint8)
    white[3] = (10, 20, 30)
    found = pixels(Image.fromarray(white), transparency=(255, 255, 255))
    np.testing.assert_array_equal(found[3], white[3])
    assert not found[4].any()
    values = np.full((4, 4), 65535, np.uint16)
    values[1] = 1285
    found = np.asarray(as_rgb(with_key(Image.fromarray(values), 65535)))
    assert found[1].tolist() == [[5, 5, 5]] * 4
    assert not found[2].any()


def with_key(image, key):
    image.info["transparency"] = key
    return image


def test_palette():
    image = Image.fromarray(COLOURS).quantize(16)
    np.testing.assert_array_equal(pixels(image), np.asarray(image.convert("RGB")))
    transparent = pixels(image, transparency=3)
    index = np.asarray(image)
    assert not transparent[index == 3].any()
    np.testing.assert_array_equal(transparent[index != 3], pixels(image)[index != 3])


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces(mode):
    image = Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)).convert(mode)
    # compressed: Pillow before version 13 cannot read uncompressed YCbCr
    shown = pixels(image, "tiff", compression="tiff_lzw")
    np.testing.assert_allclose(shown[0, 0], (200, 100, 50), atol=3)
    hsv = Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)).convert("HSV")
    np.testing.assert_allclose(np.asarray(as_rgb(hsv))[0, 0], (200, 100, 50), atol=3)


def test_sixteen_bits_a_channel_of_a_coloured_picture():
    """Written by hand: Pillow writes none."""
    values = np.linspace(0, 65535, 12).round().astype(">u2").reshape(2, 2, 3)
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    content += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    np.testing.assert_allclose(np.asarray(decode(content)), values / 257, atol=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"no picture", "its 10 bytes are no picture of a known format"),
        (encoded(Image.fromarray(COLOURS))[:200], "it is damaged"),
    ],
)
def test_damaged_pictures(content, message):
    with pytest.raises(PictureError, match=message):
        decode(content)


def test_a_picture_that_is_too_large_is_refused_before_it_is_decompressed(monkeypatch):
    whole = encoded(Image.fromarray(COLOURS))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 255)
    for content in (whole, whole[:100]):  # the header tells
        with pytest.raises(PictureError, match="16 × 16 pixels, more than the 255 that are read"):
            decode(content)


def test_decompression_bombs():
    """All of 8,193 × 8,192 black pixels in 8 kB."""
    bomb = encoded(Image.new("1", (8193, 8192)))
    assert len(bomb) < 10_000
    with pytest.raises(PictureError, match="8193 × 8192 pixels, more than the 67,108,864"):
        decode(bomb)
    with pytest.raises(PictureError, match=r"2000 × 19 pixels, .* at most 100 times the other"):
        decode(encoded(Image.new("L", (2000, 19))))
    assert decode(encoded(Image.new("L", (2000, 20)))).size == (2000, 20)


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(kind, orientation):
    image = Image.fromarray(
        np.kron(np.arange(0, 250, 50, np.uint8)[:, None], np.ones((8, 24), "u1"))
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "webp" else {}
    content = encoded(image, kind, exif=exif, **lossless)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    found = np.asarray(decode(content))
    np.testing.assert_array_equal(found, np.asarray(turned))
    assert found.shape == ((24, 40, 3) if orientation > 4 else (40, 24, 3))


def test_exif_data_that_cannot_be_read_ask_for_nothing():
    content = encoded(Image.fromarray(COLOURS), "png", exif=b"Exif\0\0no TIFF header")
    np.testing.assert_array_equal(np.asarray(decode(content)), COLOURS)


def test_sixteen_bits_a_channel_of_a_tiff():
    """Written by hand: Pillow writes none. One strip, little-endian."""
    values = np.linspace(0, 65535, 12).round().astype("<u2").reshape(2, 2, 3)
    entries = [  # tag, type (3: short, 4: long), values
        (256, 3, [2]),
        (257, 3, [2]),
        (258, 3, [16, 16, 16]),
        (259, 3, [1]),
        (262, 3, [2]),
        (273, 4, [8]),
        (277, 3, [3]),
        (278, 3, [2]),
        (279, 4, [values.nbytes]),
    ]
    after = 8 + values.nbytes
    bits_at = after + 2 + 12 * len(entries) + 4
    content = struct.pack("<2sHI", b"II", 42, after) + values.tobytes()
    content += struct.pack("<H", len(entries))
    for tag, kind, numbers in entries:
        at = bits_at if len(numbers) > 1 else numbers[0]
        content += struct.pack("<HHII", tag, kind, len(numbers), at)
    content += struct.pack("<I3H", 0, 16, 16, 16)
    np.testing.assert_allclose(np.asarray(decode(content)), values / 257, atol=1)


def test_signed_values_are_refused():
    values = (RAMP.astype(np.int16) - 100).tobytes()
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[339] = 2  # SampleFormat: signed
    content = encoded(Image.frombytes("I;16", (16, 16), values), "tiff", tiffinfo=tags)
    with pytest.raises(PictureError, match="signed integers or integers of 32 bits"):
        decode(content)


def test_what_a_cell_of_a_table_holds():
    assert picture_bytes(b"x") == picture_bytes({"bytes": b"x", "path": "y"}) == b"x"
    for cell in (None, {"bytes": None, "path": None}):
        with pytest.raises(PictureError, match="it is null"):
            picture_bytes(cell)
    with pytest.raises(PictureError, match=r"it is only a path \('y'\), without bytes"):
        picture_bytes({"bytes": None, "path": "y"})


@pytest.mark.filterwarnings("ignore")  # Pillow's, of odd headers
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "gif", "webp", "bmp"])
def test_any_damage_is_told_as_such(kind):
    good, chance = encoded(Image.fromarray(COLOURS), kind), random.Random(kind)
    refused = 0
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(chance.choice([1, 2, 5])):
            damaged[chance.randrange(len(good))] = chance.randrange(256)
        content = bytes(damaged) if chance.random() < 0.7 else good[: chance.randrange(len(good))]
        try:
            decode(content)
        except PictureError:
            refused += 1
    assert 20 < refused < 300
