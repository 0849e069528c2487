"""Whatever comes in: names, job files and image bytes that nobody thought of."""

import io
import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pneumo_batch.core.data import manifest
from pneumo_batch.core.data.images import Preprocess
from pneumo_batch.errors import JobError, RejectedImage
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema import Job

SIZE = 32
FORMATS = ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "PPM")


@given(st.text(st.characters(exclude_characters="/"), min_size=1).filter(lambda name: name != "."))
def test_every_name_has_a_patient(name):
    patient, subtype = manifest.parse_name(name)
    assert patient
    assert subtype in (None, "bacteria", "virus")


@given(st.integers(1, 99999), st.sampled_from(["bacteria", "virus"]), st.integers(1, 9999))
def test_patients_of_the_published_names(person, subtype, number):
    """The person's number means one thing among bacteria and another among viruses (2-method: number and subtype)."""
    first = manifest.parse_name(f"person{person}_{subtype}_{number}.jpeg")
    assert first == manifest.parse_name(f"person{person}_{subtype}_{number + 1}.jpeg")
    assert first[1] == subtype
    other = {"bacteria": "virus", "virus": "bacteria"}[subtype]
    assert manifest.parse_name(f"person{person}_{other}_{number}.jpeg")[0] != first[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    (section, name)
    for section, field in Job.model_fields.items()
    if hasattr(field.annotation, "model_fields")
    for name in field.annotation.model_fields
]


@settings(max_examples=300)
@given(st.sampled_from(FIELDS), JSON)
def test_any_value_of_any_field_is_a_job_or_one_line_that_names_it(place, value):
    section, name = place
    found = outcome(lambda: jobfile.parse({"name": "j", section: {name: value}}, source="job.toml"), JobError)
    if isinstance(found, Job):
        assert len(jobfile.fingerprint(found, {})) == 64
    else:
        assert found.startswith("job.toml: ")
        assert section in found
        assert "\n" not in found


@given(st.text(string.printable))
def test_any_override_is_a_job_or_one_line(text):
    def load():
        values = {"name": "j"}
        jobfile._override(values, text)
        return jobfile.parse(values, source="job.toml")

    found = outcome(load, JobError)
    assert isinstance(found, Job) or "\n" not in found.replace(text, "")


def outcome(function, error):
    """What a function returns, or the text of the error it raises."""
    try:
        return function()
    except error as raised:
        return str(raised)


def film(form):
    rows = np.linspace(0, 255, 48 * 40).reshape(48, 40).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(rows).save(file, form)
    return file.getvalue()


@st.composite
def damaged(draw):
    """An image file with some bytes changed, cut off, repeated or put in."""
    data = bytearray(film(draw(st.sampled_from(FORMATS))))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "cut", "repeat", "insert"]))
        if kind == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == "repeat":
            data[at:at] = data[at : at + 32]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
    return bytes(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged() | st.binary(max_size=200))
def test_damaged_bytes_are_pixels_or_a_rejection(data):
    assert_pixels_or_rejection(data)


@pytest.mark.faults
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(damaged())
def test_damaged_bytes_for_longer(data):
    """No crash of the process, no hang: pytest's own limit of time ends it."""
    assert_pixels_or_rejection(data)


def assert_pixels_or_rejection(data):
    found = outcome(lambda: Preprocess(size=SIZE).pixels(data), RejectedImage)
    if isinstance(found, str):
        assert found.strip()
        assert "\n" not in found
    else:
        assert found.shape == (SIZE, SIZE)
        assert found.dtype == np.uint8
