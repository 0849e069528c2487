"""How a cluster is shared out, worked out by hand."""

import pytest

from pneumo_batch import jobfile
from pneumo_batch.config import JobError
from pneumo_batch.core import variants
from pneumo_batch.stages import shares, train
from pneumo_batch.stages.cluster import Resources
from pneumo_batch.stages.shares import AttributionShare, TrainingShare

GB = 1e9
ONE_ACTOR = int(700e6 + 500e6 + 4 * 64 * 2**20)  # without models


def job(train=None, **cluster):
    return jobfile.parse({"name": "j", "cluster": cluster, "train": train or {}}, source="test")


@pytest.mark.parametrize(
    ("wanted", "variants", "resources", "expected"),
    [
        ({}, 4, Resources(2, 0, 8 * GB), TrainingShare(2, 1, 0.0)),
        ({}, 1, Resources(8, 0, 8 * GB), TrainingShare(1, 8, 0.0)),
        ({"trainings": 2}, 8, Resources(16, 4, 8 * GB), TrainingShare(2, 8, 1.0)),
        ({}, 8, Resources(16, 4, 8 * GB), TrainingShare(4, 4, 1.0)),
    ],
)
def test_training_takes_what_fits(wanted, variants, resources, expected):
    assert shares.training(job(**wanted), variants, resources) == expected


def test_training_with_more_workers_than_cpus_is_refused():
    with pytest.raises(JobError, match=r"train\.workers = 4 but the cluster has 2 CPUs"):
        shares.training(job(train={"workers": 4}), 1, Resources(2, 0, 8 * GB))
    with pytest.raises(JobError, match=r"train\.workers = 4 but the cluster has 2 GPUs"):
        shares.training(job(train={"workers": 4}), 1, Resources(16, 2, 8 * GB))


@pytest.mark.parametrize(
    ("wanted", "resources", "expected"),
    [
        ({}, Resources(4, 0, 100 * GB), AttributionShare(4, 4, 1, 0.0, ONE_ACTOR)),
        ({"actors": 2}, Resources(4, 0, 100 * GB), AttributionShare(2, 2, 2, 0.0, ONE_ACTOR)),
        ({}, Resources(16, 2, 100 * GB), AttributionShare(2, 2, 1, 1.0, ONE_ACTOR)),
        ({"gpus_per_actor": 0.25}, Resources(16, 2, 100 * GB), AttributionShare(8, 8, 1, 0.25, ONE_ACTOR)),
        ({"gpus_per_actor": 0}, Resources(16, 2, 100 * GB), AttributionShare(16, 16, 1, 0.0, ONE_ACTOR)),
        ({"actors": [2, 9]}, Resources(4, 0, 100 * GB), AttributionShare(2, 9, 1, 0.0, ONE_ACTOR)),
        ({}, Resources(16, 0, 3 * GB), AttributionShare(2, 2, 8, 0.0, ONE_ACTOR)),  # memory for two
    ],
)
def test_attribution_takes_what_fits(wanted, resources, expected):
    assert shares.attribution(job(**wanted), 0, resources) == expected


@pytest.mark.parametrize(
    ("wanted", "resources", "line"),
    [
        ({"actors": 5}, Resources(4, 0, 100 * GB), "cluster.actors = 5 but there are enough CPUs for 4 only"),
        ({"actors": 5}, Resources(8, 0, 3 * GB), "cluster.actors = 5 but there are enough bytes of memory for 2 only"),
        ({"actors": 5}, Resources(8, 2, 100 * GB), "cluster.actors = 5 but there are enough GPUs for 2 only"),
        ({"gpus_per_actor": 1}, Resources(4, 0, 100 * GB), "cluster.gpus_per_actor = 1 but the cluster has 0 GPUs"),
        ({}, Resources(4, 0, 1 * GB), "needs about 1.5 GB of memory, the cluster has 1.0 GB"),
    ],
)
def test_attribution_that_does_not_fit_is_refused_with_the_numbers(wanted, resources, line):
    with pytest.raises(JobError, match=line.replace(".", r"\.")):
        shares.attribution(job(**wanted), 0, resources)


def test_models_count_three_times():
    assert shares.attribution(job(), 1 * GB, Resources(8, 0, 5 * GB)).actors == 1
    assert shares.attribution(job(), 1 * GB, Resources(8, 0, 9 * GB)).actors == 2


def test_training_images_beyond_memory_are_refused_with_the_numbers():
    shares.check_training_memory(5216, 224, 0.6 * GB)  # 2 * 5216 * 224 * 224 = 523 MB
    with pytest.raises(JobError, match=r"5216 of 224 x 224 need about 0\.5 GB, this machine has 0\.5 GB free"):
        shares.check_training_memory(5216, 224, 0.5 * GB)


def test_a_variant_stays_in_its_slot_whichever_are_done():
    every = [variants.trained("true", seed) for seed in range(5)]
    assert train.slots(every, every, 2) == [[every[0], every[2], every[4]], [every[1], every[3]]]
    assert train.slots(every, every[3:], 2) == [[every[4]], [every[3]]]
    assert train.slots(every, every[4:], 2) == [[every[4]], []]
