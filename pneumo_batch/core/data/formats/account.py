"""What reading a published data set cost, in numbers: said by `data check`, and by a run before it begins."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Account:
    """`rows` are films in the label files, `patients` those they name (None where the set names none).

    `labels[finding]` counts the films by label: positive, negative, uncertain, unmentioned. `left_out[why]` are films
    with a row and a file that the job does not use, each counted once. `remarks` say in words what else there is.
    """

    rows: int
    patients: int | None
    rows_without_file: int
    files_without_row: int
    labels: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, int]
    patients_in_two_splits: int
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def with_remark(self, line: str) -> "Account":
        return dataclasses.replace(self, remarks=(*self.remarks, line))

    def lines(self) -> Iterator[str]:
        """What the images and their manifest do not show, one line each."""
        if self.rows_without_file:
            yield f"{_count(self.rows_without_file, 'row')} of the label files without a file: not used"
        if self.files_without_row:
            yield f"{_count(self.files_without_row, 'image file')} without a row in the label files: not used"
        for why, films in self.left_out.items():
            yield f"{_count(films, 'film')} left out: {why}"
        if self.patients_in_two_splits:
            yield f"{_count(self.patients_in_two_splits, 'patient')} in two splits of the set"
        yield from self.remarks


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
