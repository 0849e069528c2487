"""DICOM films: gray values solved by hand, files that pydicom ships, and what must not leave a header."""

import hashlib
import io
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from pneumo_batch.core.data import decoding, images
from pneumo_batch.core.data.images import ImageInfo, Preprocess
from pneumo_batch.errors import RejectedImage

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
RAMP_HW = np.array([[0, 1000, 2000], [3000, 4000, 4095]], np.uint16)


def film(stored_HW=RAMP_HW, *, bits=12, photometric="MONOCHROME2", syntax=ExplicitVRLittleEndian, **elements):
    """The bytes of a DICOM file; further keyword arguments are elements of its header."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset("film", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.PatientName = "Secret^Person"
    dataset.PatientBirthDate = "19700131"
    dataset.PatientID = "MRN-4711"
    dataset.Rows, dataset.Columns = stored_HW.shape[-2:] if stored_HW.ndim < 4 else stored_HW.shape[1:3]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * stored_HW.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(stored_HW.dtype.kind == "i")
    dataset.PixelData = stored_HW.tobytes()
    dataset["PixelData"].VR = "OB" if stored_HW.itemsize == 1 else "OW"
    for name, value in elements.items():
        if value is None:
            del dataset[name]
        else:
            setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def table(values, first, bits):
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = list(values)
    item["LUTData"].VR = item["LUTDescriptor"].VR = "US"
    return item


UNKNOWN = "DICOM PhotometricInterpretation is unknown: only MONOCHROME1 and MONOCHROME2 are read"


def without_syntax():
    dataset = pydicom.dcmread(io.BytesIO(film()))
    del dataset.file_meta.TransferSyntaxUID
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def gray_of(data):
    return np.asarray(decoding.decode(data)[1])


def test_inspect_tells_size_mode_and_a_pseudonym():
    patient = "dicom-" + hashlib.sha256(b"MRN-4711").hexdigest()[:16]
    assert images.inspect(film()) == ImageInfo(3, 2, "DICOM MONOCHROME2 12-bit", patient)
    assert images.inspect(film(PatientID=" MRN-4711 ")).patient == patient
    assert images.inspect(film(PatientID=None)).patient is None
    assert images.inspect(film(PatientID="")).patient is None


def test_without_a_window_the_stored_bits_are_the_range():
    # 255 * 1000 / 4095 = 62.27 and so on: nothing of a film is cut off
    np.testing.assert_array_equal(gray_of(film()), [[0, 62, 125], [187, 249, 255]])
    np.testing.assert_array_equal(gray_of(film(RAMP_HW * 16, bits=16)), [[0, 62, 125], [187, 249, 255]])
    bytes_HW = np.array([[0, 7], [200, 255]], np.uint8)
    np.testing.assert_array_equal(gray_of(film(bytes_HW, bits=8)), bytes_HW)


def test_signed_values():
    signed_HW = np.array([[-2048, 0, 2047]], np.int16)  # 255 * 2048 / 4095 = 127.53
    np.testing.assert_array_equal(gray_of(film(signed_HW)), [[0, 128, 255]])


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"WindowCenter": 2048, "WindowWidth": 2000},
        {"WindowCenter": 2047.5, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"},
    ],
    ids=["bits", "window", "sigmoid"],
)
def test_monochrome1_is_monochrome2_with_black_and_white_changed(elements):
    values_HW = np.random.default_rng(0).integers(0, 4096, (32, 32), dtype=np.uint16)
    if elements:
        # the window of the negative lies at the mirrored place; LINEAR counts from c - 0.5
        mirrored = elements | {"WindowCenter": 4095 - elements["WindowCenter"]}
        mirrored["WindowCenter"] += 1 if "VOILUTFunction" not in elements else 0
    else:
        mirrored = {}
    positive = film(values_HW, **elements)
    negative = film(4095 - values_HW, photometric="MONOCHROME1", **mirrored)
    np.testing.assert_array_equal(gray_of(positive), gray_of(negative))
    np.testing.assert_array_equal(Preprocess(16).pixels(positive), Preprocess(16).pixels(negative))
    assert images.inspect(negative).mode == "DICOM MONOCHROME1 12-bit"


def test_window_by_the_formula_of_the_standard():
    # PS3.3 C.11.2.1.2.1, c = 2000, w = 2001: ((x - 1999.5) / 2000 + 0.5) * 255, so 1500 -> 63.81
    values_HW = np.array([[0, 999, 1500, 2500, 3001, 4095]], np.uint16)
    found = gray_of(film(values_HW, WindowCenter=2000, WindowWidth=2001))
    np.testing.assert_array_equal(found, [[0, 0, 64, 191, 255, 255]])
    # LINEAR_EXACT: ((x - c) / w + 0.5) * 255, so 1500 -> 63.75 + 255 / 4 of w = 2000
    exact = film(values_HW, WindowCenter=2000, WindowWidth=2000, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_array_equal(gray_of(exact), [[0, 0, 64, 191, 255, 255]])
    # SIGMOID: 255 / (1 + exp(-4 (x - c) / w)): at c one half, at c + w / 4 0.7311
    sigmoid = film(
        np.array([[0, 2000, 2250]], np.uint16), WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID"
    )
    np.testing.assert_array_equal(gray_of(sigmoid), [[0, 128, 186]])


def test_rounding_at_the_end_of_a_window_is_no_reason_against_a_film():
    """Of 2.5 v + 3.5 the window ends at -62415.5; what is beyond it is white, and by floating point a little more."""
    window = {"WindowCenter": -68509.41, "WindowWidth": 12187.82, "RescaleSlope": 2.5, "RescaleIntercept": 3.5}
    found = gray_of(film(np.array([[-32768, -27405, 32767]], np.int16), bits=16, **window))
    np.testing.assert_array_equal(found, [[0, 128, 255]])


def test_of_several_windows_the_first_counts():
    several = film(WindowCenter=[2000, 100], WindowWidth=[2001, 10])
    np.testing.assert_array_equal(gray_of(several), gray_of(film(WindowCenter=2000, WindowWidth=2001)))


def test_the_window_is_one_of_rescaled_values():
    # x = 2 v - 1000: the window 1000 to 3000 of x is 1000 to 2000 of v
    values_HW = np.array([[0, 1000, 1500, 2000, 4095]], np.uint16)
    rescaled = film(
        values_HW,
        RescaleSlope=2,
        RescaleIntercept=-1000,
        WindowCenter=2000,
        WindowWidth=2000,
        VOILUTFunction="LINEAR_EXACT",
    )
    np.testing.assert_array_equal(gray_of(rescaled), [[0, 0, 128, 255, 255]])


def test_a_falling_rescale_turns_the_film_over():
    falling = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    np.testing.assert_array_equal(gray_of(film(**falling)), gray_of(film(4095 - RAMP_HW)))
    window = {"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}
    np.testing.assert_array_equal(gray_of(film(**falling, **window)), gray_of(film(4095 - RAMP_HW, **window)))


def test_lookup_tables():
    values_HW = np.array([[0, 1, 2, 3, 9]], np.uint16)
    modality = film(values_HW, ModalityLUTSequence=[table([0, 16384, 32768, 65535], 0, 16)])
    np.testing.assert_array_equal(gray_of(modality), [[0, 64, 128, 255, 255]])  # the last entry goes on
    voi = film(values_HW, VOILUTSequence=[table([0, 2048, 4095], 1, 12)])
    np.testing.assert_array_equal(gray_of(voi), [[0, 0, 128, 255, 255]])
    both = film(values_HW, VOILUTSequence=[table([0, 2048, 4095], 1, 12)], WindowCenter=2, WindowWidth=2)
    np.testing.assert_array_equal(gray_of(both), gray_of(voi))


def test_a_long_table_of_bytes_is_indexed_in_full():
    """A table from 12 to 8 bits, as film digitisers write it: entry v is v // 16."""
    long = film(VOILUTSequence=[table([v // 16 for v in range(4096)], 0, 8)])
    np.testing.assert_array_equal(gray_of(long), RAMP_HW // 16)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (film(PixelData=None), "DICOM without pixel data"),
        (
            film(photometric="RGB", SamplesPerPixel=3),
            "colour DICOM (PhotometricInterpretation): only MONOCHROME1 and MONOCHROME2 are read",
        ),
        (film(SamplesPerPixel=3), "colour DICOM (SamplesPerPixel 3): only 1 is read"),
        (
            film(np.zeros((2, 4, 4), np.uint16), NumberOfFrames=2),
            "DICOM of several frames (NumberOfFrames 2): export one file a film",
        ),
        (film(np.zeros((4, 4), np.uint32), bits=32), "DICOM of 32 bits (BitsStored): 1 to 16 are read"),
        (film(syntax=DeflatedExplicitVRLittleEndian), "deflated DICOM file: save it without deflating"),
        (film(RescaleSlope=0, RescaleIntercept=3), "DICOM RescaleSlope 0, which turns every pixel into one value"),
        (film(WindowCenter=5, WindowWidth=0), "DICOM WindowWidth 0: at least 1 is needed"),
        (film(WindowCenter=5, WindowWidth=0.5), "DICOM WindowWidth 0.5: at least 1 is needed"),
        (
            film(WindowCenter=5, WindowWidth=0, VOILUTFunction="SIGMOID"),
            "DICOM WindowWidth 0: more than 0 is needed",
        ),
        (
            film(WindowCenter=5, WindowWidth=9, VOILUTFunction="CUBIC"),
            "DICOM WindowCenter, WindowWidth or VOILUTFunction that cannot be applied",
        ),
        (
            film(VOILUTSequence=[table([0, 300], 0, 8)]),
            "DICOM LUTData with values beyond the bits that its LUTDescriptor declares",
        ),
        (
            film(ModalityLUTSequence=[table([0, 300], 0, 8)]),
            "DICOM LUTData with values beyond the bits that its LUTDescriptor declares",
        ),
        (
            film(VOILUTSequence=[table([0, 0], 0, 8)]),
            "DICOM rescale, lookup table or window that turns every pixel into one value",
        ),
        (film(Rows=9), "damaged DICOM PixelData"),
        (film(Rows=0), "DICOM of 0 Rows and 3 Columns"),
        (film(Rows=None), "DICOM without Rows"),
        (film(BitsStored=None), "DICOM without BitsStored"),
        (film(PixelRepresentation=2), "DICOM PixelRepresentation 2: 0 or 1 is read"),
        (film(BitsAllocated=12), "DICOM BitsAllocated 12: 8, 16, 32 are read"),
        (film(HighBit=7), "DICOM HighBit 7: with BitsStored 12 and BitsAllocated 16 there is none"),
        (
            film(PhotometricInterpretation=None),
            "DICOM without PhotometricInterpretation: MONOCHROME1 or MONOCHROME2 is needed",
        ),
        (film(photometric="SECRET PERSON"), UNKNOWN),
        (
            film(photometric="MONOCHROME1").replace(b"MONOCHROME1", b"monochrome1"),
            "DICOM PhotometricInterpretation is not in capitals: MONOCHROME1 is read",
        ),
        (film(WindowCenter=600, WindowWidth=1600).replace(b"\x50\x10DS", b"\x50\x10ES"), "damaged DICOM WindowCenter"),
        (film()[:300], "DICOM without pixel data"),
        (film()[132:], "DICOM without its preamble (128 bytes, then DICM): save it as a DICOM file"),
        (without_syntax(), "DICOM without TransferSyntaxUID, which says how its pixels are stored"),
    ],
)
def test_what_is_no_film_is_rejected_with_a_reason(data, reason):
    for reader in (images.inspect, Preprocess(8).pixels):
        with pytest.raises(RejectedImage) as error:
            reader(data)
        assert re.sub(r" \(\w+Error\)$", "", str(error.value)) == reason


def with_overlay(data, position):
    """The film with an overlay declared in one bit of its pixels, as PS3.3 C.9.2 once allowed."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.add_new(0x60020100, "US", 16)
    dataset.add_new(0x60020102, "US", position)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def test_bits_of_a_declared_overlay_are_not_read_as_brightness():
    """The upper four of sixteen bits once held overlays."""
    np.testing.assert_array_equal(gray_of(with_overlay(film(RAMP_HW | 0xF000), 12)), gray_of(film()))


def refusal(data):
    with pytest.raises(RejectedImage) as error:
        images.inspect(data)
    return str(error.value)


@pytest.mark.parametrize("overlay", [None, 0])
def test_values_above_the_declared_bits_are_refused_with_their_range(overlay):
    """14 bits where BitsStored says 12; an overlay in an element of its own (position 0) changes nothing."""
    data = film(RAMP_HW * 4)
    data = data if overlay is None else with_overlay(data, overlay)
    assert refusal(data) == "DICOM pixel values from 0 to 16380: BitsStored 12 holds 0 to 4095"
    one_spot_HW = RAMP_HW.copy()
    one_spot_HW[1, 1] = 4200
    assert refusal(film(one_spot_HW)) == "DICOM pixel values from 0 to 4200: BitsStored 12 holds 0 to 4095"
    signed_HW = np.array([[-2049, 0, 5]], np.int16)
    assert refusal(film(signed_HW)) == "DICOM pixel values from -2049 to 5: BitsStored 12 holds -2048 to 2047"


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
def test_compressed_films_are_refused_alike(syntax, tmp_path):
    """Encoded with the bits they have; what the header then says of them is no longer so."""
    values_HW = np.random.default_rng(3).integers(0, 2**14, (32, 32), dtype=np.uint16)
    data = compressed(film(values_HW, bits=14), syntax, tmp_path)
    np.testing.assert_array_equal(gray_of(data), np.rint(values_HW * (255 / (2**14 - 1))))
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.BitsStored, dataset.HighBit = 12, 11
    expected = f"DICOM pixel values from {values_HW.min()} to {values_HW.max()}: BitsStored 12 holds 0 to 4095"
    assert refusal(saved(dataset)) == expected
    dataset.HighBit = 15
    assert refusal(saved(dataset)) == "compressed DICOM with HighBit 15 and BitsStored 12"


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"])
@pytest.mark.parametrize(("rows", "columns"), [(416, 32), (24, 48), (16, 32), (32, 31)])
def test_a_compressed_film_of_another_size_than_its_header_says(syntax, rows, columns, tmp_path):
    """Of too few pixels gdcm would end the process (JPEG-LS), of too many it would return some."""
    values_HW = np.random.default_rng(3).integers(0, 2**12, (24, 32), dtype=np.uint16)
    dataset = pydicom.dcmread(io.BytesIO(compressed(film(values_HW), syntax, tmp_path)))
    dataset.Rows, dataset.Columns = rows, columns
    line = f"DICOM PixelData of 24 x 32 pixels, Rows and Columns say {rows} x {columns}"
    assert refusal(saved(dataset)) == line


def compressed(data, syntax, folder):
    gdcm = pytest.importorskip("gdcm")
    (folder / "plain.dcm").write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(folder / "compressed.dcm"))
    assert writer.Write()
    return (folder / "compressed.dcm").read_bytes()


def saved(dataset):
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def test_a_negative_value_may_lack_the_repetition_of_its_sign():
    """PS3.5 8.1.1 promises nothing of the unused bits: 0x0800 is -2048 of 12 bits, as 0xF800 is."""
    signed_HW = np.array([[-2048, -1, 2047]], np.int16)
    np.testing.assert_array_equal(gray_of(film(signed_HW & 0x0FFF)), gray_of(film(signed_HW)))


@pytest.mark.parametrize(("high_bit", "shift"), [(15, 4), (13, 2)])
def test_bits_that_are_stored_higher_up_are_shifted_down(high_bit, shift):
    np.testing.assert_array_equal(gray_of(film(RAMP_HW << shift, HighBit=high_bit)), gray_of(film()))
    below = film((RAMP_HW << shift) + 1, HighBit=high_bit)
    assert refusal(below) == f"DICOM with HighBit {high_bit}, and values in the bits below those stored"


def test_more_frames_than_declared_are_refused():
    """Three films where Rows, Columns and NumberOfFrames tell of one; a byte of padding is none."""
    three = film(np.stack([RAMP_HW] * 3), Rows=2, Columns=3)
    assert refusal(three) == "DICOM PixelData of 3 frames, NumberOfFrames says 1"
    np.testing.assert_array_equal(gray_of(film(PixelData=RAMP_HW.tobytes() + b"\0\0")), gray_of(film()))


@pytest.mark.parametrize("declared", [16, 13, 12])
def test_a_table_that_declares_more_bits_than_it_holds_is_read_by_its_largest_entry(declared):
    """Entries of 12 bits: 255 v / 4095, whatever more the descriptor promises."""
    identity = table(range(4096), 0, declared)
    np.testing.assert_array_equal(gray_of(film(VOILUTSequence=[identity])), gray_of(film()))
    np.testing.assert_array_equal(gray_of(film(ModalityLUTSequence=[identity])), gray_of(film()))


@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_of_which_the_film_reaches_a_part_is_read_by_all_of_it(sequence):
    """Entries 0 to 4095 of 12 bits, and 10 bits stored: 1023 is 1023 of 4095."""
    data = film(np.array([[0, 512, 1023]], np.uint16), bits=10, **{sequence: [table(range(4096), 0, 12)]})
    np.testing.assert_array_equal(gray_of(data), [[0, 32, 64]])


def test_a_table_of_half_its_range_or_more_is_read_by_what_it_declares():
    """Entries up to 200 of 8 bits: 200 is 200."""
    values_HW = np.array([[0, 1, 2]], np.uint16)
    np.testing.assert_array_equal(gray_of(film(values_HW, VOILUTSequence=[table([0, 90, 200], 0, 8)])), [[0, 90, 200]])


def test_a_patient_number_of_odd_bytes_is_a_patient():
    data = film().replace(b"MRN-4711", b"MRN\xff\xfe\\11")
    assert images.inspect(data).patient.startswith("dicom-")


def test_a_film_too_large_is_rejected_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 5)
    with pytest.raises(RejectedImage, match=r"^too large: 3 x 2 pixels$"):
        images.inspect(film())


def outcome(data):
    try:
        return "" if Preprocess(8).pixels(data).shape == (8, 8) else "wrong shape"
    except RejectedImage as error:
        return str(error)


def test_damaged_films_are_always_a_rejection_or_pixels_and_say_nothing_of_the_header():
    rng = np.random.default_rng(2)
    whole = film(WindowCenter=2000, WindowWidth=2001)
    reasons = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(300):
            data = bytearray(whole)
            for position in rng.integers(132, len(data), 6):
                data[position] = rng.integers(256)
            reasons.append(outcome(bytes(data)))
    assert len([reason for reason in reasons if reason]) > 10
    assert not [reason for reason in reasons if "Secret" in reason or "4711" in reason]


# ------------------------------------------------------------------------------------------- files that pydicom ships


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [
        ("dicomdirtests/77654033/CR1/6154", "DICOM MONOCHROME1 12-bit", (16, 16)),
        ("MR_small.dcm", "DICOM MONOCHROME2 16-bit", (64, 64)),
        ("JPEGLSNearLossless_08.dcm", "DICOM MONOCHROME2 8-bit", (10, 45)),
        ("693_J2KI.dcm", "DICOM MONOCHROME2 14-bit", (512, 512)),
    ],
)
def test_shipped_files_are_described(name, mode, size):
    found = images.inspect((SHIPPED / name).read_bytes())
    assert (found.mode, found.width, found.height) == (mode, *size)


@pytest.mark.parametrize("other", ["RLE", "bigendian", "implicit", "jp2klossless", "jpeg_ls_lossless"])
def test_one_film_in_every_encoding(other):
    """The same magnetic resonance image, uncompressed and by five other transfer syntaxes."""
    plain_HW = gray_of((SHIPPED / "MR_small.dcm").read_bytes())
    assert len(np.unique(plain_HW)) > 100
    np.testing.assert_array_equal(gray_of((SHIPPED / f"MR_small_{other}.dcm").read_bytes()), plain_HW)


def test_a_shipped_radiograph_by_hand():
    """Computed radiography, MONOCHROME1, x = 0.684 v + 200, LINEAR window: (x - 1599.5) / 2799 + 0.5."""
    path = SHIPPED / "dicomdirtests" / "77654033" / "CR1" / "6154"
    dataset = pydicom.dcmread(path)
    header = [
        float(dataset[name].value) for name in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
    ]
    assert header == [0.684, 200, 1600, 2800]
    share_HW = np.clip((0.684 * dataset.pixel_array + 200 - 1599.5) / 2799 + 0.5, 0, 1)
    np.testing.assert_array_equal(gray_of(path.read_bytes()), np.rint(255 * (1 - share_HW)))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("examples_rgb_color.dcm", "colour DICOM"),
        ("examples_ybr_color.dcm", r"several frames \(NumberOfFrames 30\)"),
        ("examples_palette.dcm", "colour DICOM"),
        ("test-SR.dcm", "without pixel data"),
        ("rtdose_1frame.dcm", "32 bits"),
        ("image_dfl.dcm", "deflated"),
        ("MR_truncated.dcm", "damaged DICOM PixelData"),
    ],
)
def test_shipped_files_that_are_no_radiographs(name, reason):
    with pytest.raises(RejectedImage, match=reason):
        images.inspect((SHIPPED / name).read_bytes())


def test_without_pydicom_one_line_says_what_to_install(tmp_path):
    path = tmp_path / "film.dcm"
    path.write_bytes(film())
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from pneumo_batch.core.data import images\n"
        "from pneumo_batch.errors import RejectedImage\n"
        "try: images.inspect(open(sys.argv[1], 'rb').read())\n"
        "except RejectedImage as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert result.stdout == "DICOM needs pydicom: pip install 'pneumo-batch[dicom]'\n"
