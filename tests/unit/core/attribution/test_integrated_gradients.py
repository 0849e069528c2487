import numpy as np
import pytest
import torch
from torch import nn

from pneumo_batch.core.attribution.explainer import Explainer
from pneumo_batch.core.attribution.integrated_gradients import IntegratedGradients, nodes, passes, refinements
from pneumo_batch.core.data.images import Preprocess

ZERO = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize(
    ("rule", "points", "weights"),
    [
        ("midpoint", [0.125, 0.375, 0.625, 0.875], [0.25] * 4),
        ("left", [0, 0.25, 0.5, 0.75], [0.25] * 4),
        ("right", [0.25, 0.5, 0.75, 1], [0.25] * 4),
        # the roots of P_2, moved from [-1, 1] to [0, 1]
        ("gauss-legendre", [0.5 - 12**-0.5, 0.5 + 12**-0.5], [0.5, 0.5]),
    ],
)
def test_rules(rule, points, weights):
    found = nodes(rule, len(points))
    np.testing.assert_allclose(found[0], points, rtol=1e-14)
    np.testing.assert_allclose(found[1], weights, rtol=1e-14)


def test_refinements_are_midpoint_rules_that_keep_every_point():
    points, weights = np.empty(0), np.empty(0)
    for steps, (added, added_weights) in zip([6, 18, 54, 162, 486], refinements(), strict=True):
        points, weights = np.concatenate([points, added]), np.concatenate([weights / 3, added_weights])
        np.testing.assert_allclose(np.sort(points), (np.arange(steps) + 0.5) / steps, rtol=1e-14)
        np.testing.assert_allclose(weights, 1 / steps, rtol=1e-14)


@pytest.mark.parametrize(
    ("points", "pass_size", "sizes"), [(50, 8, [7, 7, 7, 8, 7, 7, 7]), (50, 32, [25, 25]), (3, 8, [3]), (4, 1, [1] * 4)]
)
def test_passes_are_balanced_and_cover_every_point_once(points, pass_size, sizes):
    slices = passes(points, pass_size)
    assert [len(range(points)[part]) for part in slices] == sizes
    assert [point for part in slices for point in range(points)[part]] == list(range(points))


class Power(nn.Module):
    """sum of x^power."""

    def __init__(self, power):
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power, dtype=torch.float64))

    def forward(self, inputs_BCHW):
        return (inputs_BCHW**self.power).flatten(1).sum(1, keepdim=True)


def explain(model, inputs_BCHW, **options):
    methods = {"integrated_gradients": {"steps": "auto", **options}}
    return Explainer(model, methods, Preprocess(inputs_BCHW.shape[2], mean=0.0, std=1.0))(
        inputs_BCHW, ZERO.expand(len(inputs_BCHW))
    )


@pytest.mark.parametrize(
    ("power", "tolerance", "steps"),
    [
        (1.0, 1e-12, 18),  # exact on any level: the second level confirms it
        # midpoint of 3 a^2 on n intervals lacks 1 / (4 n^2), which is the completeness error: 0.00077 at n = 18; the
        # estimate there is 10^-0.5 (9 - 1) / (4 n^2 - 1) = 0.00195
        (3.0, 0.002, 18),
        (3.0, 0.0019, 54),
        (3.0, 1e-9, 486),  # never reached: ends at the finest level
    ],
)
def test_auto_stops_where_the_map_and_completeness_have_converged(power, tolerance, steps):
    inputs_BCHW = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)
    found = explain(Power(power), inputs_BCHW, tolerance=tolerance)
    assert found.steps["integrated_gradients"].tolist() == [steps]
    error = 0 if power == 1 else 1 / (4 * steps**2)
    wanted = inputs_BCHW[:, 0] ** power * (1 - error)
    torch.testing.assert_close(found.maps["integrated_gradients"], wanted, rtol=1e-12, atol=0)


def test_auto_decides_for_each_image_alone():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    inputs_BCHW = torch.randn(6, 1, 2, 2, dtype=torch.float64)
    together = explain(model, inputs_BCHW, tolerance=0.01)
    alone = [explain(model, inputs_BCHW[i : i + 1], tolerance=0.01) for i in range(6)]
    assert together.steps["integrated_gradients"].tolist() == [int(a.steps["integrated_gradients"]) for a in alone]
    assert len(set(together.steps["integrated_gradients"].tolist())) > 1
    assert torch.equal(
        together.maps["integrated_gradients"], torch.cat([a.maps["integrated_gradients"] for a in alone])
    )


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 2.5}, {"steps": "many"}, {"tolerance": 0.0}])
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        IntegratedGradients(**options)
