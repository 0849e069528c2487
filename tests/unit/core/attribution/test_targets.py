import numpy as np
import pytest

from pneumo_batch.core.attribution.targets import check_target, explained_outputs

TWO, THREE = ["NORMAL", "PNEUMONIA"], ["BACTERIA", "NORMAL", "VIRUS"]
LABELS_B = np.array([2, 0, 1, 1], dtype=np.int32)


@pytest.mark.parametrize("target", ["positive", "PNEUMONIA"])
def test_two_classes_have_one_logit_whatever_the_label(target):
    found_B = explained_outputs(target, TWO, np.array([0, 1, 1]))
    np.testing.assert_array_equal(found_B, [0, 0, 0])
    assert found_B.dtype == np.int64


def test_label_explains_each_image_by_its_own_class():
    found_B = explained_outputs("label", THREE, LABELS_B)
    np.testing.assert_array_equal(found_B, [2, 0, 1, 1])
    assert found_B.dtype == np.int64


def test_a_named_class_is_the_same_output_for_every_image():
    np.testing.assert_array_equal(explained_outputs("VIRUS", THREE, LABELS_B), [2, 2, 2, 2])


@pytest.mark.parametrize(
    ("target", "classes", "message"),
    [
        ("NORMAL", TWO, "with two classes there is one logit, that of PNEUMONIA"),
        ("label", TWO, "with two classes there is one logit"),
        ("positive", THREE, 'use "label" or one of BACTERIA, NORMAL, VIRUS'),
        ("bacteria", THREE, "with 3 classes"),
    ],
)
def test_an_output_that_is_not_there_is_named_in_one_line(target, classes, message):
    with pytest.raises(ValueError, match=message) as caught:
        check_target(target, classes)
    assert "\n" not in str(caught.value)


def test_of_several_findings_one_is_explained_by_its_name_whatever_the_label():
    findings = ["Mass", "Effusion"]
    np.testing.assert_array_equal(explained_outputs("Effusion", TWO, np.array([0, 1, 1]), findings), [1, 1, 1])
    for target in ("positive", "label", "PNEUMONIA"):
        with pytest.raises(ValueError, match=r"of several findings, name one: Mass, Effusion$"):
            check_target(target, TWO, findings)
