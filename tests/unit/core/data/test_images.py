import io
import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from pneumo_batch.core.data import decoding, images
from pneumo_batch.core.data.images import ImageInfo, Preprocess
from pneumo_batch.errors import RejectedImage


def encode(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def gray(values, dtype=np.uint8):
    return Image.fromarray(np.asarray(values, dtype))


NOISE_HW = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
JPEG = encode(gray(NOISE_HW), "JPEG")


def test_inspect_tells_size_and_mode():
    assert images.inspect(JPEG) == ImageInfo(60, 40, "L")
    assert images.inspect(encode(gray(NOISE_HW).convert("RGB"))) == ImageInfo(60, 40, "RGB")


def test_exif_orientation_turns_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying; to be turned clockwise
    data = encode(gray([[10, 20, 30], [40, 50, 60]]), "PNG", exif=exif)
    assert images.inspect(data) == ImageInfo(2, 3, "L")
    turned = np.asarray(decoding.decode(data)[1])
    np.testing.assert_array_equal(turned, [[40, 10], [50, 20], [60, 30]])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not an image, or of an unknown format"),
        (JPEG[:20], "not an image, or of an unknown format"),
        (JPEG[: len(JPEG) // 2], "truncated file"),
        (encode(gray(NOISE_HW))[:900], "truncated file"),
    ],
)
def test_broken_files_are_rejected_with_a_reason(data, reason):
    for reader in (images.inspect, Preprocess(8).pixels):
        with pytest.raises(RejectedImage) as error:
            reader(data)
        assert str(error.value) == reason


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP"])
def test_animated_is_rejected(file_format):
    frames = [gray(NOISE_HW), gray(255 - NOISE_HW)]
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
    with pytest.raises(RejectedImage, match=r"^animated or of several pages \(2 frames\)$"):
        images.inspect(data)


def test_decompression_bomb_is_rejected_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 2399)
    with pytest.raises(RejectedImage, match=r"^too large: 60 x 40 pixels$"):
        images.inspect(JPEG)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(RejectedImage, match=r"^too large: possibly a decompression bomb$"):
        images.inspect(JPEG)


def test_a_thin_image_cannot_become_a_huge_square():
    data = encode(Image.new("1", (decoding.MAX_SIDE + 1, 1)))
    with pytest.raises(RejectedImage, match=r"^too large: 16385 x 1 pixels$"):
        images.inspect(data)


def outcome(data):
    try:
        return "pixels" if Preprocess(8).pixels(data).shape == (8, 8) else "wrong shape"
    except RejectedImage as error:
        return "rejected" if str(error) and "0x" not in str(error) else "an object's address in the reason"


def test_damaged_bytes_are_always_a_rejection_or_pixels():
    rng = np.random.default_rng(1)
    sources = [JPEG, encode(gray(NOISE_HW)), encode(gray(NOISE_HW), "TIFF"), encode(gray(NOISE_HW), "WEBP")]
    for k in range(400):
        data = bytearray(sources[k % 4])
        for position in rng.integers(0, len(data), 12):
            data[position] = rng.integers(256)
        assert outcome(bytes(data)) in ("pixels", "rejected")


def test_pixels_pads_with_black_in_the_centre():
    pixels_HW = Preprocess(4).pixels(encode(gray(np.full((2, 4), 200))))
    np.testing.assert_array_equal(pixels_HW, [[0] * 4, [200] * 4, [200] * 4, [0] * 4])
    assert pixels_HW.dtype == np.uint8
    odd_HW = Preprocess(3).pixels(encode(gray(np.full((3, 2), 200))))
    np.testing.assert_array_equal(odd_HW, [[200, 200, 0]] * 3)


def test_pixels_can_squash_instead():
    np.testing.assert_array_equal(Preprocess(4, pad="none").pixels(encode(gray(np.full((2, 4), 200)))), 200)


def test_resize_is_antialiased():
    stripes_HW = np.tile([0, 255], (64, 32))
    pixels_HW = Preprocess(8).pixels(encode(gray(stripes_HW)))
    # Without antialiasing a sample falls on a stripe or between two; a triangle of 16 pixels sees half of each colour.
    np.testing.assert_allclose(pixels_HW[:, 1:-1], 127.5, atol=1)


def test_resize_is_the_triangle_filter():
    """Against a direct evaluation: weights 1 - |x - centre| / scale around each output pixel's centre, normalised."""
    values_HW = NOISE_HW[:40, :40]
    size, scale = 16, 40 / 16
    centres = (np.arange(size) + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(40)[None] + 0.5 - centres[:, None]) / scale, 0, None)
    weights /= weights.sum(1, keepdims=True)
    expected_HW = weights @ values_HW @ weights.T
    np.testing.assert_allclose(Preprocess(size).pixels(encode(gray(values_HW))), expected_HW, atol=1)


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (Image.new("1", (4, 4), 1), 255),
        (Image.new("L", (4, 4), 77), 77),
        (Image.new("RGB", (4, 4), (100, 200, 50)), round(0.299 * 100 + 0.587 * 200 + 0.114 * 50)),
        (Image.new("RGB", (4, 4), (77, 77, 77)).quantize(4), 77),
        (Image.new("LA", (4, 4), (200, 255)), 200),
        (Image.new("LA", (4, 4), (200, 0)), 0),
        (Image.new("RGBA", (4, 4), (200, 200, 200, 255)), 200),
        (Image.new("RGBA", (4, 4), (200, 200, 200, 0)), 0),
        (gray(np.full((4, 4), 65535), np.uint16), 255),
        (gray(np.full((4, 4), 4095), np.uint16), round(4095 / 65535 * 255)),
    ],
)
def test_every_mode_becomes_one_gray_channel(image, value):
    np.testing.assert_array_equal(Preprocess(4).pixels(encode(image)), value)


@pytest.mark.parametrize(
    ("image", "value"),
    [
        (gray(np.full((4, 4), 0.5), np.float32), 128),
        (gray(np.full((4, 4), 1000), np.int32), round(1000 / 65535 * 255)),
        (gray(np.full((4, 4), 2**30), np.int32), 128),
        (Image.new("CMYK", (4, 4), (0, 0, 0, 155)), 100),
    ],
)
def test_wide_types_and_ink(image, value):
    np.testing.assert_array_equal(Preprocess(4).pixels(encode(image, "TIFF")), value)


@pytest.mark.parametrize(
    ("values_HW", "file_format", "expected_HW"),
    [
        # by hand: v * 255 / 65535 = v / 257
        (np.array([[0, 257, 300, 25700, 65535]], np.uint16), "PNG", [[0, 1, 1, 100, 255]]),
        (np.array([[0, 257, 300, 25700, 65535]], np.uint16), "TIFF", [[0, 1, 1, 100, 255]]),
        (np.array([[0, 128, 129]], np.uint16), "TIFF", [[0, 0, 1]]),
        (np.array([[0, 7, 255]], np.uint8), "TIFF", [[0, 7, 255]]),
        (np.array([[0, 0.25, 0.5, 1]], np.float32), "TIFF", [[0, 64, 128, 255]]),  # 63.75, 127.5 (to even)
    ],
)
def test_wide_films_exactly(values_HW, file_format, expected_HW):
    data = encode(Image.fromarray(values_HW), file_format)
    np.testing.assert_array_equal(np.asarray(decoding.decode(data)[1]), expected_HW)
    assert images.inspect(data).mode == {"u1": "L", "u2": "I;16", "f4": "F"}[values_HW.dtype.str[1:]]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_in_every_lossless_compression_and_byte_order(compression):
    wide_HW = NOISE_HW.astype(np.uint16) * 257
    data = encode(Image.fromarray(wide_HW), "TIFF", compression=compression)
    np.testing.assert_array_equal(np.asarray(decoding.decode(data)[1]), NOISE_HW)
    header = b"MM\0*\0\0\0\x08\0\x08"  # the other byte order, which Pillow does not write
    tags = [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 110), (278, 1), (279, 4)]
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    big_endian = header + entries + struct.pack(">I", 0) + struct.pack(">HH", 257, 65535)
    np.testing.assert_array_equal(np.asarray(decoding.decode(big_endian)[1]), [[1, 255]])


@pytest.mark.parametrize("value", [-0.5, 1.5, float("nan"), 4095.0])
def test_floats_outside_their_range_are_rejected_not_clipped(value):
    data = encode(gray([[0.5, value]], np.float32), "TIFF")
    with pytest.raises(RejectedImage, match=r"expected 0 to 1$"):
        images.inspect(data)


def test_inputs_are_standardised_and_repeated():
    preprocess = Preprocess(2, channels=3, mean=0.5, std=0.25)
    pixels_BHW = np.array([[[0, 255], [51, 102]]], np.uint8)
    pixels_BHW.setflags(write=False)
    inputs_BCHW = preprocess.inputs(pixels_BHW)
    expected = torch.tensor([[-2.0, 2.0], [-1.2, -0.4]])
    assert inputs_BCHW.dtype == torch.float32
    torch.testing.assert_close(inputs_BCHW, expected.expand(1, 3, 2, 2))
    torch.testing.assert_close(preprocess.inputs(torch.from_numpy(pixels_BHW.copy())), inputs_BCHW)
    assert preprocess.inputs(torch.zeros(1, 2, 2, device="meta")).device.type == "meta"


def test_inputs_leave_float_pixels_alone():
    pixels_BHW = torch.full((1, 2, 2), 255.0)
    Preprocess(2).inputs(pixels_BHW)
    assert pixels_BHW.unique().tolist() == [255.0]


def test_round_trip_through_json():
    preprocess = Preprocess(64, channels=3, pad="none", mean=0.4, std=0.2)
    assert preprocess.as_dict() == {
        "size": 64,
        "channels": 3,
        "pad": "none",
        "mean": 0.4,
        "std": 0.2,
        "resize": "bilinear",
    }
    assert Preprocess.from_dict(preprocess.as_dict()) == preprocess


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "area", "lanczos"])
def test_every_filter_keeps_a_flat_film_flat(resize):
    np.testing.assert_array_equal(Preprocess(7, resize=resize).pixels(encode(gray(np.full((20, 20), 93)))), 93)


def test_area_is_the_mean_of_the_pixels_it_covers():
    values_HW = NOISE_HW[:40, :40]
    expected_HW = values_HW.reshape(8, 5, 8, 5).mean((1, 3))
    np.testing.assert_allclose(Preprocess(8, resize="area").pixels(encode(gray(values_HW))), expected_HW, atol=1)


@pytest.mark.parametrize(
    ("resize", "radius", "kernel"),
    [
        ("bicubic", 2, lambda x: np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)),
        ("lanczos", 3, lambda x: np.sinc(x) * np.sinc(x / 3)),
    ],
)
def test_resize_is_the_filter_it_says(resize, radius, kernel):
    """Against a direct evaluation: Keys' cubic with a = -0.5, and the windowed sinc of three lobes, antialiased."""
    values_HW = (NOISE_HW[:40, :40] // 2 + 60).astype(np.uint8)  # away from 0 and 255, where overshoot is cut
    size, scale = 16, 40 / 16
    distance = np.abs(np.arange(40)[None] + 0.5 - ((np.arange(size) + 0.5) * scale)[:, None]) / scale
    weights = np.where(distance < radius, kernel(distance), 0)
    weights /= weights.sum(1, keepdims=True)
    found_HW = Preprocess(size, resize=resize).pixels(encode(gray(values_HW)))
    np.testing.assert_allclose(found_HW, weights @ values_HW @ weights.T, atol=1.5)


def test_imagenet_normalises_each_channel():
    mean, std = images.named_normalisation("imagenet", 3)
    pixels_BHW = np.array([[[0, 255], [51, 102]]], np.uint8)
    found_BCHW = Preprocess(2, channels=3, mean=mean, std=std).inputs(pixels_BHW)
    from torchvision.transforms.functional import normalize

    x_BCHW = torch.from_numpy(pixels_BHW).div(255).expand(1, 3, 2, 2)
    assert torch.equal(found_BCHW, normalize(x_BCHW, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def test_numbers_must_be_as_many_as_channels():
    with pytest.raises(ValueError, match=r"^std has 3 numbers for 1 channels$"):
        Preprocess(32, channels=1, std=(0.1, 0.2, 0.3))


def test_imagenet_of_one_channel_is_the_average_over_colours():
    mean, std = images.named_normalisation("imagenet", 1)
    assert (mean, std) == (pytest.approx(0.449), pytest.approx(0.226))
    one_BCHW = Preprocess(2, mean=mean, std=std).inputs(np.full((1, 2, 2), 255, np.uint8))
    torch.testing.assert_close(one_BCHW, torch.full((1, 1, 2, 2), (1 - 0.449) / 0.226))


@pytest.mark.parametrize("channels", [1, 3])
def test_torchxrayvision_spans_its_range_exactly(channels):
    mean, std = images.named_normalisation("torchxrayvision", channels)
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    found_BCHW = Preprocess(16, channels=channels, mean=mean, std=std).inputs(levels)
    assert found_BCHW.shape == (1, channels, 16, 16)
    assert (found_BCHW.min().item(), found_BCHW.max().item()) == (-1024.0, 1024.0)
    theirs = (2 * (levels.astype(np.float32) / 255.0) - 1.0) * 1024  # torchxrayvision.datasets.normalize
    np.testing.assert_array_equal(found_BCHW[0, -1].numpy(), theirs[0])


def test_numbers_for_each_channel_survive_json():
    preprocess = Preprocess(64, channels=3, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), resize="area")
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.as_dict()))) == preprocess
    older = {"size": 64, "channels": 1, "pad": "black", "mean": 0.3, "std": 0.2}  # as written before there was `resize`
    assert Preprocess.from_dict(older) == Preprocess(64, mean=0.3, std=0.2)


# ------------------------------------------------------------------------------------------------- what a TIFF declares


def tiff(values_HW, *, photometric=1, order="<", sample_format=None, bits=None):
    """The bytes of an uncompressed TIFF with the tags it says, by TIFF 6.0; Pillow writes no WhiteIsZero of 16 bits."""
    height, width = values_HW.shape
    bits = bits or 8 * values_HW.itemsize
    form = sample_format or {"u": 1, "i": 2, "f": 3}[values_HW.dtype.kind]
    pixels = values_HW.astype(values_HW.dtype.newbyteorder(order)).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(pixels)), (339, form)]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)


WIDE = {
    "8": NOISE_HW,
    "16": NOISE_HW.astype(np.uint16) * 257,
    "signed 16": np.rint(NOISE_HW * (32767 / 255)).astype(np.int16),
    "32": NOISE_HW.astype(np.uint32) * (2**32 // 255),
    "signed 32": NOISE_HW.astype(np.int32) * ((2**31 - 1) // 255),
    "float": (NOISE_HW / 255).astype(np.float32),
}


# What Pillow does not open, and we refuse.
UNREAD = {(depth, order, 0) for depth in ("signed 16", "32", "signed 32") for order in "<>"}
UNREAD |= {("16", ">", 0), ("32", ">", 1)}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("depth", WIDE)
def test_white_is_zero_is_the_negative_at_every_depth(depth, order):
    """BlackIsZero gives the film, WhiteIsZero its negative: one film stored in either way."""
    for photometric, expected_HW in ((1, NOISE_HW), (0, 255 - NOISE_HW)):
        data = tiff(WIDE[depth], photometric=photometric, order=order)
        if (depth, order, photometric) in UNREAD:
            with pytest.raises(RejectedImage, match=r"^TIFF that is damaged, or of a kind that is not read: save it"):
                images.inspect(data)
        else:
            np.testing.assert_array_equal(np.asarray(decoding.decode(data)[1]), expected_HW)


def test_signed_values_of_8_bits_are_refused():
    """Pillow takes -1 for 255, and 127, the largest, for a medium gray."""
    with pytest.raises(RejectedImage, match=r"^TIFF with signed values of 8 bits: save it with unsigned ones$"):
        images.inspect(tiff(np.array([[-1, 0, 127]], np.int8)))


def test_white_is_zero_by_hand():
    """38 at the first pixel and 210 at the last, stored as 65535 - 257 v."""
    values_HW = np.array([[38, 210]], np.uint16)
    found_HW = np.asarray(decoding.decode(tiff(65535 - 257 * values_HW, photometric=0))[1])
    np.testing.assert_array_equal(found_HW, values_HW)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_film_is_turned_whatever_else_its_exif_data_hold(orientation):
    """A resolution of -1 / -1 by unsigned numbers cannot be written again, as turning by Pillow's own function does."""
    values_HW = NOISE_HW[:3, :2]
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = encode(gray(values_HW), "PNG", exif=exif)
    expected_HW = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(plain))))
    odd = encode(gray(values_HW), "PNG", exif=odd_exif(orientation))
    np.testing.assert_array_equal(np.asarray(decoding.decode(odd)[1]), expected_HW)
    assert images.inspect(odd).height == expected_HW.shape[0]


def odd_exif(orientation):
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<HHII", 0x011A, 10, 1, 38)
    return (
        b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + struct.pack("<I", 0) + struct.pack("<ii", -1, 0)
    )
