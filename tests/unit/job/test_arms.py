"""`[[arm]]` tables: what they may say, and that they are another job."""

from typing import get_args

import pytest

from pneumo_batch.core.data.options import Stratum
from pneumo_batch.core.variants import Arm, Variant
from pneumo_batch.errors import JobError
from pneumo_batch.job import jobfile
from pneumo_batch.job.schema.arms import Labels

HALF = {"name": "half", "fraction": 0.5, "seeds": [200, 201]}


def job(*arms, **sections):
    return jobfile.parse({"name": "job", "data": {"root": "images"}, **sections, "arm": list(arms)}, "job.toml")


def fingerprint(*arms, **sections):
    return jobfile.fingerprint(job(*arms, **sections), {"data": "abc"})


def test_arms_join_the_two_that_need_no_table():
    fresh = {"name": "fresh", "labels": "untrained", "seeds": [7]}
    found = job(HALF, fresh, train={"random_unit": "patient", "random_within": ["sex"]})
    assert found.arms == {
        "true": Arm("true", "true"),
        "random": Arm("random", "permuted", unit="patient", within=("sex",)),
        "half": Arm("half", "permuted", 0.5),
        "fresh": Arm("fresh", "untrained"),
    }
    assert found.trained == [
        Variant("true_0", "true", 0),
        Variant("random_100", "random", 100),
        Variant("half_200", "half", 200),
        Variant("half_201", "half", 201),
        Variant("fresh_7", "fresh", 7),
    ]


@pytest.mark.parametrize(
    "changed", [{"seeds": [200]}, {"fraction": 0.25}, {"unit": "patient"}, {"within": ["sex"]}, {"name": "other"}]
)
def test_every_field_of_an_arm_is_in_the_fingerprint(changed):
    assert len({fingerprint(), fingerprint(HALF), fingerprint({**HALF, **changed})}) == 3


def test_without_arms_the_fingerprint_is_that_of_a_job_that_knows_of_none():
    values = jobfile.result_values(job())
    assert "arm" not in values


def test_labels_can_be_of_every_column_that_labels_are_permuted_within():
    columns = {name.removeprefix("column:") for name in get_args(Labels) if ":" in name}
    assert columns == set(get_args(Stratum))


REFUSED = [
    ([{**HALF, "name": "random"}], "arm.0.name: 'random' is the arm of train.random_seeds; choose another name"),
    ([{**HALF, "name": "true_again"}], "arm.0.name: must not have true among its words, as kinds of pairs have"),
    ([{**HALF, "name": "two_cross"}], "arm.0.name: must not end in cross, as kinds of pairs on two films do"),
    (
        [{**HALF, "name": "a__b"}],
        "arm.0.name: must begin with a lower-case letter and hold only",
    ),
    ([{**HALF, "labels": "shuffled"}], "arm.0.labels: Input should be 'true', 'permuted', 'untrained', 'column:view'"),
    ([{**HALF, "fraction": 1.5}], "arm.0.fraction: Input should be less than or equal to 1"),
    ([{**HALF, "labels": "untrained"}], 'arm.0: fraction is for labels = "permuted", not "untrained"'),
    ([{"name": "a", "labels": "true", "unit": "patient", "seeds": [1]}], 'arm.0: unit is for labels = "permuted"'),
    ([{"name": "a", "seeds": [1, 1]}], "arm.0.seeds: names an entry twice"),
    ([{"name": "a", "seeds": []}], "arm.0.seeds: List should have at least 1 item"),
    ([{"name": "a"}], "arm.0.seeds: is missing"),
    ([{"name": "a", "seeds": [100]}], "arm.a: seed 100 is one of train already"),
    ([HALF, {"name": "a", "seeds": [5, 201]}], "arm.a: seed 201 is one of arm.half already"),
    ([HALF, {**HALF, "seeds": [5]}], "arm: two [[arm]] tables are called half"),
]


@pytest.mark.parametrize(("arms", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_an_arm_that_cannot_be_is_one_line(arms, message):
    with pytest.raises(JobError) as refused:
        job(*arms)
    assert str(refused.value).startswith(f"job.toml: {message}")
    assert "\n" not in str(refused.value)


def test_another_column_is_for_networks_of_one_logit():
    several = {"root": "a", "format": "nih", "findings": ["Mass", "Nodule"]}
    with pytest.raises(JobError, match=r'^job.toml: arm.sex: labels = "column:sex" needs two classes, or one finding'):
        job({"name": "sex", "labels": "column:sex", "seeds": [1]}, data=several)


def test_another_network_starts_from_no_weights_of_the_first():
    deep = {"name": "deep", "labels": "true", "network": "resnet18", "seeds": [1]}
    assert job(deep).networks == ["cnn5", "resnet18"]
    with pytest.raises(JobError, match=r'^job.toml: arm.deep: network needs network.weights = "none"'):
        job(deep, network={"name": "resnet18", "weights": "imagenet"})
