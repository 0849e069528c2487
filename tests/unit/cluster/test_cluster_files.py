"""The files in cluster/: that their check passes, that it catches mistakes, and what they promise."""

import re
import shutil
import subprocess
import tomllib

import pytest

import pneumo_batch
from pneumo_batch.job import jobfile
from tests.cluster import validate

FILES = sorted(path for pattern in validate.CHECKS for path in validate.CLUSTER.glob(pattern))
KUBERAY = ("raycluster", "rayjob", "raycronjob")

needs_definitions = pytest.mark.skipif(not validate.CRDS.is_dir(), reason="KubeRay's definitions are not here")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


def named(path):
    return f"{path.parent.name}/{path.name}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_file_fits_what_reads_it(path):
    assert validate.problems(path) == []


MISTAKES = [
    ("kubernetes/storage.yaml", "accessModes", "accesModes", "accesModes"),
    ("kubernetes/network.yaml", "policyTypes", "policyType", "policyType"),
    ("kubernetes/cronjob.yaml", "concurrencyPolicy", "concurencyPolicy", "concurencyPolicy"),
    ("kubernetes/cronjob.yaml", "onExitCodes", "onExitCode", "onExitCode"),
    ("kubernetes/cronjob.yaml", "batch/v1", "batch/v2", "find schema"),
    ("kubernetes/cronjob.yaml", "backoffLimit: 2", "backoffLimit: 2\n      backoffLimit: 3", "stands twice"),
    *(
        (f"kubernetes/{name}.yaml", "allowPrivilegeEscalation", "allowEscalation", "allowEscalation")
        for name in KUBERAY
    ),
    *((f"kubernetes/{name}.yaml", "  labels:", "  lables:", "lables") for name in KUBERAY),
    ("aws/cluster.yaml", "idle_timeout_minutes", "idle_timeout", "idle_timeout"),
    ("aws/cluster.yaml", "min_workers", "minworkers", "minworkers"),
    ("aws/cluster.yaml", "head_node_type: head", "head_node_type: haed", "head_node_type"),
    ("aws/cluster.yaml", "InstanceMarketOptions", "InstanceMarketOption", "InstanceMarketOption"),
    ("aws/cluster.yaml", "VolumeSize: 100", "VolumeSize: 100G", "VolumeSize"),
    ("gcp/cluster.yaml", "cluster_name", "clustername", "clustername"),
    ("gcp/cluster.yaml", "max_workers: 8", "max_workers: many", "many"),
    ("gcp/cluster.yaml", "provisioningModel", "provisionModel", "provisionModel"),
    ("gcp/cluster.yaml", "SPOT", "SPOTTY", "SPOTTY"),
]
MISTAKES_IN_RAY = [
    ("kubernetes/raycluster.yaml", "enableInTreeAutoscaling", "enableAutoscaling", "enableAutoscaling"),
    ("kubernetes/raycluster.yaml", "minReplicas: 0", "minReplica: 0", "minReplica"),
    ("kubernetes/raycluster.yaml", "kind: RayCluster", "kind: RayClutter", "RayClutter"),
    ("kubernetes/rayjob.yaml", "backoffLimit", "backofLimit", "backofLimit"),
    ("kubernetes/rayjob.yaml", "mode: token", "mode: tokens", "tokens"),
    ("kubernetes/raycronjob.yaml", "timeZone", "timezone", "timezone"),
    ("kubernetes/raycronjob.yaml", "secretName", "secret", "secret"),
]
MISTAKES_IN_UNITS = [
    ("schedule/pneumo-batch-nightly.service", "SuccessExitStatus", "SuccessExitCode", "SuccessExitCode"),
    ("schedule/pneumo-batch-nightly.service", "Type=oneshot", "Type=once", "once"),
    ("schedule/pneumo-batch-nightly.timer", "OnCalendar=*-*-* 02:30", "OnCalendar=*-*-* 26:30", "26:30"),
]


@pytest.mark.parametrize(
    ("name", "right", "wrong", "named_as"),
    [
        *MISTAKES,
        *(pytest.param(*mistake, marks=needs_definitions) for mistake in MISTAKES_IN_RAY),
        *(pytest.param(*mistake, marks=needs_systemd) for mistake in MISTAKES_IN_UNITS),
    ],
)
def test_a_mistake_is_found_and_named(tmp_path, capsys, name, right, wrong, named_as):
    folder = shutil.copytree(validate.CLUSTER / name.partition("/")[0], tmp_path / name.partition("/")[0])
    path = folder / name.partition("/")[2]
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong))
    assert validate.main([str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{path}: ") and named_as in line.removeprefix(f"{path}: ") for line in lines), lines


def test_without_kuberays_definitions_pods_are_still_checked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(validate, "CRDS", tmp_path / "shared" / "schemas")
    validate.skip.cache_clear()
    path = tmp_path / "kubernetes" / "rayjob.yaml"
    path.parent.mkdir()
    text = (validate.CLUSTER / "kubernetes/rayjob.yaml").read_text()
    path.write_text(text)
    assert validate.problems(path) == []
    assert capsys.readouterr().out == "skipped: the definitions of KubeRay are not here (shared/schemas)\n"
    path.write_text(text.replace("volumeMounts:", "volumeMount:"))
    assert any("volumeMount" in problem for problem in validate.problems(path))


def test_a_file_that_nothing_checks_is_a_mistake(tmp_path):
    assert validate.problems(tmp_path / "new.yaml") == ["no check knows this file"]


def test_closing_a_schema_leaves_what_was_open_open():
    inner = {"type": "object", "properties": {"a": {}}}
    schema = {
        "type": "object",
        "properties": {
            "closed": inner,
            "kept": {**inner, "x-kubernetes-preserve-unknown-fields": True},
            "map": {"type": "object", "additionalProperties": inner},
            "properties": {"type": "string"},  # a field of that name is no declaration
        },
    }
    found = validate.closed(schema)
    assert list(validate.against(found, {"closed": {"a": 1}, "kept": {"b": 1}, "map": {"x": {"a": 1}}})) == []
    wrong = {"closed": {"b": 1}, "map": {"x": {"b": 1}}, "other": 1}
    assert len(list(validate.against(found, wrong))) == 3


# ----------------------------------------------------------------------------------------------------- what is promised


def objects():
    return [found for path in FILES if path.parent.name == "kubernetes" for found in validate.documents(path)]


@pytest.mark.parametrize("found", objects(), ids=lambda found: found["kind"])
def test_pods_run_as_nobody_special_with_bounded_resources(found):
    for template in validate.pod_templates(found["spec"]):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert {"cpu", "memory"} <= set(container["resources"]["limits"])


def test_one_version_of_ray_and_of_the_image_everywhere():
    dockerfile = (validate.CLUSTER / "Dockerfile").read_text()
    ray = re.search(r"^ARG RAY_VERSION=(\S+)$", dockerfile, re.MULTILINE).group(1)
    for path in FILES:
        text = path.read_text()
        assert set(re.findall(r'rayVersion: "(.*)"', text)) <= {ray}
        assert set(re.findall(r"pneumo-batch:([^\s-]+)", text)) <= {pneumo_batch.__version__}
        assert ":latest" not in text


def test_nothing_overlaps_and_nothing_stays():
    by_kind = {found["kind"]: found["spec"] for found in objects()}
    assert by_kind["CronJob"]["concurrencyPolicy"] == "Forbid"
    for job in (by_kind["RayJob"], by_kind["RayCronJob"]["jobTemplate"]):
        assert job["shutdownAfterJobFinishes"] is True
        assert job["submissionMode"] == "HTTPMode"  # else the entrypoint's operators go to another shell
        assert job["backoffLimit"] >= 1
        assert job["activeDeadlineSeconds"] > 0
        assert job["rayClusterSpec"]["authOptions"]["mode"] == "token"


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_clouds_start_with_no_worker_and_show_nothing(cloud):
    (config,) = validate.documents(validate.CLUSTER / cloud / "cluster.yaml")
    workers = {name: node for name, node in config["available_node_types"].items() if name != "head"}
    assert [node["min_workers"] for node in workers.values()] == [0, 0]
    assert [node["resources"].get("GPU", 0) for node in workers.values()] == [0, 1]
    spot = {"aws": "MarketType': 'spot'", "gcp": "provisioningModel': 'SPOT'"}[cloud]
    assert all(spot in str(node["node_config"]) for node in workers.values())
    assert config["provider"]["use_internal_ips"] is True
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][1]


def test_all_schedules_say_half_past_two():
    crontab = (validate.CLUSTER / "schedule/crontab").read_text().splitlines()[-1]
    timer = (validate.CLUSTER / "schedule/pneumo-batch-nightly.timer").read_text()
    assert crontab.startswith("30 2 * * * ")
    assert "OnCalendar=*-*-* 02:30:00" in timer
    schedules = [found["spec"]["schedule"] for found in objects() if "schedule" in found["spec"]]
    assert schedules == ["30 2 * * *", "30 2 * * *"]


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (75, 0), (3, 1)])
def test_a_held_run_is_no_failure_to_a_schedule(tmp_path, code, expected):
    """75 becomes 0 where the command stands; what fails stays failed."""
    command = tmp_path / ".venv" / "bin" / "pneumo-batch"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\nexit {code}\n")
    command.chmod(0o755)
    crontab = (validate.CLUSTER / "schedule/crontab").read_text().splitlines()[-1].removeprefix("30 2 * * * ")
    lines = [crontab.replace("/opt/pneumo-batch", str(tmp_path)).replace("/srv/runs", str(tmp_path))]
    by_kind = {found["kind"]: found["spec"] for found in objects()}
    lines += [job["entrypoint"] for job in (by_kind["RayJob"], by_kind["RayCronJob"]["jobTemplate"])]
    for line in lines:
        environment = {"PATH": f"{command.parent}:/usr/bin:/bin"}
        assert subprocess.run(["sh", "-c", line], env=environment, check=False).returncode == expected, line


def test_the_build_context_holds_what_the_image_copies():
    kept = {
        line[1:].rstrip("/") for line in (validate.ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copies = re.findall(
        r"^COPY --chown=1000:100 (.*) \S+$", (validate.CLUSTER / "Dockerfile").read_text(), re.MULTILINE
    )
    assert {name for line in copies for name in line.split()} == kept
    assert all((validate.ROOT / name).exists() for name in kept)


def test_the_image_has_every_file_that_the_package_is_built_of():
    project = tomllib.loads((validate.ROOT / "pyproject.toml").read_text())["project"]
    dockerfile = (validate.CLUSTER / "Dockerfile").read_text()
    assert {"setup.py", "README.md", *project["license-files"], "jobs"} <= set(dockerfile.split())


def test_the_nightly_job_loads_and_can_give_a_verdict():
    job = jobfile.load(str(validate.ROOT / "jobs/nightly.toml"), [])
    assert job.data.grows
    assert job.data.classes == ["NORMAL", "PNEUMONIA"]
    assert min(len(job.train.true_seeds), len(job.train.random_seeds)) >= 2
