import numpy as np
import pytest

from pneumo_batch.core.attribution.options import column_suffix
from pneumo_batch.core.attribution.targets import check_target, check_targets, explained_outputs, outputs_of_each

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


@pytest.mark.parametrize(
    ("targets", "classes", "findings", "message"),
    [
        (["positive", "PNEUMONIA"], TWO, [], "with two classes there is one logit, that of PNEUMONIA, and one target"),
        (["label", "VIRUS"], THREE, [], '"label" cannot stand beside other targets; name each class'),
        (["VIRUS", "MASS"], THREE, [], "attribution.target 'MASS': with 3 classes"),
        (["Mass", "Nodule"], TWO, ["Mass", "Effusion"], "'Nodule': of several findings, name one"),
    ],
)
def test_several_targets_are_outputs_by_name(targets, classes, findings, message):
    with pytest.raises(ValueError, match=message):
        check_targets(targets, classes, findings)


def test_of_several_targets_each_is_an_output_of_every_image():
    found_BT = outputs_of_each(["VIRUS", "BACTERIA"], THREE, LABELS_B)
    np.testing.assert_array_equal(found_BT, [[2, 0], [2, 0], [2, 0], [2, 0]])
    findings = ["Mass", "Effusion", "Nodule"]
    found_BT = outputs_of_each(["Nodule", "Mass"], TWO, np.array([0, 1]), findings)
    np.testing.assert_array_equal(found_BT, [[2, 0], [2, 0]])


def test_columns_of_a_further_target_end_with_its_name_made_safe():
    targets = ["Lung Opacity", "No Finding", "Pleural_Thickening", "a/b-c"]
    ends = [column_suffix(target, targets) for target in targets]
    assert ends == ["", "__No_Finding", "__Pleural_Thickening", "__a_b_c"]
    assert column_suffix(None, targets) == ""
    with pytest.raises(KeyError, match="no target 'Mass'; there are: Lung Opacity, No Finding"):
        column_suffix("Mass", targets)
