"""What the terminal says of a verdict, and how a required one ends."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from pneumo_batch import cli
from pneumo_batch.cli import display, options
from pneumo_batch.core.statistics import results
from pneumo_batch.core.statistics.estimates import CellTest, Estimate
from pneumo_batch.core.statistics.outcomes import Requirement
from pneumo_batch.core.statistics.pointing import Localisation, Mean, OfFinding
from pneumo_batch.core.statistics.results import ArmResult, MethodResult, Primary, Results, Specificity, TargetResult
from pneumo_batch.errors import JobError, RunError
from pneumo_batch.job import jobfile
from pneumo_batch.pipeline import Outcome
from pneumo_batch.rundir import retention
from pneumo_batch.rundir.layout import FORMAT
from pneumo_batch.rundir.reader import Run
from pneumo_batch.rundir.storage import Store
from pneumo_batch.rundir.writer import RunWriter


def method(verdict, share, **more):
    numbers = CellTest(share=Estimate(share), headroom=Estimate(0.1, -0.1, 0.3))
    return MethodResult(verdict, [f"It is [{verdict}]."], threshold=0.5, numbers=numbers, **more)


RESULTS = Results(
    primary=Primary("magnitude", "region", "spearman"),
    threshold=0.5,
    methods={
        "grad_cam": method("sensitive", 0.951, on_every_film="Everywhere: so."),
        "mine:map[x]": method("invalid", None, read="Read the sign."),
    },
    variants={},
    degenerate={},
)


@pytest.fixture
def outcome(tmp_path):
    run = Run(tmp_path / "old [1]")
    record = {"format": FORMAT, "name": "demo", "status": "complete", "counts": {"images": 7}, "updated": "today"}
    stages = {"conclude": {"status": "complete"}}
    run.store.write_json("run.json", {**record, "stages": stages, "error": None, "fingerprint": "0" * 64})
    run.store.write_json("verdict.json", RESULTS.as_dict())
    return Outcome(run, worked=True, complete=True)


def test_a_method_is_its_verdict_its_reasons_what_happens_everywhere_and_what_to_read(outcome, capsys):
    display.show(outcome)
    assert capsys.readouterr().out.splitlines()[:7] == [
        "Maps of Grad-CAM follow the labels. This run says nothing about maps of mine:map[x]: its models do not meet"
        " the conditions of the test.",
        "grad_cam: sensitive",
        "  It is [sensitive].",
        "  Everywhere: so.",
        "mine:map[x]: invalid",
        "  It is [invalid].",
        "  Read the sign.",
    ]


def test_what_holds_for_every_method_is_said_once(outcome, capsys):
    unfit = "random_0 did not memorise its labels."
    few = "One true variant: no reproducibility ceiling to compare with."
    methods = {name: dataclasses.replace(one, reasons=[unfit]) for name, one in RESULTS.methods.items()}
    methods["mine:map[x]"] = dataclasses.replace(methods["mine:map[x]"], reasons=[unfit, few])
    outcome.run.store.write_json("verdict.json", dataclasses.replace(RESULTS, methods=methods).as_dict())
    display.show(outcome)
    assert capsys.readouterr().out.splitlines()[1:7] == [
        f"  {unfit}",
        "grad_cam: sensitive",
        "  Everywhere: so.",
        "mine:map[x]: invalid",
        f"  {few}",
        "  Read the sign.",
    ]


def test_how_well_maps_point_at_a_finding_is_a_line(outcome, capsys):
    def auprc(value):
        return {"auprc": Mean(value, None, None, 5)}

    found = OfFinding(
        *(5, 4, 9, 0.0666, "training films"),
        methods={},
        kinds={"grad_cam": {"true": auprc(0.412), "random": auprc(0.2)}, "mine:map[x]": {"true": auprc(None)}},
        baselines={"mean_mask": auprc(0.5), "edge": auprc(0.1)},
        differences={},
    )
    located = Localisation(5, 0.0666, {}, {"Mass [x]": found})
    outcome.run.store.write_json("verdict.json", dataclasses.replace(RESULTS, localisation=located).as_dict())
    display.show(outcome)
    assert capsys.readouterr().out.splitlines()[7:9] == [
        "pointing at Mass [x] (AUPRC, 5 films): Grad-CAM 0.41 true and 0.20 random, mine:map[x] none, mean mask 0.50,"
        " chance 0.07",
        "images 7",
    ]


def test_the_state_of_a_run_is_a_line_a_stage(outcome, capsys):
    record = json.loads(outcome.run.store.read_bytes("run.json"))
    stages = {"index": {"status": "complete", "seconds": 1.25, "counts": {"images": 7}}, "train": {"status": "running"}}
    outcome.run.store.write_json("run.json", {**record, "stages": stages, "status": "failed"})
    display.show_status(outcome.run)
    assert capsys.readouterr().out.splitlines()[:4] == [
        "demo  failed  fingerprint 000000000000  today",
        "  index      complete         1.2 s  images 7",
        "  train      unfinished",
        "  attribute  not started",
    ]


@pytest.mark.parametrize(("status", "ends"), [("failed", True), ("running", True), ("complete", False)])
def test_the_state_of_a_run_that_stopped_ends_with_how_it_goes_on(outcome, capsys, status, ends):
    record = json.loads(outcome.run.store.read_bytes("run.json"))
    outcome.run.store.write_json("run.json", {**record, "status": status})
    display.show_status(outcome.run)
    assert (capsys.readouterr().out.splitlines()[-1] == "the same command continues it") == ends


def test_the_stage_that_runs_says_how_far_its_tasks_are(outcome, capsys):
    record = json.loads(outcome.run.store.read_bytes("run.json"))
    stages = {"index": {"status": "complete", "seconds": 1.25}, "train": {"status": "running"}}
    outcome.run.store.write_json("run.json", {**record, "stages": stages, "status": "running"})
    outcome.run.store.remove("verdict.json")
    tasks = {
        "random_0": {"done": 10, "total": 80, "note": "loss 0.253"},
        "true_0": {"done": 0, "total": 10, "note": ""},
    }
    outcome.run.store.write_json("staging/progress.json", {"time": "now", "tasks": tasks})
    with RunWriter(outcome.run.path).lock():
        display.show_status(outcome.run)
    shown = capsys.readouterr().out.splitlines()
    assert "continues" not in shown[-1]
    assert shown[2:6] == [
        "  train      running",
        "    random_0: 10/80  loss 0.253",
        "    true_0: 0/10",
        "  attribute  not started",
    ]
    assert display.as_dict(outcome.run)["progress"]["tasks"] == tasks
    outcome.run.store.remove("staging")
    assert "progress" not in display.as_dict(outcome.run)


def test_the_state_of_a_concluded_run_ends_with_its_answer_and_a_line_a_method(outcome, capsys):
    outcome.run.store.write_bytes("report/index.html", b"</html>")
    display.show_status(outcome.run)
    assert capsys.readouterr().out.splitlines()[8:] == [
        "Maps of Grad-CAM follow the labels. This run says nothing about maps of mine:map[x]: its models do not meet"
        " the conditions of the test.",
        "grad_cam: sensitive, L = 0.951",
        "mine:map[x]: invalid, L = undefined",
        f"report  {outcome.run.path}/report/index.html",
    ]
    told = display.as_dict(outcome.run)
    assert told["verdicts"] == {"grad_cam": "sensitive", "mine:map[x]": "invalid"}
    assert told["shares"] == {"grad_cam": 0.951, "mine:map[x]": None}
    outcome.run.store.remove("verdict.json")
    assert "verdicts" not in display.as_dict(outcome.run)
    display.show_status(outcome.run)
    assert len(capsys.readouterr().out.splitlines()) == 8


def test_a_verdict_of_the_pass_before_is_told_from_one_of_this(outcome, capsys):
    record = json.loads(outcome.run.store.read_bytes("run.json"))
    outcome.run.store.write_json("run.json", {**record, "status": "failed", "pass": 2, "stages": {}})
    display.show_status(outcome.run)
    assert capsys.readouterr().out.splitlines()[8:11] == [
        "the verdict is an earlier one: the stage conclude has yet to run again",
        "Maps of Grad-CAM follow the labels. This run says nothing about maps of mine:map[x]: its models do not meet"
        " the conditions of the test.",
        "grad_cam: sensitive, L = 0.951",
    ]
    assert display.as_dict(outcome.run)["outdated"] is True
    folder = str(outcome.run.path).rpartition("/")[0]
    (row,) = display.rows(folder)
    assert row["outdated"] is True
    display.show_rows([row], folder)
    assert "mine:map[x]: invalid (earlier)" in capsys.readouterr().out
    display.show(outcome)
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "the verdict is an earlier one: the stage conclude has yet to run again"
    assert display.exit_code(outcome, [Requirement("grad_cam", "sensitive")]) == 4
    assert capsys.readouterr().err == "pneumo-batch: --require grad_cam=sensitive: the run has not concluded\n"
    assert outcome.as_dict()["verdict"] is None
    with pytest.raises(RunError, match="is an earlier one; the stage 'conclude' has yet"):
        outcome.run.check_concluded()


def test_the_copy_of_a_record_is_no_run_in_a_list(outcome):
    outcome.run.store.write_twice("run.json", outcome.run.store.read_bytes("run.json"))
    assert display.rows(outcome.run.path) == []


def test_a_list_of_runs_has_shares_beside_verdicts(outcome, capsys):
    folder = str(outcome.run.path).rpartition("/")[0]
    (row,) = display.rows(folder)
    assert row["verdicts"] == {"grad_cam": "sensitive", "mine:map[x]": "invalid"}
    assert row["shares"] == {"grad_cam": 0.951, "mine:map[x]": None}
    display.show_rows([row], folder)
    shown = capsys.readouterr().out
    assert "grad_cam: sensitive (L 0.95), mine:map[x]: invalid" in shown
    assert "old [1]" in shown


@pytest.mark.parametrize(
    ("required", "lines"),
    [
        ([], []),
        ([Requirement(None, "sensitive")], ["--require sensitive: mine:map[x] is invalid"]),
        ([Requirement(None, "insensitive")], ["--require insensitive: grad_cam is sensitive, mine:map[x] is invalid"]),
        ([Requirement("grad_cam", "sensitive")], []),
        ([Requirement("grad_cam", "insensitive")], ["--require grad_cam=insensitive: grad_cam is sensitive"]),
        ([Requirement("grad_cam", "sensitive"), Requirement("mine:map[x]", "invalid")], []),
        (
            [Requirement("grad_cam", "sensitive"), Requirement("mine:map[x]", "sensitive")],
            ["--require mine:map[x]=sensitive: mine:map[x] is invalid"],
        ),
    ],
)
def test_a_required_verdict_that_a_method_has_not_is_said(outcome, capsys, required, lines):
    assert display.exit_code(outcome, required) == (4 if lines else 0)
    assert capsys.readouterr().err.splitlines() == [f"pneumo-batch: {line}" for line in lines]


@pytest.mark.parametrize("named", ["positive", "PNEUMONIA"])
@pytest.mark.parametrize(("chosen", "verdicts"), [("grad_cam", ["sensitive"]), (None, ["sensitive", "invalid"])])
def test_the_only_target_is_required_by_its_name_too(outcome, capsys, named, chosen, verdicts):
    outcome.run.store.write_bytes("job.toml", f"name = 'x'\n[attribution]\ntarget = '{named}'\n".encode())
    assert display.exit_code(outcome, [Requirement(chosen, "insensitive", named)]) == 4
    names = ["grad_cam", "mine:map[x]"]
    others = ", ".join(f"{name} is {verdict}" for name, verdict in zip(names, verdicts, strict=False))
    assert capsys.readouterr().err.endswith(f": {others}\n")
    assert display.exit_code(outcome, [Requirement("grad_cam", "sensitive", named)]) == 0
    assert display.exit_code(outcome, [Requirement("grad_cam", "sensitive", "another")]) == 4
    assert "the run has no verdict for another" in capsys.readouterr().err
    assert display.exit_code(outcome, [Requirement("saliency", "sensitive", named)]) == 4
    assert "saliency is without a verdict" in capsys.readouterr().err


@pytest.mark.parametrize("chosen", ["grad_cam", None])
def test_of_a_further_arm_another_target_than_the_first_has_no_verdict(two_targets, capsys, chosen):
    arm = ArmResult("permuted", 0.5, "image", [], None, ["half_7"], {"grad_cam": method("sensitive", 0.9)})
    found = dataclasses.replace(results.read(two_targets.run.verdict), arms={"half": arm})
    two_targets.run.store.write_json("verdict.json", found.as_dict())
    assert display.exit_code(two_targets, [Requirement(chosen, "sensitive", "Effusion", "half")]) == 0
    assert display.exit_code(two_targets, [Requirement(chosen, "sensitive", "Mass", "half")]) == 4
    assert "the run has no verdict on the arm half for Mass" in capsys.readouterr().err
    assert display.exit_code(two_targets, [Requirement(chosen, "sensitive", "Mass")]) == 4


@pytest.fixture
def two_targets(outcome):
    """The same run with Mass beside Effusion, of which Grad-CAM says the opposite."""
    first = {"grad_cam": method("sensitive", 0.9)}
    second = {"grad_cam": method("insensitive", 0.1)}
    shared = [Specificity(("Effusion", "Mass"), "unspecific", ["They are alike."])]
    targets = {"Effusion": TargetResult(first, {}, {}), "Mass": TargetResult(second, {}, {})}
    found = dataclasses.replace(RESULTS, methods=first, target="Effusion", targets=targets)
    found = dataclasses.replace(found, specificity={"grad_cam": shared})
    outcome.run.store.write_json("verdict.json", found.as_dict())
    outcome.run.store.write_bytes("job.toml", b"name = 'two'\n[attribution]\ntarget = ['Effusion', 'Mass']\n")
    return outcome


def test_several_targets_are_told_one_after_the_other_and_whether_maps_tell_them_apart(two_targets, capsys):
    display.show(two_targets)
    assert capsys.readouterr().out.splitlines()[:9] == [
        "Effusion: Maps of Grad-CAM follow the labels.",
        "Mass: Maps of Grad-CAM show the film: most of what correct models agree on about a film is there without the"
        " labels.",
        "grad_cam, Effusion: sensitive",
        "  It is [sensitive].",
        "grad_cam, Mass: insensitive",
        "  It is [insensitive].",
        "grad_cam, Effusion or Mass: unspecific",
        "  They are alike.",
        "images 7",
    ]
    display.show_status(two_targets.run)
    lines = capsys.readouterr().out.splitlines()
    assert "  explains   Effusion, Mass" in lines
    assert lines[-2:] == ["grad_cam, Effusion: sensitive, L = 0.900", "grad_cam, Mass: insensitive, L = 0.100"]
    folder = str(two_targets.run.path).rpartition("/")[0]
    (row,) = display.rows(folder)
    assert row["verdicts"] == {"grad_cam": "sensitive"}
    assert row["by_target"] == {"Effusion": {"grad_cam": "sensitive"}, "Mass": {"grad_cam": "insensitive"}}
    display.show_rows([row], folder)
    assert "Effusion: grad_cam sensitive; Mass: grad_cam insensitive" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("status", ["complete", "running"])
@pytest.mark.parametrize("arguments", [["status", "{run}"], ["status", "{run}", "--json"], ["ls", "{folder}"]])
def test_the_state_of_a_run_takes_one_look_at_each_of_its_files(two_targets, monkeypatch, arguments, status):
    """On object storage each is a round trip."""
    run = two_targets.run
    run.store.write_json("run.json", {**run.record, "status": status})
    read, reads = Store.read_bytes, Counter()

    def counting(store, name):
        reads[name] += 1
        return read(store, name)

    monkeypatch.setattr(Store, "read_bytes", counting)
    places = {"run": run.path, "folder": run.path.rpartition("/")[0]}
    cli.cli.main([argument.format(**places) for argument in arguments], standalone_mode=False)
    reads.pop("staging/progress.json", None)  # which changes while a run works
    assert reads == {"run.json": 1, "job.toml": 1, "verdict.json": 1}


def test_what_holds_for_every_method_on_a_target_is_said_once_for_it(two_targets, capsys):
    found = RESULTS.as_dict()
    both = {
        name: {**one, "reasons": ["true_0 did not learn.", "random_1 neither."]}
        for name, one in found["methods"].items()
    }
    other = {name: {**one, "reasons": ["true_0 did not learn."]} for name, one in both.items()}
    targets = {"Effusion": {"methods": both}, "Mass": {"methods": other}}
    values = json.loads(two_targets.run.store.read_bytes("verdict.json"))
    targets = {name: {**values["targets"][name], **one} for name, one in targets.items()}
    two_targets.run.store.write_json("verdict.json", {**values, "methods": both, "targets": targets, "specificity": {}})
    display.show(two_targets)
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if "true_0" in line or "random_1" in line] == [
        "  true_0 did not learn.",
        "  random_1 neither.",
    ]
    assert shown[shown.index("  random_1 neither.") - 1] == "every method, Effusion"


@pytest.mark.parametrize(
    ("required", "line"),
    [
        (Requirement("grad_cam", "sensitive"), "--require grad_cam=sensitive: grad_cam is insensitive for Mass"),
        (Requirement(None, "sensitive"), "--require sensitive: "),
        (Requirement("grad_cam", "sensitive", "Effusion"), ""),
        (Requirement(None, "insensitive", "Mass"), ""),
        (Requirement("grad_cam", "sensitive", "Mass"), "--require grad_cam@Mass=sensitive: grad_cam is insensitive"),
    ],
)
def test_a_required_verdict_is_of_every_target_or_of_the_one_named(two_targets, capsys, required, line):
    assert display.exit_code(two_targets, [required]) == (4 if line else 0)
    assert line in capsys.readouterr().err


def test_a_run_that_has_not_concluded_meets_no_requirement(outcome, capsys):
    outcome.run.store.remove("verdict.json")
    assert display.exit_code(outcome, [Requirement("grad_cam", "sensitive")]) == 4
    assert capsys.readouterr().err == "pneumo-batch: --require grad_cam=sensitive: the run has not concluded\n"


@pytest.mark.parametrize(
    ("required", "message"),
    [
        (
            "good",
            "--require good: 'good' is no verdict: choose one of sensitive, insensitive, inconclusive, invalid",
        ),
        (
            "grad_cam=sensitiv",
            "--require grad_cam=sensitiv: 'sensitiv' is no verdict (did you mean sensitive?): choose one of"
            " sensitive, insensitive, inconclusive, invalid",
        ),
        (
            "grad_cam@Flu=sensitive",
            "--require grad_cam@Flu=sensitive: the job has no target 'Flu'; there are: positive",
        ),
        (
            "gradcam=sensitive",
            "--require gradcam=sensitive: the job has no method 'gradcam' (did you mean grad_cam?); there are:"
            " grad_cam",
        ),
    ],
)
def test_a_requirement_that_no_run_can_meet_is_one_line_before_anything_is_done(
    tmp_path, monkeypatch, capsys, required, message
):
    job = tmp_path / "job.toml"
    job.write_text("name = 'j'\n[attribution]\nmethods = ['grad_cam']\n")
    monkeypatch.setattr("sys.argv", ["pneumo-batch", "run", str(job), "--require", required])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"pneumo-batch: {message}"]


SETTINGS = ["integrated_gradients@blur", "integrated_gradients@mean", "grad_cam"]


@pytest.mark.parametrize(
    ("text", "method", "target"),
    [
        ("integrated_gradients@blur=sensitive", "integrated_gradients@blur", None),
        ("integrated_gradients@mean@positive=sensitive", "integrated_gradients@mean", "positive"),
        ("grad_cam@positive=sensitive", "grad_cam", "positive"),
        ("@positive=sensitive", None, "positive"),
    ],
)
def test_a_setting_of_a_method_is_required_by_its_name(text, method, target):
    asked = options._requirements(None, None, (text,))
    job = jobfile.parse({"name": "j", "attribution": {"methods": SETTINGS}}, "test")
    assert options.requirements_of(job, asked) == [Requirement(method, "sensitive", target)]


def test_a_setting_that_the_job_has_not_is_told_with_those_it_has():
    job = jobfile.parse({"name": "j", "attribution": {"methods": SETTINGS}}, "test")
    line = "the job has no method 'integrated_gradients@blurr' .did you mean integrated_gradients@blur.*grad_cam$"
    with pytest.raises(JobError, match=line):
        options.requirements_of(job, options._requirements(None, None, ("integrated_gradients@blurr=sensitive",)))


def test_a_run_of_the_first_rule_opens_and_says_what_its_report_lacks(outcome, capsys):
    run = outcome.run
    run.store.write_json("run.json", {**json.loads(run.store.read_bytes("run.json")), "format": 1})
    old = {"verdict": "sensitive", "reasons": ["So it is."], "numbers": {"index": 1.0, "permutation": None}}
    run.store.write_json("verdict.json", {"methods": {"grad_cam": old}})
    display.show(outcome)
    assert capsys.readouterr().out.splitlines()[:2] == ["grad_cam: sensitive", "  So it is."]
    assert [row["shares"] for row in display.rows(run.path.rpartition("/")[0])] == [{"grad_cam": None}]
    run.store.write_bytes("job.toml", b"name = 'old'\n[compare]\nmargin = 0.05\n")
    assert run.job.compare.threshold == 0.5
    with pytest.raises(ValueError, match="no report: an earlier pneumo-batch wrote this run") as caught:
        cli.cli.main(["report", run.path], standalone_mode=False)
    assert str(caught.value) == (
        f"{run.path}: no report: an earlier pneumo-batch wrote this run (format 1), without random_random_cross scores"
        " and label shares; run its job again in another directory"
    )


def test_one_damaged_run_does_not_end_the_list(outcome, capsys):
    folder = Path(outcome.run.path).parent
    (folder / "a-damaged").mkdir()
    (folder / "a-damaged" / "run.json").write_text("{")
    damaged, whole = display.rows(str(folder))
    assert "a-damaged/run.json: damaged" in capsys.readouterr().err
    assert (damaged["status"], whole["status"]) == ("damaged", "complete")
    display.show_rows([damaged, whole], str(folder))
    assert "damaged" in capsys.readouterr().out
    assert retention.clean(str(folder), 0, dry_run=True) == [outcome.run.path]
    assert "a-damaged/run.json: damaged" in capsys.readouterr().err
