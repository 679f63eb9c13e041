"""Other names of classes, in all files of a run or in none."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from flexseg.config import load
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError, InUseError
from flexseg.evaluation.review.reviewed_cases import read_review
from flexseg.files.json_file import read_json
from flexseg.inference.engines.converted_cache import file_hash
from flexseg.inference.engines.quantized import files_of as int8_files
from flexseg.inference.engines.quantized import quantized_file
from flexseg.inference.ensemble import write_ensemble
from flexseg.inference.loading import load_trained
from flexseg.inference.model_files import read_members
from flexseg.inference.postprocess import Postprocessing, Steps
from flexseg.inference.trust.conformal import ClassCalibration, Trust
from flexseg.inference.tuned import TunedChoice, read_choice, write_choice
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.models.package import ModelPackage
from flexseg.runs.manifest import Manifest
from flexseg.runs.renaming import rename
from sample_run import add_review, write_sample_run
from support import flexseg, lock_elsewhere

NAMES = {1: 'cell "A"', 2: "nucleus"}
QUALITY = {2: ClassCalibration(1.2, -0.1, 0.3, 20, 2, 1)}
CHOICE = TunedChoice(
    postprocessing={2: Postprocessing({1: Steps(min_size=9)})},
    trust=Trust({2: QUALITY}, members=True, temperature=1.5),
)
TABLES = """
[[mask.classes]]
id = 1
name = "disc <round>"  # of the microscope
color = [0, 255, 0]
[[mask.classes]]
color = [255, 0, 0]
id = 2
[postprocess]
min_size = { "disc <round>" = 4 }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a package and a tuned choice."""
    folder = tmp_path_factory.mktemp("renamed")
    run = write_sample_run(folder, cases=5)
    loaded = load(folder / "config.toml", ["model.base_filters=2", "model.num_layers=2"])
    package = ModelPackage.create(loaded.experiment)
    file = run / "models" / "best_model.h5"
    file.parent.mkdir(exist_ok=True)
    package.save(file, {"epoch": 1})
    write_choice(file, CHOICE, package.labels)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    import shutil

    folder = Path(shutil.copytree(made, tmp_path / "project"))
    manifest = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
    manifest["config_file"] = str(folder / "config.toml")
    (folder / "run" / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("given", ["run", "config.toml", "run/models/best_model.h5"])
def test_all_files_of_a_run_follow(project: Path, made: Path, given: str) -> None:
    run = project / "run"
    file = run / "models" / "best_model.h5"
    before = read_weights(file)
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    done = rename(project / given, NAMES)
    assert done.names == {1: ("disc <round>", 'cell "A"'), 2: ("square", "nucleus")}
    package = ModelPackage.load(file)
    assert [c.name for c in package.labels.foreground] == [*NAMES.values()]
    assert package.info == {"epoch": 1}
    after = read_weights(file)
    assert all(
        a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(before, after, strict=True)
    )
    assert read_choice(file, package.labels) == CHOICE, "it is known by the new hash"
    experiment = load(project / "config.toml").experiment
    assert [c.name for c in experiment.mask.classes][1:] == [*NAMES.values()]
    now = Manifest.read(run)
    assert now.experiment().mask.classes == experiment.mask.classes
    assert now.config_sha256 != manifest["config_sha256"]
    summary = json.loads((run / "evaluation" / "summary.json").read_text(encoding="utf-8"))
    assert [c["name"] for c in summary["classes"]] == [*NAMES.values()]
    assert summary["confusion_names"] in (None, ["background", *NAMES.values()])
    with (run / "evaluation" / "cases.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert {(row["class_id"], row["class"]) for row in rows} == {
        ("1", 'cell "A"'),
        ("2", "nucleus"),
    }
    assert contents(made).keys() == {made / p.relative_to(project) for p in contents(project)}


def test_a_package_by_itself(project: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.h5"
    (project / "run" / "models" / "best_model.h5").rename(alone)
    assert rename(alone, {2: "nucleus"}).files == (alone,)
    assert [c.name for c in ModelPackage.load(alone).labels.foreground] == [
        "disc <round>",
        "nucleus",
    ]


@pytest.mark.parametrize("in_run", [True, False])
def test_what_is_known_of_an_ensemble_and_of_int8_survives(
    project: Path, tmp_path: Path, *, in_run: bool
) -> None:
    single = project / "run" / "models" / "best_model.h5"
    ensemble = (single.parent if in_run else tmp_path / "alone") / "ensemble.json"
    ensemble.parent.mkdir(exist_ok=True)
    write_ensemble(ensemble, {"a": single, "b": single})
    labels = ModelPackage.load(single).labels
    write_choice(ensemble, CHOICE, labels)
    member = read_members(ensemble)[0]
    for file in (single, member):
        model, weights, description = int8_files(file)
        for part in (model, weights):
            part.write_bytes(b"int8")
        description.write_text(json.dumps({"sha256": file_hash(file)}), encoding="utf-8")
    rename(project / "run" if in_run else ensemble, NAMES)
    assert [c.name for c in ModelPackage.load(member).labels.foreground] == [*NAMES.values()]
    after = ModelPackage.load(single).labels
    assert read_choice(ensemble, ModelPackage.load(member).labels) == CHOICE
    assert read_choice(single, after) == CHOICE
    for file in (single, member):
        assert quantized_file(file, file_hash(file)) == int8_files(file)[0]


def test_tables_of_the_postprocessing_follow_and_reports_are_named(project: Path) -> None:
    run = project / "run"
    folder = run / "postprocessing"
    folder.mkdir()
    (folder / "trials.csv").write_text("kind,class_name,step\n2d,square,holes\n2d,all,tta\n")
    content = {"postprocess": {"2d": {"square": {}}}, "scores": {"2d": {"square": {"x": 1}}}}
    (folder / "postprocessing.json").write_text(json.dumps(content), encoding="utf-8")
    assert rename(run, {2: "nucleus"}).reported == ()
    text = (folder / "trials.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines() == ["kind,class_name,step", "2d,nucleus,holes", "2d,all,tta"]
    assert "square" not in json.dumps(read_json(folder / "postprocessing.json"))
    (project / "report.html").write_text("x", encoding="utf-8")
    assert rename(run, {2: "core"}).reported == (run,)


def test_sentences_follow_where_they_quote_a_name(project: Path) -> None:
    """Of a review, an advice and an evaluation; other words of the same letters stay."""
    run = project / "run"
    add_review(run)
    told = 'square: annotated as "square", and the network is sure of "disc <round>".'
    now = 'square: annotated as "nucleus", and the network is sure of "cell \\"A\\"".'
    table = run / "review" / "annotations.csv"
    text = table.read_text(encoding="utf-8")
    quoted = told.replace('"', '""')
    table.write_text(text.replace("The annotation fits <train_01> better.", f'"{quoted}"'))
    advice = run / "advice" / "advice.json"
    advice.parent.mkdir()
    advice.write_text(json.dumps({"sentences": [told], "groups": [{"what": told, "p": 0.1}]}))
    summary = run / "evaluation" / "summary.json"
    summary.write_text(json.dumps(read_json(summary) | {"notes": [told]}))
    rename(run, NAMES)
    found = read_review(table.parent)
    assert found is not None
    assert [one.evidence for one in found] == [now, now, *[""] * 6]
    assert read_json(advice) == {"sentences": [now], "groups": [{"what": now, "p": 0.1}]}
    assert read_json(summary)["notes"] == [now]


def test_nothing_changes_when_something_is_wrong(project: Path) -> None:
    before = contents(project)
    with pytest.raises(ConfigError, match="9 is not a class"):
        rename(project / "run", {9: "x"})
    (project / "run" / "evaluation" / "summary.json").write_text("{", encoding="utf-8")
    with pytest.raises((DataError, ValueError)):
        rename(project / "run", NAMES)
    now = contents(project)
    assert {p for p in now if now[p] != before[p]} == {project / "run/evaluation/summary.json"}


def test_a_run_at_work_is_left_alone(project: Path) -> None:
    with lock_elsewhere(project / "run"), pytest.raises(InUseError):
        rename(project / "run", NAMES)


def test_tables_of_classes_keep_their_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(("[model]\nnum_classes = 3\n" + TABLES).replace("\n", "\r\n").encode())
    rename(path, NAMES)
    text = path.read_bytes().decode()
    assert '"cell \\"A\\""  # of the microscope\r\n' in text and text.count("\n") == text.count(
        "\r\n"
    )
    experiment = load(path).experiment
    assert [c.name for c in experiment.mask.classes] == [*NAMES.values()]
    assert experiment.postprocess.min_size == {'cell "A"': 4}


def test_a_config_that_is_renamed_by_hand_needs_no_training(
    project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)
    path = project / "config.toml"
    text = path.read_text(encoding="utf-8").replace("square", "nucleus")
    path.write_text(
        text.replace('model = "UNet"', 'model = "UNet"\nbase_filters = 2\nnum_layers = 2')
    )
    loaded = load(path)
    labels = load_trained(loaded).labels
    assert labels.foreground == LabelMap.from_config(loaded.experiment.class_sections).foreground
    assert "differs" not in caplog.text


def test_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("rename", project / "run", "1=cell") == 0
    assert "1: disc <round> -> cell" in capsys.readouterr().out
    assert flexseg("rename", project / "run", "cell") == 2
    assert flexseg("rename", project / "none", "1=cell") != 0
