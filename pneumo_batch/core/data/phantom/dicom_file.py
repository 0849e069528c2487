"""Generated films as DICOM files, some with black and white exchanged. Needs the extra `dicom`."""

import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit

from pneumo_batch.core.data.phantom import layouts
from pneumo_batch.core.data.phantom.cases import Case

_INVERTED = 4  # one film in so many is MONOCHROME1


def stored(case: Case, image_HW: np.ndarray, *, bits: int) -> bytes:
    """Uncompressed, with a window over all that the bits hold, and nothing of the patient."""
    dataset = _header(case, image_HW, bits)
    most = 2**bits - 1
    values_HW = np.rint(image_HW / 255 * most).astype("<u2")
    dataset.WindowCenter, dataset.WindowWidth = 2 ** (bits - 1), 2**bits
    dataset.PixelData = (most - values_HW if _is_inverted(case) else values_HW).tobytes()
    return _file(dataset, ExplicitVRLittleEndian)


def compressed(case: Case, image_HW: np.ndarray, *, patient: str, instance: str | None = None) -> bytes:
    """JPEG of 8 bits, with the patient's number, sex and age."""
    dataset = _header(case, image_HW, 8)
    dataset.SOPInstanceUID = instance or dataset.SOPInstanceUID
    dataset.PatientID = dataset.PatientName = patient
    dataset.PatientSex, dataset.PatientAge = case.sex, f"{case.age:03}Y"
    dataset.ViewPosition = case.view
    dataset.PixelData = encapsulate([layouts.jpeg(255 - image_HW if _is_inverted(case) else image_HW)])
    return _file(dataset, JPEGBaseline8Bit)


def _is_inverted(case: Case) -> bool:
    return case.number("film", 9) % _INVERTED == 0


def _header(case: Case, image_HW: np.ndarray, bits: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = f"1.2.276.0.7230010.3.1.4.{case.number('film', 12)}"
    dataset.Modality = "CR"
    dataset.BodyPartExamined = "CHEST"
    dataset.Rows, dataset.Columns = image_HW.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if _is_inverted(case) else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = (16 if bits > 8 else 8), bits, bits - 1
    dataset.PixelRepresentation = 0
    return dataset


def _file(dataset: Dataset, syntax: UID) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
