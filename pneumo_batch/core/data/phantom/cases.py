"""Who is on the films of a generated set with several findings: people, their studies, and the films of a study."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np

from pneumo_batch.core.data.phantom.findings import FINDINGS

TRAIN, VALIDATE, TEST = "train", "validate", "test"
LATERAL = "LATERAL"

_STUDIES = (0.6, 0.3, 0.1)  # how many people have 1, 2, 3 studies
_LATERALS = 0.3  # of the studies also have a lateral film
_VALIDATED = 5  # every fifth person of train
# Multiples of these roots, whole numbers taken off, are spread evenly and independently of each other: so every finding
# and every combination has its share in any stretch of studies.
_ROOTS = tuple(map(math.sqrt, (2, 3, 5, 7)))


@dataclass(frozen=True)
class Case:
    """One film: `person` is a number in the whole set, `study` one of the person's, `film` one of the study's.

    `findings` are those of FINDINGS that the study has; `other` numbers the studies of the split that have some.
    """

    seed: int
    split: str
    person: int
    study: int
    film: int
    view: str  # PA, AP, LATERAL
    sex: str  # F, M
    age: int
    findings: tuple[str, ...]
    other: int | None

    def generators(self) -> tuple[np.random.Generator, np.random.Generator]:
        """(the person's, the film's)."""
        return _generator(self.seed, 0, self.person), _generator(self.seed, 1, self.person, self.study, self.film)

    def framing(self) -> np.random.Generator:
        """How the film is cut."""
        return _generator(self.seed, 4, self.person, self.study, self.film)

    def labelling(self) -> np.random.Generator:
        """What is random in the labels, the same for all films of a study."""
        return _generator(self.seed, 2, self.person, self.study)

    def digest(self, of: str) -> str:
        """64 hexadecimal digits for identifiers that look like chance, of a "person", a "study" or a "film"."""
        depth = ("person", "study", "film").index(of) + 1
        key = (self.seed, *(self.person, self.study, self.film)[:depth])
        return hashlib.sha256(repr(key).encode()).hexdigest()

    def number(self, of: str, digits: int) -> int:
        """A number of that many digits, as `digest`."""
        lowest = 10 ** (digits - 1)
        return lowest + int(self.digest(of), 16) % (9 * lowest)


def plan(
    seed: int, counts: Mapping[str, int], shares: Mapping[str, float], *, laterals: bool, published: bool
) -> list[Case]:
    """The films of TRAIN and TEST, as many as `counts` says; the first ones are the same whatever the counts.

    `shares` are those of the findings among studies. In sets with `published` splits some people of train are VALIDATE,
    and the last one of test is the first of train: what a reader has to notice.
    """
    found: list[Case] = []
    for split, films in counts.items():
        cases = list(islice(_cases(seed, split, shares, laterals), films))
        if published:
            cases = [replace(case, split=_published(case)) for case in cases]
        if published and split == TEST:
            last = cases[-1].person
            cases = [_as_person(case, found[0]) if case.person == last else case for case in cases]
        found += cases
    return found


def _cases(seed: int, split: str, shares: Mapping[str, float], laterals: bool) -> Iterator[Case]:
    others = count()
    studies = count(1)
    for k in count():
        person = 2 * k + (1 if split == TRAIN else 2)
        rng = _generator(seed, 3, person)
        sex, age = "F" if rng.uniform() < 0.5 else "M", int(rng.integers(20, 85))
        for study in range(int(rng.choice([1, 2, 3], p=_STUDIES))):
            findings, view = _dealt(next(studies), shares), "PA" if rng.uniform() < 0.7 else "AP"
            other = next(others) if findings else None
            first = Case(seed, split, person, study, 0, view, sex, age + study, findings, other)
            yield first
            if rng.uniform() < _LATERALS and laterals:
                yield replace(first, film=1, view=LATERAL)


def _dealt(study: int, shares: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(name for name, root in zip(FINDINGS, _ROOTS, strict=True) if study * root % 1 < shares.get(name, 0))


def _published(case: Case) -> str:
    return VALIDATE if case.split == TRAIN and case.person // 2 % _VALIDATED == _VALIDATED - 1 else case.split


def _as_person(case: Case, other: Case) -> Case:
    """As a later study of somebody else."""
    study = case.study + len(_STUDIES)
    return replace(case, person=other.person, sex=other.sex, age=other.age + study, study=study)


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))
