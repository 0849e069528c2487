import math

import pytest
import torch
from torch import nn

from pneumo_batch.core.models import networks
from pneumo_batch.core.randomization import cascade
from pneumo_batch.core.randomization.cascade import Derived, Layer

EXAMPLE_1CHW = torch.zeros(1, 1, 64, 64)


class Swapped(nn.Module):
    """Registers its layers in another order than it runs them, one of them twice, with weights of its own."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.norm_b = nn.BatchNorm1d(4)
        self.b = nn.Linear(4, 4)
        self.before = nn.BatchNorm1d(3)
        self.a = nn.Linear(3, 4)
        self.twice = nn.Linear(4, 4)
        self.unused = nn.Linear(2, 2)
        self.shift = nn.Parameter(torch.randn(3))

    def forward(self, inputs_BC):
        hidden = self.twice(self.a(self.before(inputs_BC + self.shift)))
        return self.head(self.twice(self.norm_b(self.b(hidden)).relu()))


def cnn5():
    return networks.build("cnn5", image_size=64, channels=1, outputs=1)


def test_layers_are_in_the_order_of_execution_from_the_output_down():
    found = cascade.layers(Swapped(), torch.zeros(1, 3))
    assert found == [
        Layer("head", ("head.weight", "head.bias")),
        Layer("twice", ("twice.weight", "twice.bias")),
        Layer(
            "b",
            (
                "b.weight",
                "b.bias",
                "norm_b.weight",
                "norm_b.bias",
                "norm_b.running_mean",
                "norm_b.running_var",
                "norm_b.num_batches_tracked",
            ),
        ),
        Layer("a", ("a.weight", "a.bias")),
        # What never runs itself belongs to the parent that does; it is entered first, and a norm follows it.
        Layer(
            "Swapped",
            (
                "shift",
                "unused.weight",
                "unused.bias",
                "before.weight",
                "before.bias",
                "before.running_mean",
                "before.running_var",
                "before.num_batches_tracked",
            ),
        ),
    ]


def test_a_norm_before_any_weights_is_a_layer_of_its_own():
    model = nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 1))
    assert [layer.name for layer in cascade.layers(model, torch.zeros(1, 3))] == ["1", "0"]


def test_layers_leave_the_model_as_it_was():
    model = cnn5().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cascade.layers(model, EXAMPLE_1CHW)
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "top", "count"),
    [
        ("cnn5", ["fc.3", "fc.0", "conv5.0", "conv4.0", "conv3.0", "conv2.0", "conv1.0"], 7),
        # 17 convolutions on the main path, 3 that downsample, 2 layers of the head
        ("resnet18", ["fc.3", "fc.0", "layer4.1.conv2", "layer4.1.conv1", "layer4.0.downsample.0"], 22),
        # A vision transformer keeps weights outside of modules that run: tokens, positions, packed projections.
        ("vit_b_32", ["heads.head", "encoder.layers.encoder_layer_11.mlp.3"], 1 + 12 * 3 + 2 + 1),
    ],
)
def test_layers_of_known_networks_hold_every_entry_once(name, top, count):
    model = networks.build(name, image_size=64, channels=3, outputs=1)
    found = cascade.layers(model, torch.zeros(1, 3, 64, 64))
    assert [layer.name for layer in found[: len(top)]] == top
    assert len(found) == count
    keys = [key for layer in found for key in layer.keys]
    assert sorted(keys) == sorted(model.state_dict())


def test_the_plan_is_each_seeds_cascade_then_each_layer_alone():
    a, b = Layer("a", ("a.weight",)), Layer("b", ("b.weight",))
    assert cascade.plan([a, b], [7], independent=False) == [
        Derived("cascade", 0, 7, ()),
        Derived("cascade", 1, 7, (a,)),
        Derived("cascade", 2, 7, (a, b)),
    ]
    both = cascade.plan([a, b], [7, 8], independent=True)
    assert both[3:5] == [Derived("independent", 1, 7, (a,)), Derived("independent", 2, 7, (b,))]
    assert [one.name for one in both[5:]] == [
        "cascade_0_8",
        "cascade_1_8",
        "cascade_2_8",
        "independent_1_8",
        "independent_2_8",
    ]
    assert [one.layer for one in both[:5]] == ["", "a", "b", "a", "b"]


def trained():
    """A network none of whose entries is as it was initialised."""
    torch.manual_seed(99)
    model = cnn5()
    for tensor in model.state_dict().values():
        tensor.add_(1) if tensor.dtype == torch.int64 else tensor.add_(torch.rand_like(tensor) + 0.1)
    return model.eval()


def test_exactly_the_planned_layers_differ_and_the_rest_is_bit_identical():
    model, initial = trained(), cascade.initial_state(cnn5, 3)
    original = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = cascade.layers(model, EXAMPLE_1CHW)
    for one in cascade.plan(found, [3], independent=True):
        fresh = {key for layer in one.layers for key in layer.keys}
        state = cascade.derive(model, one, initial).state_dict()
        assert {name for name in state if not torch.equal(state[name], original[name])} == fresh
        assert all(torch.equal(state[name], initial[name]) for name in fresh)
        wanted = found[: one.depth] if one.mode == "cascade" else [found[one.depth - 1]]
        assert one.layers == tuple(wanted)
    assert all(torch.equal(tensor, original[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["cnn5", "resnet18"])
def test_the_full_depth_is_the_network_as_training_would_start_it(name):
    def build():
        return networks.build(name, image_size=64, channels=1, outputs=1)

    torch.manual_seed(cascade.draw_seed(5))
    fresh = build().eval()
    torch.manual_seed(1)
    model = build()
    last = cascade.plan(cascade.layers(model, EXAMPLE_1CHW), [5], independent=False)[-1]
    derived = cascade.derive(model, last, cascade.initial_state(build, 5))
    assert not derived.training
    assert all(torch.equal(tensor, fresh.state_dict()[key]) for key, tensor in derived.state_dict().items())
    inputs_BCHW = torch.rand(2, 1, 64, 64)
    assert torch.equal(derived(inputs_BCHW), fresh(inputs_BCHW))


def test_initial_states_depend_on_the_seed_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = cascade.initial_state(cnn5, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(17)
    again, other = cascade.initial_state(cnn5, 3), cascade.initial_state(cnn5, 4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


def test_a_network_never_gets_back_the_weights_its_own_training_seed_drew():
    # The first 32 bits of sha256("cascade:0"), by sha256sum.
    assert cascade.draw_seed(0) == 0x49F4C32C
    torch.manual_seed(0)
    started_from = cnn5().state_dict()
    initial = cascade.initial_state(cnn5, 0)
    for name in ("fc.3.weight", "conv1.0.weight"):
        assert abs(torch.corrcoef(torch.stack([started_from[name].ravel(), initial[name].ravel()]))[0, 1]) < 0.3


def test_a_network_that_starts_from_pretrained_weights_is_refused():
    pretrained = {"weight": torch.arange(3.0)[None]}

    def build():
        model = nn.Linear(3, 1)
        model.load_state_dict(pretrained, strict=False)
        return model

    with pytest.raises(ValueError, match="gives 'weight' the same values whatever the seed"):
        cascade.initial_state(build, 0)


def test_output_entropy_in_bits():
    # p = 3/4: -(3/4) log2(3/4) - (1/4) log2(1/4) = 2 - (3/4) log2(3)
    binary_B = cascade.output_entropy(torch.tensor([[0.0], [math.log(3)], [-math.log(3)], [200.0], [math.nan]]))
    expected = 2 - 0.75 * math.log2(3)
    torch.testing.assert_close(binary_B, torch.tensor([1, expected, expected, 0, math.nan]), equal_nan=True)
    # p = (1/2, 1/4, 1/4): 1/2 + 2/4 + 2/4
    many_B = cascade.output_entropy(torch.tensor([[math.log(2), 0.0, 0.0], [5.0, 5.0, 5.0]]))
    torch.testing.assert_close(many_B, torch.tensor([1.5, math.log2(3)]))
