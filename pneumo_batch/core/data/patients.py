"""Who is on a film, as far as its path tells: names of published sets, and a folder for each patient.

A rule looks at one path and never at the others, so that a film's patient stays the same when films join. Where no rule
fits, an image is a patient of its own: merging two people is the worse mistake.
"""

import re
from typing import NamedTuple

from pneumo_batch.core.data import paths

NOBODY = "nothing"  # as the rule: the path tells no patient

_PERSON = re.compile(r"(person\d+)_(bacteria|virus)_")
_SERIES = re.compile(r"((?:NORMAL2-)?IM-\d+)-")

# By each set's own numbering: NIH counts to 30805, MIMIC's subjects begin with 1 and its studies with 5. PadChest's
# names tell the study; a patient's later studies look like another's.
_PUBLISHED = {
    "MIMIC-CXR paths": re.compile(r"(?:^|/)(p1\d{7})[/_-]s5\d{7}[/_-][^/]+$"),
    "CheXpert paths": re.compile(r"(?:^|/)(patient\d{5})[/_-]study\d+[/_-]view\d+_(?:frontal|lateral)[^/]*$"),
    "NIH names": re.compile(r"(?:^|/)(000[0-3]\d{4})_\d{3}\.\w+$"),
    "PadChest names (studies)": re.compile(r"(?:^|/)([\d-]{20,51}(?:_\d\d?)?)_(?:[-a-z0-9]{6}|\d\d-\d{3}-\d{3})\.\w+$"),
}

# Folders with a number that is not a patient's: images_001, site 2, COVID-19.
_GROUP = re.compile(
    r"images?|imgs?|films?|scans?|png|jpe?g|dicom|dcm|raw|data|batch|part|fold|split|subset|set|site|hospital|cent(?:er|re)"
    r"|clinic|institution|scanner|device|study|series|view|visit|exam|stage|grade|type|level|class|group|category|cluster"
    r"|score|severity|covid|sars|cov|mers|year|month|week|day|version|resized|size"
)
_DATE = re.compile(r"(19|20)\d\d([-_.]?\d\d([-_.]?\d\d)?)?")
# As long as that a number is given once in a hospital; "patient 3" may be another one in the folder of the next class.
_GIVEN_ONCE = re.compile(r"\d{5}|[0-9a-f]{8}-[0-9a-f]{4}|(\d+\.){5}")


class Patient(NamedTuple):
    """`id` is the same for all films of one patient; `rule` says what told it."""

    id: str
    rule: str


def parse_name(filename: str) -> tuple[str, str | None]:
    """(patient, subtype) of a file name in the style of the Kaggle set; (stem, None) of any other.

    A patient is (number, subtype) for `person1000_bacteria_2931.jpeg` and the series for `IM-0115-0001.jpeg`: by
    number alone most test patients would also be in train, though they are other people.
    """
    if match := _PERSON.match(filename):
        return f"{match[1]}_{match[2]}", match[2]
    if match := _SERIES.match(filename):
        return match[1], None
    return paths.stem(filename), None


def of_image(image_id: str, class_name: str, folders: tuple[str, ...] = ()) -> Patient:
    """The patient of a film; `folders` are those between the one of its class and the film, if it lies in one."""
    name = paths.name(image_id)
    for rule, pattern in _PUBLISHED.items():
        if match := pattern.search(image_id):
            return Patient(match[1], rule)
    if _PERSON.match(name):
        return Patient(parse_name(name)[0], "Kermany names")
    parts = image_id.split("/")
    above = parts[: len(parts) - len(folders) - 3] if folders else ()  # then come split and class
    for k, folder in enumerate(folders):
        if _is_patient(folder):
            place = above if _GIVEN_ONCE.search(folder) else (*above, class_name, *folders[:k])
            return Patient("/".join([*place, folder]), "patient folders")
    if _SERIES.match(name):
        # Kaggle's lie in the folder of their class; programs that export films begin with IM-0001 in every folder
        place = (*above, class_name, *folders) if folders else ()
        return Patient("/".join([*place, parse_name(name)[0]]), "Kermany names")
    return Patient(paths.without_suffix(image_id), NOBODY)


def is_nobody(image_id: str, patient_id: str) -> bool:
    """Whether a patient stands for a single film of which nothing is known."""
    return patient_id == paths.without_suffix(image_id)


def _is_patient(folder: str) -> bool:
    words = re.findall(r"[^\W\d_]{3,}", folder.lower())
    return any(map(str.isdigit, folder)) and not any(map(_GROUP.fullmatch, words)) and not _DATE.fullmatch(folder)
