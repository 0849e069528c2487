"""Image files of every format that is read, and ways to spoil them where decoders look: for unit and fault tests."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pydicom
from hypothesis import strategies as st
from PIL import Image
from pyarrow import fs as pafs
from pydicom.filereader import data_element_generator, read_preamble
from pydicom.uid import ExplicitVRLittleEndian

from pneumo_batch.core import table_columns, tables
from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.core.data.roots import Roots
from pneumo_batch.rundir.storage import Store
from pneumo_batch.stages import index
from pneumo_batch.stages.workers import decode

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
_GRAY_HW = np.add.outer(np.arange(24) * 5, np.arange(20) * 6).astype(np.uint8)
SIZE = 16
_INTEGERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 255, 256, 4095, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


def encoded(values, form, **options):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form, **options)
    return stream.getvalue()


def jpeg_with_exif():
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x010F], exif[0x9003] = 6, 72.5, "Maker", "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    return encoded(_GRAY_HW, "JPEG", exif=exif)


_STORED_HW = _GRAY_HW.astype(np.uint16) * 16


def dicom(values_HW=_STORED_HW, **elements):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    dataset.PatientName, dataset.PatientID = "Secret^Person", "MRN-4711"
    dataset.Rows, dataset.Columns = values_HW.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = int(values_HW.dtype.kind == "i")
    dataset.PixelData = values_HW.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def lut():
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [64, 0, 16], list(range(0, 4096, 64))
    item["LUTData"].VR = item["LUTDescriptor"].VR = "US"
    return [item]


def films():
    """By name, the bytes of a sound file and the places that say how it is to be read: (start, end) each."""
    wide_HW = _GRAY_HW.astype(np.uint16) * 257
    tiffs = {
        "TIFF 8": encoded(_GRAY_HW, "TIFF"),
        "TIFF 16": encoded(wide_HW, "TIFF"),
        "TIFF 32": encoded(wide_HW.astype(np.int32) * 32768, "TIFF"),
        "TIFF float": encoded((_GRAY_HW / 255).astype(np.float32), "TIFF"),
        "TIFF LZW": encoded(wide_HW, "TIFF", compression="tiff_lzw"),
    }
    others = {
        "PNG 8": encoded(_GRAY_HW, "PNG"),
        "PNG 16": encoded(wide_HW, "PNG"),
        "JPEG": jpeg_with_exif(),
        **{form: encoded(_GRAY_HW, form) for form in ("GIF", "BMP", "WEBP", "PPM")},
    }
    films = {
        "DICOM": dicom(),
        "DICOM window": dicom(WindowCenter=[2000, 1], WindowWidth=[2001, 2], RescaleSlope=1, RescaleIntercept=-5),
        "DICOM tables": dicom(VOILUTSequence=lut(), ModalityLUTSequence=lut()),
        "DICOM signed": dicom(_GRAY_HW.astype(np.int16) * 8 - 1000, PhotometricInterpretation="MONOCHROME1"),
        **{
            f"DICOM {name}": (SHIPPED / f"MR_small_{name}.dcm").read_bytes()
            for name in ("RLE", "jp2klossless", "jpeg_ls_lossless", "implicit", "bigendian")
        },
    }
    found = {name: (data, _directory(data)) for name, data in tiffs.items()}
    found |= {name: (data, [(0, min(len(data), 220))]) for name, data in others.items()}
    return found | {name: (data, _elements(data)) for name, data in films.items()}


def _directory(data):
    """The entries of a TIFF's directory, twelve bytes each."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    return [(start + 2 + 12 * k, start + 14 + 12 * k) for k in range(count)]


def _elements(data):
    """The elements of a DICOM file from their tag on, the pixels' first bytes only."""
    stream = io.BytesIO(data)
    read_preamble(stream, False)
    meta = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    found = [
        (element.value_tell - 8, element.value_tell + min(max(element.length, 0), 40))
        for element in data_element_generator(stream, False, True, stop_when=lambda tag, *_: tag.group != 2)
    ]
    stream.seek(found[-1][1])
    implicit, little = (
        meta.file_meta.TransferSyntaxUID.is_implicit_VR,
        meta.file_meta.TransferSyntaxUID.is_little_endian,
    )
    for element in data_element_generator(stream, implicit, little):
        length = 40 if element.length == 0xFFFFFFFF else min(element.length, 40)
        found.append((element.value_tell - 8, element.value_tell + length))
    return found


FILMS = films()


@st.composite
def mutated(draw, names=tuple(FILMS)):
    """(name of the source, its bytes spoilt): mostly where they say how the rest is to be read."""
    name = draw(st.sampled_from(names))
    source, places = FILMS[name]
    data = bytearray(source)
    for _ in range(draw(st.integers(1, 3))):
        start, end = draw(st.sampled_from(places)) if draw(st.integers(0, 3)) else (0, len(data))
        at = draw(st.integers(start, max(start, end - 1)))
        _spoil(data, at, end, draw)
    return name, _with_checksums(bytes(data)) if name.startswith("PNG") else bytes(data)


def _spoil(data, at, end, draw):
    kind = draw(st.sampled_from(["byte", "integer", "text", "cut", "repeat", "drop"]))
    if kind == "byte":
        data[at : at + 1] = bytes([draw(st.integers(0, 255))])
    elif kind == "integer":
        size = draw(st.sampled_from([2, 4]))
        data[at : at + size] = (draw(st.sampled_from(_INTEGERS)) % 256**size).to_bytes(size, draw(ORDERS))
    elif kind == "text":
        data[at : at + 2] = draw(
            st.sampled_from([b"US", b"SS", b"OB", b"OW", b"DS", b"SQ", b"UN", b"\xff\xfe", b"-1", b"\\"])
        )
    elif kind == "cut":
        del data[at : at + draw(st.integers(1, 64))]
    elif kind == "repeat":
        data[at:at] = data[at : at + 24]
    else:
        del data[at:end]


ORDERS = st.sampled_from(["little", "big"])


def _with_checksums(data):
    """A PNG whose chunks are what they say: else decoders look no further than their checksums."""
    mended, at = bytearray(data), 8
    while at + 12 <= len(mended):
        (length,) = struct.unpack_from(">I", mended, at)
        end = at + 8 + length
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[at + 4 : end]))
        at = end + 4
    return bytes(mended)


# ------------------------------------------------------------------------------------ through the stages


def listed(folder, data):
    """The listing of one film in a folder of its own, and where it lies."""
    path = folder / "test" / "NORMAL" / "film.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    file = manifest.ImageFile("test/NORMAL/film.png", "test", "NORMAL", len(data))
    return manifest.listing([file], ["NORMAL"]), Roots.one(pafs.LocalFileSystem(), str(folder))


def through_the_stages(folder, data):
    """ "film" or the reason against it, from index and then from attribution."""
    listing, images = listed(folder, data)
    inspected = index.inspect_task(listing, images)
    assert inspected.num_rows == 1
    bad = inspected.filter(pc.is_valid(inspected["rejected"])).select(tables.QUARANTINE.names).cast(tables.QUARANTINE)
    good = inspected.filter(pc.is_null(inspected["rejected"])).select(tables.MANIFEST.names).cast(tables.MANIFEST)
    if bad.num_rows:
        return bad["reason"][0].as_py()
    store = Store(folder / "run")
    decoded = decode.decode_task(good, images, Preprocess(SIZE), store)
    assert (decoded.num_rows, decode.rejected(store)) == (1, [])
    pixels_BHW = table_columns.tensor_array(decoded["pixels"])
    assert (pixels_BHW.shape, pixels_BHW.dtype) == ((1, SIZE, SIZE), np.uint8)
    return "film"
