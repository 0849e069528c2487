"""PadChest: labels as a printed Python list with leading spaces, PNG of 16 bits, no published split."""

from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.data.phantom import layouts
from pneumo_batch.core.data.phantom.cases import LATERAL, Case
from pneumo_batch.core.data.phantom.layouts import Written

NAMES = {
    "opacity": "pneumonia",
    "effusion": "pleural effusion",
    "pneumothorax": "pneumothorax",
    "enlarged heart": "cardiomegaly",
}
OTHERS = ("scoliosis", "COPD signs", "aortic elongation", "nodule", "atelectasis")
SHARES = layouts.SHARES
LATERALS, PUBLISHED, SIDE, CROPPED = True, False, None, True

_TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
_FOLDERS = 3
# What is written of films without a finding, one of these in turn; None is an empty cell.
_NOTHING: tuple[list[str] | None, ...] = (["normal"], ["normal"], ["normal"], ["unchanged"], [""], None)


def path(case: Case) -> str:
    return f"{case.person % _FOLDERS}/{_image(case)}"


def _study(case: Case) -> str:
    return f"2168401113669640{case.number('study', 22)}"


def _image(case: Case) -> str:
    return f"{_study(case)}_{case.digest('film')[:6]}.png"


def encode(_: Case, image_HW: np.ndarray) -> bytes:
    return layouts.png(image_HW.astype(np.uint16) * 257)


def _written(case: Case) -> list[str] | None:
    return layouts.named(case, NAMES, OTHERS) or _NOTHING[case.number("study", 9) % len(_NOTHING)]


def labels(case: Case) -> dict[str, int | None]:
    found = _written(case)
    return {name: None if found is None else int(name in found) for name in (*NAMES.values(), *OTHERS)}


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    rows = [{"": number, **_row(film)} for number, film in enumerate(layouts.listed(films))]
    return {_TABLE: layouts.csv(rows)}


def _row(film: Written) -> dict[str, object]:
    case = film.case
    return {
        "ImageID": _image(case),
        "ImageDir": case.person % _FOLDERS,
        "StudyDate_DICOM": 20_140_101 + 10_000 * (case.study % 4),
        "StudyID": _study(case),
        "PatientID": f"{case.number('person', 36)}",
        "PatientBirth": 2014.0 - case.age,
        "PatientSex_DICOM": case.sex,
        **_acquisition(film),
        "ReportID": case.number("study", 7),
        "Report": " informe generado .",
        "MethodLabel": "Physician" if case.number("study", 9) % 3 else "RNN_model",
        **_findings(case),
    }


def _acquisition(film: Written) -> dict[str, object]:
    positions = {"PA": "POSTEROANTERIOR", LATERAL: "LATERAL"}
    projections = {"AP": "AP_horizontal", LATERAL: "L"}
    return {
        "ViewPosition_DICOM": positions.get(film.case.view),
        "Projection": projections.get(film.case.view, film.case.view),
        "MethodProjection": "Manual review of DICOM fields",
        "Pediatric": "No",
        "Modality_DICOM": "CR",
        "Manufacturer_DICOM": "PhilipsMedicalSystems",
        "PhotometricInterpretation_DICOM": "MONOCHROME2",
        "PixelRepresentation_DICOM": 0,
        **dict.fromkeys(("PixelAspectRatio_DICOM", "SpatialResolution_DICOM")),
        "BitsStored_DICOM": 12,
        "WindowCenter_DICOM": 2047.0,
        "WindowWidth_DICOM": 4095.0,
        "Rows_DICOM": film.height,
        "Columns_DICOM": film.width,
        **dict.fromkeys(("XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM")),
        **dict.fromkeys(("ExposureTime", "RelativeXRayExposure_DICOM")),
    }


def _findings(case: Case) -> dict[str, object]:
    """A space stands before the second label, as where the set joins those of two sentences."""
    found = _written(case)
    printed = found and [f" {name}" if k == 1 else name for k, name in enumerate(found)]
    return {
        "Labels": found and str(printed),
        "Localizations": "[]",
        "LabelsLocalizationsBySentence": found and str([[name] for name in found]),
        "labelCUIS": "[]",
        "LocalizationsCUIS": "[]",
    }
