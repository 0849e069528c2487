"""How a cluster is shared out, worked out by hand."""

import pytest

from pneumo_batch.core import variants
from pneumo_batch.errors import JobError
from pneumo_batch.execution import resources as shares
from pneumo_batch.execution.cluster import Node, Resources
from pneumo_batch.execution.resources import AttributionShare, TrainingShare
from pneumo_batch.job import jobfile
from pneumo_batch.stages import train

GB = 1e9
ONE_ACTOR = int(700e6 + 500e6 + 4 * 64 * 2**20)  # without models


def one_node(cpus, gpus, memory):
    return Resources((Node(cpus, gpus, memory),))


def job(train=None, size=224, **cluster):
    sections = {"cluster": cluster, "train": train or {}, "data": {"image_size": size}}
    return jobfile.parse({"name": "j", **sections}, source="test")


@pytest.mark.parametrize(
    ("wanted", "variants", "resources", "expected"),
    [
        ({}, 4, one_node(2, 0, 8 * GB), TrainingShare(2, 1, 0.0)),
        ({}, 1, one_node(8, 0, 8 * GB), TrainingShare(1, 8, 0.0)),
        ({"trainings": 2}, 8, one_node(16, 4, 8 * GB), TrainingShare(2, 8, 1.0)),
        ({}, 8, one_node(16, 4, 8 * GB), TrainingShare(4, 4, 1.0)),
        ({"size": 128}, 9, one_node(16, 2, 8 * GB), TrainingShare(8, 2, 0.25)),  # small films leave a GPU waiting
        ({"size": 64}, 9, one_node(2, 1, 8 * GB), TrainingShare(2, 1, 0.25)),
        ({"size": 64}, 9, one_node(16, 0, 8 * GB), TrainingShare(9, 1, 0.0)),
        ({"size": 64, "gpus_per_training": 1}, 9, one_node(16, 2, 8 * GB), TrainingShare(2, 8, 1.0)),
        ({"gpus_per_training": 0.5}, 9, one_node(16, 2, 8 * GB), TrainingShare(4, 4, 0.5)),
        ({"gpus_per_training": 0}, 9, one_node(4, 2, 8 * GB), TrainingShare(4, 1, 0.0)),
        ({"size": 64, "train": {"workers": 2}}, 9, one_node(16, 4, 8 * GB), TrainingShare(2, 4, 1.0)),
        ({"trainings": 9}, 8, one_node(4, 0, 8 * GB), TrainingShare(4, 1, 0.0)),
        ({"trainings": [2, 6]}, 8, one_node(16, 0, 8 * GB), TrainingShare(6, 8, 0.0)),  # two fit now, eight CPUs each
        ({"trainings": [2, 6]}, 4, one_node(16, 0, 8 * GB), TrainingShare(4, 8, 0.0)),
        ({"trainings": [3, 6]}, 8, one_node(2, 0, 8 * GB), TrainingShare(6, 1, 0.0)),
        ({"trainings": [1, 6]}, 1, one_node(2, 0, 8 * GB), TrainingShare(1, 2, 0.0)),
    ],
)
def test_training_takes_what_fits(wanted, variants, resources, expected):
    assert shares.training(job(**wanted), variants, resources) == expected


def test_training_with_more_workers_than_cpus_is_refused():
    with pytest.raises(JobError, match=r"train\.workers = 4 but the cluster has 2 CPUs"):
        shares.training(job(train={"workers": 4}), 1, one_node(2, 0, 8 * GB))
    with pytest.raises(JobError, match=r"train\.workers = 4 but the cluster has 2 GPUs"):
        shares.training(job(train={"workers": 4}), 1, one_node(16, 2, 8 * GB))
    with pytest.raises(JobError, match=r"cluster\.gpus_per_training = 0\.5 but the cluster has 0 GPUs"):
        shares.training(job(gpus_per_training=0.5), 1, one_node(16, 0, 8 * GB))


@pytest.mark.parametrize(
    ("wanted", "resources", "expected"),
    [
        ({}, one_node(4, 0, 100 * GB), AttributionShare(4, 4, 1, 0.0, ONE_ACTOR)),
        ({"actors": 2}, one_node(4, 0, 100 * GB), AttributionShare(2, 2, 2, 0.0, ONE_ACTOR)),
        ({}, one_node(16, 2, 100 * GB), AttributionShare(2, 2, 1, 1.0, ONE_ACTOR)),
        ({"gpus_per_actor": 0.25}, one_node(16, 2, 100 * GB), AttributionShare(8, 8, 1, 0.25, ONE_ACTOR)),
        ({"size": 64}, one_node(16, 2, 100 * GB), AttributionShare(8, 8, 1, 0.25, ONE_ACTOR)),
        ({"size": 64, "gpus_per_actor": 1}, one_node(16, 2, 100 * GB), AttributionShare(2, 2, 1, 1.0, ONE_ACTOR)),
        ({"gpus_per_actor": 0}, one_node(16, 2, 100 * GB), AttributionShare(16, 16, 1, 0.0, ONE_ACTOR)),
        ({"actors": [2, 9]}, one_node(4, 0, 100 * GB), AttributionShare(2, 9, 1, 0.0, ONE_ACTOR)),
        ({}, one_node(16, 0, 3 * GB), AttributionShare(2, 2, 8, 0.0, ONE_ACTOR)),  # memory for two
    ],
)
def test_attribution_takes_what_fits(wanted, resources, expected):
    assert shares.attribution(job(**wanted), 0, resources) == expected


@pytest.mark.parametrize(
    ("wanted", "resources", "line"),
    [
        ({"actors": 5}, one_node(4, 0, 100 * GB), "cluster.actors = 5 but there are enough CPUs for 4 only"),
        ({"actors": 5}, one_node(8, 0, 3 * GB), "cluster.actors = 5 but there are enough bytes of memory for 2 only"),
        ({"actors": 5}, one_node(8, 2, 100 * GB), "cluster.actors = 5 but there are enough GPUs for 2 only"),
        ({"gpus_per_actor": 1}, one_node(4, 0, 100 * GB), "cluster.gpus_per_actor = 1 but the cluster has 0 GPUs"),
        ({}, one_node(4, 0, 1 * GB), "needs about 1.5 GB of memory, the largest node has 1.0 GB"),
    ],
)
def test_attribution_that_does_not_fit_is_refused_with_the_numbers(wanted, resources, line):
    with pytest.raises(JobError, match=line.replace(".", r"\.")):
        shares.attribution(job(**wanted), 0, resources)


CPU_NODES = Resources((Node(15, 0, 64 * GB),) * 4)
MIXED = Resources((Node(7, 1, 64 * GB), Node(63, 0, 64 * GB)))


@pytest.mark.parametrize(
    ("resources", "variants", "workers", "expected"),
    [
        (CPU_NODES, 2, 1, TrainingShare(2, 15, 0.0)),  # not 60 // 2: no node has 30
        (CPU_NODES, 5, 1, TrainingShare(5, 7, 0.0)),  # not 60 // 5: only four would fit side by side
        (CPU_NODES, 1, 6, TrainingShare(1, 7, 0.0)),
        (MIXED, 2, 1, TrainingShare(1, 7, 1.0)),  # the other node's CPUs are of no use to a training on a GPU
        (Resources((Node(0, 0, GB), Node(1, 0, GB))), 3, 1, TrainingShare(1, 1, 0.0)),
    ],
)
def test_a_training_worker_fits_on_a_node(resources, variants, workers, expected):
    assert shares.training(job(train={"workers": workers}), variants, resources) == expected


def test_an_attribution_actor_fits_on_a_node():
    assert shares.attribution(job(actors=1), 0, CPU_NODES).cpus == 15
    assert shares.attribution(job(actors=6), 0, CPU_NODES).cpus == 7
    assert shares.attribution(job(), 0, MIXED) == AttributionShare(1, 1, 1, 1.0, ONE_ACTOR)
    assert shares.attribution(job(), 0, Resources((Node(4, 0, 4 * GB), Node(4, 0, 2 * GB)))).actors == 2 + 1
    with pytest.raises(JobError, match=r"needs about 1\.5 GB of memory, the largest node has 1\.0 GB"):
        shares.attribution(job(), 0, Resources((Node(8, 0, 1 * GB),) * 4))


def test_what_an_actor_needs_has_to_be_on_one_node():
    apart = Resources((Node(8, 1, 1 * GB), Node(8, 0, 64 * GB)))
    with pytest.raises(JobError, match=r"needs about 1\.5 GB of memory beside 1 GPUs, the largest node has 64\.0 GB"):
        shares.attribution(job(), 0, apart)


def test_a_tenth_of_a_gpu_goes_ten_times():
    assert shares.attribution(job(gpus_per_actor=0.1), 0, one_node(16, 1, 64 * GB)).actors == 10


def test_models_count_three_times():
    assert shares.attribution(job(), 1 * GB, one_node(8, 0, 5 * GB)).actors == 1
    assert shares.attribution(job(), 1 * GB, one_node(8, 0, 9 * GB)).actors == 2


def test_a_variant_stays_in_its_slot_whichever_are_done():
    every = [variants.trained("true", seed) for seed in range(5)]
    assert train.slots(every, every, 2) == [[every[0], every[3], every[4]], [every[1], every[2]]]
    assert train.slots(every, every[2:], 2) == [[every[3], every[4]], [every[2]]]
    assert train.slots(every, every[4:], 2) == [[every[4]], []]
