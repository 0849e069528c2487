"""Checks every file under cluster/ against the schemas of what reads it: `make lint` runs this.

    python tests/cluster/validate.py [FILE...]

What a schema says of fields it does not know is made strict everywhere, since the readers themselves drop or ignore
them: a misspelt field is the mistake to catch. A schema that is not on this machine is said to be skipped. Words that a
field may hold are checked where the schema lists them; that of the kinds of Kubernetes itself does not.
"""

import copy
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
CRDS = ROOT.parent / "shared" / "schemas"  # KubeRay's custom resource definitions: too large to carry along
# The oldest Kubernetes these files are for (its podFailurePolicy is no longer beta); the newest is checked as well.
KUBERNETES = "1.31"
INSTALLED = "/opt/pneumo-batch/.venv/bin/pneumo-batch"  # what the systemd unit runs

Problems = Iterator[str]


class UniqueKeyLoader(yaml.CSafeLoader):
    """YAML that takes no key twice: the parser would keep the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(path: Path) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return [found for found in yaml.load_all(path.read_text(), UniqueKeyLoader) if found]


def closed(schema: Any) -> Any:
    """The schema with every object that declares its fields closed to others."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and schema.get("type", "object") == "object" and not is_open:
        result["additionalProperties"] = False
    return result


def against(schema: Any, value: Any) -> Problems:
    """Every place where a value does not fit a JSON schema."""
    for error in jsonschema.Draft7Validator(schema).iter_errors(value):
        yield f"{error.json_path.removeprefix('$.')}: {error.message}"


# ----------------------------------------------------------------------------------------------------------- kubernetes


def kubernetes_file(path: Path) -> Problems:
    """Objects of Kubernetes and KubeRay."""
    for found in documents(path):
        check = ray_object if found["apiVersion"].startswith("ray.io/") else builtin_object
        yield from (f"{found['kind']} {problem}" for problem in check(found))


def builtin_object(found: dict[str, Any]) -> Problems:
    """An object whose kind Kubernetes itself knows."""
    import kubernetes_validate

    for version in (KUBERNETES, kubernetes_validate.latest_version()):
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError as error:
            yield error.message
        except kubernetes_validate.ValidationError as error:
            yield f"{'.'.join(str(part) for part in error.path)}: {error.message} (Kubernetes {version})"


def ray_object(found: dict[str, Any]) -> Problems:
    """An object of KubeRay: its definition where this machine has it; its metadata and pods in any case."""
    yield from builtin_object({"apiVersion": "v1", "kind": "ConfigMap", "metadata": found["metadata"]})
    for template in pod_templates(found["spec"]):
        yield from builtin_object(
            {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "any"}, "template": template}
        )
    definition = CRDS / f"ray.io_{found['kind'].lower()}s.yaml"
    if not CRDS.is_dir():
        skip(f"the definitions of KubeRay are not here ({CRDS.parent.name}/{CRDS.name})")
    elif not definition.exists():
        yield f"no such kind of KubeRay: {found['kind']}"
    else:
        yield from against(ray_schema(definition, found["apiVersion"].partition("/")[2]), found)


def pod_templates(node: Any) -> Iterator[dict[str, Any]]:
    """Every pod template below a node: what has containers in its spec."""
    if isinstance(node, list):
        for item in node:
            yield from pod_templates(item)
    elif isinstance(node, dict):
        if isinstance(node.get("spec"), dict) and "containers" in node["spec"]:
            yield node
            return
        for value in node.values():
            yield from pod_templates(value)


@functools.cache
def ray_schema(definition: Path, version: str) -> Any:
    """One version of a custom resource definition as a closed schema. Raises KeyError when it has no such version."""
    versions = yaml.load(definition.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    return closed({item["name"]: item["schema"]["openAPIV3Schema"] for item in versions}[version])


# ----------------------------------------------------------------------------------------------------- cluster launcher


def launcher_file(path: Path) -> Problems:
    """A file of `ray up`: Ray's own schema, and the machines against the cloud's."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents(path)
    try:
        validate_config(prepare_config(copy.deepcopy(config)))
    except jsonschema.ValidationError as error:
        yield f"{error.json_path.removeprefix('$.')}: {error.message}"
    except (ValueError, RuntimeError, AssertionError) as error:
        yield str(error)
    machine = {"aws": aws_machine, "gcp": gcp_machine}[config["provider"]["type"]]
    for name, node_type in config.get("available_node_types", {}).items():
        yield from (
            f"available_node_types.{name}.node_config {problem}" for problem in machine(node_type["node_config"])
        )


def aws_machine(node: dict[str, Any]) -> Problems:
    """What EC2's RunInstances would say of the fields; Ray adds the counts."""
    from botocore.validate import ParamValidator

    report = ParamValidator().validate({**node, "MinCount": 1, "MaxCount": 1}, run_instances_shape())
    yield from report.generate_report().splitlines()


@functools.cache
def run_instances_shape() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def gcp_machine(node: dict[str, Any]) -> Problems:
    """The same for Compute Engine's Instance; Ray adds the name."""
    yield from against(compute_schema(), node)


@functools.cache
def compute_schema() -> Any:
    import googleapiclient.discovery_cache.documents as shipped

    text = (Path(shipped.__path__[0]) / "compute.v1.json").read_text()
    schemas = json.loads(text.replace('"$ref": "', '"$ref": "#/schemas/'))["schemas"]
    return {"$ref": "#/schemas/Instance", "schemas": closed(schemas)}


# ------------------------------------------------------------------------------------------------------------- schedule


def systemd_unit(path: Path) -> Problems:
    """`systemd-analyze verify` on a copy that runs something which is here."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        skip("systemd-analyze is not here")
        return
    with tempfile.TemporaryDirectory() as folder:
        for unit in path.parent.glob("*.[st]*[er]"):  # a timer names its service
            Path(folder, unit.name).write_text(unit.read_text().replace(INSTALLED, sys.executable))
        command = [analyze, "verify", "--man=no", "--recursive-errors=one", str(Path(folder, path.name))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in result.stderr.splitlines() if path.name in line]
    yield from lines or (result.stderr.splitlines() if result.returncode else [])


# ------------------------------------------------------------------------------------------------------------------ all

CHECKS: dict[str, Callable[[Path], Problems]] = {
    "kubernetes/*.yaml": kubernetes_file,
    "aws/*.yaml": launcher_file,
    "gcp/*.yaml": launcher_file,
    "schedule/*.service": systemd_unit,
    "schedule/*.timer": systemd_unit,
}


@functools.cache
def skip(what: str) -> None:
    print(f"skipped: {what}")


def problems(path: Path) -> list[str]:
    """Everything wrong with one file, in the order found; a file that nothing checks is wrong, too."""
    for pattern, check in CHECKS.items():
        if path.match(pattern):
            try:
                return list(dict.fromkeys(check(path)))
            except yaml.YAMLError as error:
                return [" ".join(str(error).split())]
    return ["no check knows this file"]


def main(arguments: list[str]) -> int:
    """Print what is wrong, one line each; 1 when anything is."""
    paths = [Path(name) for name in arguments]
    paths = paths or sorted(path for pattern in CHECKS for path in CLUSTER.glob(pattern))
    found = [f"{path}: {problem}" for path in paths for problem in problems(path)]
    for line in found:
        print(line)
    print(f"{len(paths)} files in cluster/, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
