"""What docs/how-to/cluster.md and examples/kubernetes say can be run as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import flexseg.cli  # noqa: F401 - enters the commands
from flexseg.cli.app import app

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/how-to/cluster.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
MANIFESTS = {path.stem: path for path in (ROOT / "examples/kubernetes").glob("*.yaml")}
# Of names in Kubernetes (RFC 1123).
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load(MANIFESTS[name].read_text(encoding="utf-8"))


def options_of(command: str) -> set[str]:
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return {name for option in known.params for name in (*option.opts, *option.secondary_opts)}


def is_known(text: str) -> None:
    """Every `flexseg COMMAND` of a text has only options that there are."""
    found = re.findall(
        r"(?<![\w/\[.\"-])flexseg ([a-z][\w-]*)([^#&|;>\n'\"`]*)", text.replace("\\\n", " ")
    )
    assert found
    for command, rest in found:
        given = {word.partition("=")[0] for word in rest.split() if re.match(r"--?[a-z]", word)}
        assert given <= options_of(command), f"{command}: {given - options_of(command)}"


def is_pod(template: dict[str, Any]) -> None:
    """A pod whose volumes are all there and that asks for what it gets."""
    spec = template["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert volumes and all(len(volume) == 2 for volume in spec["volumes"])
    for container in spec["containers"]:
        assert NAME.fullmatch(container["name"]) and container["image"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        limits, requests = (container["resources"][kind] for kind in ("limits", "requests"))
        assert limits["memory"] == requests["memory"]
        assert all(isinstance(value, str) for value in (*limits.values(), *requests.values()))


def is_job(spec: dict[str, Any]) -> None:
    assert spec["completionMode"] == "Indexed" and spec["parallelism"] == spec["completions"]
    assert spec["template"]["spec"]["restartPolicy"] in ("Never", "OnFailure")
    is_pod(spec["template"])


def test_options_of_all_commands_exist() -> None:
    is_known("\n".join(SCRIPTS))
    for path in MANIFESTS.values():
        is_known(
            path.read_text(encoding="utf-8").replace("[flexseg, ", "flexseg ").replace(",", " ")
        )


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_bash(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for line in re.findall(r"^#SBATCH (.*)$", script, re.MULTILINE):
        assert re.fullmatch(r"--[a-z-]+=\S+|--requeue", line.partition("#")[0].strip())


def test_all_processes_of_the_training_know_each_other() -> None:
    """By JobSet's rules its pods are JOBSET-REPLICATEDJOB-JOB-POD.JOBSET."""
    train = manifest("train")
    assert (train["apiVersion"], train["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (workers,) = train["spec"]["replicatedJobs"]
    job = workers["template"]["spec"]
    is_job(job)
    assert job["backoffLimit"] == 0 and workers["replicas"] == 1
    (container,) = job["template"]["spec"]["containers"]
    (variable,) = container["env"]
    name = train["metadata"]["name"]
    port = container["ports"][0]["containerPort"]
    assert variable["name"] == "JAX_COORDINATOR_ADDRESS"
    assert variable["value"] == f"{name}-{workers['name']}-0-0.{name}:{port}"
    assert f"--processes {job['completions']} " in container["args"][0]


def test_the_search_is_an_indexed_job_that_names_no_password() -> None:
    tune = manifest("tune")
    assert (tune["apiVersion"], tune["kind"]) == ("batch/v1", "Job")
    is_job(tune["spec"])
    (container,) = tune["spec"]["template"]["spec"]["containers"]
    (variable,) = container["env"]
    assert variable["name"] == "PGPASSWORD" and "secretKeyRef" in variable["valueFrom"]


def test_predictions_are_a_job_of_ray_with_workers() -> None:
    infer = manifest("infer")
    assert (infer["apiVersion"], infer["kind"]) == ("ray.io/v1", "RayJob")
    assert shlex.split(infer["spec"]["entrypoint"])[-2:] == ["--ray", "auto"]
    cluster = infer["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for part in (cluster["headGroupSpec"], group):
        is_pod(part["template"])
        assert all(isinstance(value, str) for value in part["rayStartParams"].values())
