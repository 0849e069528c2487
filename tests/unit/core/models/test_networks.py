import pytest
import torch
import torchvision
from torch import nn

from pneumo_batch.core.models import networks

# design/3-seed.md: the keys and shapes of the notebooks' state dict with 3 channels at 224 px.
SEED_SHAPES = {
    "conv1.0.weight": (32, 3, 3, 3),
    "conv1.0.bias": (32,),
    "conv1.2.weight": (32,),
    "conv1.2.bias": (32,),
    "conv1.2.running_mean": (32,),
    "conv1.2.running_var": (32,),
    "conv1.2.num_batches_tracked": (),
    "conv2.0.weight": (64, 32, 3, 3),
    "conv2.3.weight": (64,),
    "conv3.0.weight": (64, 64, 3, 3),
    "conv3.2.weight": (64,),
    "conv4.0.weight": (128, 64, 3, 3),
    "conv4.3.running_var": (128,),
    "conv5.0.weight": (256, 128, 3, 3),
    "conv5.3.bias": (256,),
    "fc.0.weight": (128, 12544),
    "fc.0.bias": (128,),
    "fc.3.weight": (1, 128),
    "fc.3.bias": (1,),
}


def build(name="cnn5", image_size=64, channels=1, outputs=1):
    return networks.build(name, image_size=image_size, channels=channels, outputs=outputs)


def test_cnn5_has_the_notebooks_state_dict():
    state = build(image_size=224, channels=3).state_dict()
    assert {key: tuple(state[key].shape) for key in SEED_SHAPES} == SEED_SHAPES
    assert len(state) == 2 * 5 + 5 * 5 + 4  # convolutions, batch norms, the head
    assert build(image_size=96).fc[0].in_features == 256 * 3 * 3


@pytest.mark.parametrize("size", [16, 100])
def test_cnn5_names_the_image_sizes_it_takes(size):
    with pytest.raises(ValueError, match=f"multiple of 32, not {size}"):
        build(image_size=size)


@pytest.mark.parametrize("name", ["cnn5", "resnet18", "squeezenet1_1", "densenet121"])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (3, 3)])
def test_networks_take_the_channels_and_give_the_outputs_asked_for(name, channels, outputs):
    model = build(name, channels=channels, outputs=outputs).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, channels, 64, 64)).shape == (2, outputs)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_resnet18_has_the_notebooks_head():
    head = build("resnet18").fc
    assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert (head[0].in_features, head[0].out_features, head[2].p, head[3].out_features) == (512, 128, 0.5, 1)


def users_network(image_size, channels, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, outputs))


def not_a_network(image_size, channels, outputs):
    return "no"


def wrong_outputs(image_size, channels, outputs):
    return users_network(image_size, channels, outputs + 1)


def users(name, monkeypatch):
    import sys
    import types

    module = types.ModuleType("users_networks")
    module.network, module.text, module.wrong = users_network, not_a_network, wrong_outputs
    monkeypatch.setitem(sys.modules, "users_networks", module)
    return build(f"users_networks:{name}", image_size=8)


def test_a_users_network_is_called_with_the_shape(monkeypatch):
    assert users("network", monkeypatch)[1].in_features == 64


@pytest.mark.parametrize(
    ("name", "message"),
    [("text", "returned str"), ("wrong", r"must return logits of shape \(B, 1\), not \(1, 2\)"), ("no", "no callable")],
)
def test_a_users_network_that_does_not_fit_is_named(name, message, monkeypatch):
    with pytest.raises(ValueError, match=message):
        users(name, monkeypatch)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "unknown network 'resnet19'.*cnn5.*densenet121.*resnet18"),
        ("no_such_module:f", r"^'no_such_module:f': no such module: is its folder on PYTHONPATH\?$"),
        ("torch.no_such:f", r"^'torch.no_such:f': no such module: is its folder on PYTHONPATH\?$"),
        ("squeezenet1_1", "'squeezenet1_1' cannot take an image of shape"),
    ],
)
def test_bad_networks_are_named(name, message):
    with pytest.raises(ValueError, match=message) as error:
        build(name, image_size=8)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("cnn5", "conv5.1"),
        ("resnet18", "layer4.1"),
        ("densenet121", "features.norm5"),
        ("squeezenet1_1", "classifier.1"),
    ],
)
def test_the_automatic_grad_cam_layer(name, layer):
    assert networks.grad_cam_layer(build(name)) == layer


def test_grad_cam_layers_by_name():
    model = build()
    assert networks.grad_cam_layer(model, "conv3.0") == "conv3.0"
    with pytest.raises(ValueError, match=r"no layer 'conv5.11' \(did you mean .*conv5.1"):
        networks.grad_cam_layer(model, "conv5.11")
    with pytest.raises(ValueError, match=r"no Conv2d in the network: .* \(the last there are: 2, 3, .*, 11\)"):
        networks.grad_cam_layer(nn.Sequential(*(nn.Linear(2, 2) for _ in range(12))))


SPREAD = [  # name, the layer, and (h, w) of its maps at 64 px
    ("vgg11_bn", "features.25", (4, 4)),
    ("mobilenet_v3_small", "features.12.0", (2, 2)),
    ("efficientnet_b0", "features.8.0", (2, 2)),
    ("convnext_tiny", "features.7.2", (2, 2)),
    ("swin_t", "permute", (2, 2)),
    ("vit_b_16", "encoder.layers.encoder_layer_11.ln_1", (4, 4)),
]


@pytest.mark.parametrize(("name", "layer", "shape"), SPREAD)
def test_a_spread_of_torchvision_networks_has_a_grad_cam_layer(name, layer, shape):
    with torch.device("meta"):  # shapes alone: vit_b_16 has 86 million weights
        model = networks.torchvision_network(name, image_size=64, channels=1, outputs=1).eval()
        assert networks.grad_cam_layer(model) == layer
        seen = []
        model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[2]))
        assert model(torch.zeros(1, 1, 64, 64)).shape == (1, 1)
    found = seen[0].shape
    assert found[2:] == shape if len(found) == 4 else found[1] == 1 + shape[0] * shape[1]


@pytest.mark.parametrize("layer", ["features.7.1", "norm", "features.7"])
def test_grad_cam_refuses_maps_with_the_channels_last(layer):
    with torch.device("meta"):
        model = networks.torchvision_network("swin_t", image_size=64, channels=3, outputs=1)
    with pytest.raises(ValueError, match=f"'{layer}' gives maps with the channels last: take permute"):
        networks.grad_cam_layer(model, layer)
    assert networks.grad_cam_layer(model, "features.0.0") == "features.0.0"  # a convolution


def test_torchxrayvisions_densenet():
    pytest.importorskip("torchxrayvision", reason="the extra pneumo-batch[xrv] is not installed")
    model = build("torchxrayvision:densenet121").eval()
    assert networks.grad_cam_layer(model) == "features.norm5"
    assert model.state_dict()["features.conv0.weight"].shape == (64, 1, 7, 7)
    assert model.classifier.out_features == 1


def test_torchxrayvision_is_an_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    with pytest.raises(ValueError, match=r"needs torchxrayvision: pip install 'pneumo-batch\[xrv\]'"):
        build("torchxrayvision:densenet121")


@pytest.mark.parametrize(
    ("name", "size", "made"),
    [
        ("googlenet", 64, {"aux_logits": False, "init_weights": False}),
        ("inception_v3", 96, {"aux_logits": False, "init_weights": False}),
        ("regnet_y_400mf", 64, {}),
        ("resnet18", 64, {}),
    ],
)
def test_the_layer_of_known_networks_gives_all_that_their_pooling_takes(name, size, made):
    """Of a branch alone, Grad-CAM would explain a tenth of what the logit is made of."""
    model = torchvision.models.get_model(name, weights=None, **made).eval()
    given, taken = [], []
    model.get_submodule(networks.grad_cam_layer(model)).register_forward_hook(lambda _m, _i, out: given.append(out))
    model.avgpool.register_forward_pre_hook(lambda _m, inputs: taken.append(inputs[0]))
    with torch.no_grad():
        model(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(given[0], taken[0])
