"""MIMIC-CXR-JPG: three zipped tables, labels of a study, views that are missing, a study that has no labels."""

from collections.abc import Sequence

import numpy as np

from pneumo_batch.core.data.phantom import layouts
from pneumo_batch.core.data.phantom.cases import LATERAL, Case
from pneumo_batch.core.data.phantom.layouts import Written, chexpert

NAMES, SHARES = chexpert.NAMES, layouts.SHARES
COLUMNS = sorted(chexpert.COLUMNS)
LATERALS, PUBLISHED, SIDE, CROPPED = True, True, None, True

_UNVIEWED, _UNLABELLED = 9, 20  # one film, one study in so many


def path(case: Case) -> str:
    subject = str(_subject(case))
    return f"files/p{subject[:2]}/p{subject}/s{_study(case)}/{_dicom(case)}.jpg"


def _subject(case: Case) -> int:
    return 10_000_000 + case.number("person", 7)


def _study(case: Case) -> int:
    return 50_000_000 + case.number("study", 7)


def _dicom(case: Case) -> str:
    digits = case.digest("film")
    return "-".join(digits[k : k + 8] for k in range(0, 40, 8))


def encode(_: Case, image_HW: np.ndarray) -> bytes:
    return layouts.jpeg(image_HW)


def _is_labelled(case: Case) -> bool:
    return _study(case) % _UNLABELLED != 0


def labels(case: Case) -> dict[str, int | None]:
    found = chexpert.mentioned(case)
    return {name: found[name] if _is_labelled(case) else None for name in COLUMNS}


def tables(films: Sequence[Written]) -> dict[str, bytes]:
    cases = [film.case for film in layouts.listed(films)]
    studies = {_study(case): case for case in cases if _is_labelled(case)}
    sizes = {film.case: (film.height, film.width) for film in films}
    return {
        f"mimic-cxr-2.0.0-{name}.csv.gz": layouts.zipped(layouts.csv(rows))
        for name, rows in (
            ("chexpert", [_label_row(case) for case in studies.values()]),
            ("metadata", [_metadata(case, *sizes[case]) for case in cases]),
            ("split", [_split_row(case) for case in cases]),
        )
    }


def _label_row(case: Case) -> dict[str, object]:
    said = {name: None if value is None else float(value) for name, value in labels(case).items()}
    return {"subject_id": _subject(case), "study_id": _study(case), **said}


def _split_row(case: Case) -> dict[str, object]:
    return {"dicom_id": _dicom(case), "study_id": _study(case), "subject_id": _subject(case), "split": case.split}


def _metadata(case: Case, height: int, width: int) -> dict[str, object]:
    view = None if case.number("film", 9) % _UNVIEWED == 0 else case.view
    words = {"PA": "postero-anterior", "AP": "antero-posterior", LATERAL: "lateral"}
    return {
        "dicom_id": _dicom(case),
        "subject_id": _subject(case),
        "study_id": _study(case),
        "PerformedProcedureStepDescription": "CHEST (PA AND LAT)" if case.view != "AP" else "CHEST (PORTABLE AP)",
        "ViewPosition": view,
        "Rows": height,
        "Columns": width,
        "StudyDate": 21_800_101 + 10_000 * case.study,
        "StudyTime": 80_000.5 + case.film,
        "ProcedureCodeSequence_CodeMeaning": "CHEST (PA AND LAT)" if case.view != "AP" else "CHEST (PORTABLE AP)",
        "ViewCodeSequence_CodeMeaning": view and words[view],
        "PatientOrientationCodeSequence_CodeMeaning": "Erect",
    }
