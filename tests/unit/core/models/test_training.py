import numpy as np
import pytest
import torch

from pneumo_batch.core.data.images import Preprocess, Split
from pneumo_batch.core.data.pixels import Pixels
from pneumo_batch.core.models import labels, networks, objective, training
from pneumo_batch.core.variants import Arm

PREPROCESS = Preprocess(size=32)


def split(count=24, seed=0):
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 32, 32), dtype=np.uint8), np.arange(count) % 2)


def trainer(**changes):
    settings = {
        "seed": 3,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "sampler": "weighted",
        "plateau": "train",
        "plateau_patience": 1,
        **changes,
    }
    torch.manual_seed(settings["seed"])
    model = networks.build("cnn5", image_size=32, channels=1, outputs=1)
    return training.Trainer(model, PREPROCESS, training.Recipe(**settings))


def test_a_resumed_training_repeats_the_uninterrupted_one_exactly(tmp_path):
    train, val = split(), split(8, seed=1)
    whole = trainer()
    training.fit(whole, train, val, lambda row: None)
    first = trainer()
    first.run_epoch(train, val)
    torch.save(first.state(), tmp_path / "state.pt")
    resumed = trainer(seed=3)
    resumed.load(torch.load(tmp_path / "state.pt", weights_only=True))
    training.fit(resumed, train, val, lambda row: None)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=0, atol=0)
    without_clock = [[{k: v for k, v in row.items() if k != "seconds"} for row in t.history] for t in (whole, resumed)]
    assert without_clock[0] == without_clock[1]


@pytest.mark.parametrize(("side", "sizes"), [(32, [256, 44]), (64, [256, 44]), (224, [20] * 15), (512, [4] * 75)])
def test_large_images_are_evaluated_in_smaller_batches(side, sizes):
    """As many pixels at a time as 256 images of 64 x 64 have: what a training needs beside its model stays bounded."""
    network, seen = torch.nn.Sequential(torch.nn.MaxPool2d(side), torch.nn.Flatten(), torch.nn.Linear(1, 1)), []
    network.register_forward_pre_hook(lambda _network, inputs: seen.append(len(inputs[0])))
    shades_N = (np.arange(300) % 256).astype(np.uint8)
    logits_NK = training.predict(
        network, Preprocess(side, mean=0.0, std=1.0), shades_N[:, None, None].repeat(side, 1).repeat(side, 2)
    )
    assert seen == sizes
    expected_N = network[2].weight.item() * shades_N / 255 + network[2].bias.item()
    np.testing.assert_allclose(logits_NK[:, 0], expected_N, atol=1e-5)


class Halves:
    """Images in two parts, as files of a run have them."""

    side = 32

    def __init__(self, pixels_NHW):
        self.pixels_NHW, self.rows = pixels_NHW, -(-len(pixels_NHW) // 2)

    def open(self, number):
        return self.pixels_NHW[number * self.rows :][: self.rows]


def in_parts(given):
    return Split(Pixels(Halves(given.pixels_NHW), range(len(given))), given.labels_N)


def test_images_in_parts_give_the_weights_that_an_array_gives_bit_by_bit():
    train, val = split(), split(8, seed=1)
    whole, parted = trainer(memorise=1.0), trainer(memorise=1.0)
    training.fit(whole, train, val, lambda row: None)
    training.fit(parted, in_parts(train), in_parts(val), lambda row: None)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(parted.network.state_dict()[name], value, rtol=0, atol=0)
    torch.testing.assert_close(parted.logits(in_parts(train)), whole.logits(train), rtol=0, atol=0)
    second = training.predict(parted.network, PREPROCESS, in_parts(val).pixels_NHW[1::2])  # of two workers
    torch.testing.assert_close(
        second, training.predict(whole.network, PREPROCESS, val.pixels_NHW[1::2]), rtol=0, atol=0
    )


def test_a_random_variant_stops_once_it_has_memorised_and_keeps_that_epoch():
    train, val = split(), split(8, seed=1)
    learner = trainer(epochs=200, memorise=0.9, learning_rate=1e-3)
    training.fit(learner, train, val, lambda row: None)
    assert learner.epoch < 200
    assert learner.memorised >= 0.9
    assert learner.best_epoch == learner.epoch
    measured = objective.accuracy_of(learner.logits(train), train.labels_N)
    assert learner.memorised == pytest.approx(measured)  # both classes have twelve films


class Answers(torch.nn.Module):
    """Says the same of every film."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, inputs_BCHW):
        return self.logits.expand(len(inputs_BCHW), -1)


@pytest.mark.parametrize(("logits", "counts"), [((-9.0,), (270, 11)), ((9.0, 0.0, 0.0), (270, 6, 5))])
def test_naming_the_majority_is_not_memorising(logits, counts):
    settings = {"batch_size": 281, "sampler": "shuffle", "learning_rate": 1e-6, "plateau_patience": 9, "epochs": 2}
    recipe = training.Recipe(seed=0, plateau="none", memorise=0.95, **settings)
    learner = training.Trainer(Answers(*logits), PREPROCESS, recipe)
    train = Split(np.zeros((281, 32, 32), np.uint8), np.repeat(np.arange(len(counts)), counts))
    training.fit(learner, train, Split(train.pixels_NHW[:0], train.labels_N[:0]), lambda row: None)
    assert learner.epoch == 2  # it had its time, and did not stop early
    assert learner.history[0]["train_accuracy"] == pytest.approx(270 / 281)
    assert learner.memorised == pytest.approx(1 / len(counts))


def test_a_true_variant_keeps_its_best_epoch_and_stops_without_progress():
    train, val = split(), split(8, seed=1)
    learner = trainer(epochs=60, patience=2)
    training.fit(learner, train, val, lambda row: None)
    losses = [row["val_loss"] for row in learner.history]
    assert learner.best_epoch == int(np.argmin(losses)) + 1
    assert learner.epoch == learner.best_epoch + 2
    best = objective.loss_sum(learner.logits(val), torch.from_numpy(val.labels_N)).item() / len(val)
    assert best == pytest.approx(min(losses), rel=1e-5)


def test_weighted_batches_draw_classes_equally_and_shuffled_ones_take_every_image_once():
    labels_N = np.array([0] * 900 + [1] * 100)
    drawn = np.concatenate(list(trainer(batch_size=100)._batches(labels_N)))
    share = labels_N[drawn].mean()
    assert abs(share - 0.5) < 5 * np.sqrt(0.25 / len(drawn))  # five standard errors
    shuffled = np.concatenate(list(trainer(sampler="shuffle", batch_size=100)._batches(labels_N)))
    assert sorted(shuffled) == list(range(1000))


def test_losses_are_those_of_the_definition():
    logits_B1, labels_B = torch.tensor([[0.0], [2.0]]), torch.tensor([1, 0])
    expected = np.log(2) + np.log1p(np.exp(2.0))
    assert objective.loss_sum(logits_B1, labels_B).item() == pytest.approx(expected)
    logits_BK = torch.tensor([[1.0, 1.0, 1.0]])
    assert objective.loss_sum(logits_BK, torch.tensor([2])).item() == pytest.approx(np.log(3))
    assert objective.predictions(torch.tensor([[-1.0], [0.5]])).tolist() == [0, 1]
    assert objective.predictions(torch.tensor([[0.0, 3.0, 1.0]])).tolist() == [1]


def test_labels_of_a_random_variant_are_one_permutation_by_its_own_seed():
    labels_N = np.arange(1000) % 3
    one = labels.training_labels(Arm("random", "permuted"), 100, labels_N)
    again = labels.training_labels(Arm("random", "permuted"), 100, labels_N)
    other = labels.training_labels(Arm("random", "permuted"), 101, labels_N)
    assert sorted(one) == sorted(labels_N)
    np.testing.assert_array_equal(one, again)
    assert (one != labels_N).any()
    assert (one != other).any()
    assert labels.training_labels(Arm("true", "true"), 0, labels_N) is labels_N
