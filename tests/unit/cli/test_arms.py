"""What the terminal says of arms, and how a verdict required of one ends."""

import pytest

from pneumo_batch import cli
from pneumo_batch.cli import display, estimate
from pneumo_batch.core.statistics.estimates import CellTest, Estimate
from pneumo_batch.core.statistics.outcomes import Requirement
from pneumo_batch.core.statistics.power import power
from pneumo_batch.core.statistics.results import ArmResult, MethodResult, Primary, Results
from pneumo_batch.errors import JobError
from pneumo_batch.pipeline import Outcome
from pneumo_batch.rundir.layout import FORMAT
from pneumo_batch.rundir.reader import Run


def method(verdict, share):
    numbers = CellTest(share=Estimate(share, share - 0.1, share + 0.1), headroom=Estimate(0.1, 0.05, 0.3))
    return MethodResult(verdict, ["So it is."], threshold=0.5, numbers=numbers)


def arm(labels, fraction, **methods):
    return ArmResult(labels, fraction, "image", [], None, [], methods)


ARMS = {
    "random": arm("permuted", 1.0, grad_cam=method("sensitive", 0.9)),
    "half": arm("permuted", 0.5, grad_cam=method("inconclusive", 0.45)),
    "fresh": arm("untrained", 1.0, grad_cam=method("insensitive", 0.2)),
}


@pytest.fixture
def outcome(tmp_path):
    methods = ARMS["random"].methods
    found = Results(Primary("magnitude", "region", "spearman"), 0.5, methods, {}, {}, arms=ARMS)
    run = Run(tmp_path / "run")
    record = {"format": FORMAT, "name": "demo", "status": "complete", "counts": {}, "updated": "today"}
    run.store.write_json(
        "run.json", {**record, "stages": {"conclude": {"status": "complete"}}, "error": None, "fingerprint": "0" * 64}
    )
    run.store.write_json("verdict.json", found.as_dict())
    return Outcome(run, worked=True, complete=True)


def test_an_arm_is_a_line_and_doses_another(outcome, capsys):
    display.show(outcome)
    shown = capsys.readouterr().out.splitlines()
    assert shown[3:6] == [
        "half (50 % of the labels permuted): grad_cam inconclusive, L = 0.450 (95 % interval 0.350 to 0.550)",
        "fresh (fresh weights): grad_cam insensitive, L = 0.200 (95 % interval 0.100 to 0.300)",
        "Grad-CAM: L rises with every step: 0.45 at 50 %, 0.90 at 100 % of the labels permuted; its interval lies above"
        " 0 from 50 % on.",
    ]


@pytest.mark.parametrize(
    ("required", "code"),
    [
        (Requirement(None, "sensitive"), 0),
        (Requirement("grad_cam", "sensitive", arm="random"), 0),
        (Requirement("grad_cam", "insensitive", arm="fresh"), 0),
        (Requirement(None, "sensitive", arm="half"), 4),
        (Requirement(None, "sensitive", arm="other"), 4),
    ],
)
def test_a_verdict_required_of_an_arm(outcome, required, code):
    assert display.exit_code(outcome, [required]) == code


@pytest.mark.parametrize("required", ["full/sensitive", "full/grad_cam=sensitive"])
def test_an_arm_that_the_job_has_not_is_refused_before_anything_is_done(tmp_path, required):
    job = tmp_path / "job.toml"
    job.write_text('name = "job"\n[[arm]]\nname = "half"\nseeds = [7]\n')
    with pytest.raises(JobError, match=f"^--require {required}: the job has no arm 'full'; there are: random, half$"):
        cli.cli.main(["run", str(job), "--require", required], standalone_mode=False)


def test_precision_is_a_line_for_arms_of_as_many_models():
    lines = estimate._power_lines({"random": power(3, 3, 64), "half": power(3, 3, 64), "fresh": power(3, 2, 64)})
    widths = power(3, 3, 64).widths
    assert lines == [
        "random, half: 3 + 3 models, at most 64 patients: 95 % interval of L about"
        f" {widths['little']:.2f} wide where models differ little, {widths['much']:.2f} wide where models differ much;"
        " smallest p = 0.0500",
        "fresh: 3 + 2 models: inconclusive, as an interval of L over models takes 3 + 3",
    ]
