"""The commands as a user meets them: exit codes, messages, files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.cli import main
from support import CONFIG, flexseg, result_of


@pytest.fixture
def config(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    make_dataset({"train": 24, "valid": 4, "test": 6}, classes=3)
    path = tmp_path / "a.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_train_evaluate_infer(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The main job from config to masks, and the evaluation of these masks agrees."""
    folder = config.parent
    assert flexseg("train", config) == 0
    assert f" evaluate {folder}\n" in capsys.readouterr().out
    assert flexseg("evaluate", config) == 0
    summary = json.loads((folder / "evaluation/summary.json").read_text())
    assert summary["cases"] == 6 and [c["name"] for c in summary["classes"]] == ["disc", "square"]
    assert summary["macro"]["dice"]["mean"] > 0.5
    names = [row.split(",")[0] for row in (folder / "evaluation.csv").read_text().splitlines()]
    assert names == ["dice_ce_loss", "dice_coef_foreground"]

    assert flexseg("infer", config) == 0
    image = Image.open(folder / "predictions/test_00.png")
    assert image.mode == "P" and image.size == (48, 40)
    assert image.getpalette("RGB")[:9] == [0, 0, 0, 0, 255, 0, 255, 0, 0]
    with np.load(folder / "predictions_probabilities/test_00.npz") as archive:
        p = archive["probabilities"]
    assert p.shape == (40, 48, 3)
    np.testing.assert_array_equal(p.argmax(-1), np.asarray(image))
    assert len(list((folder / "predictions_merged").iterdir())) == 6

    masks = folder / "dataset/test/masks"
    scored = ("--predictions", folder / "predictions", "--masks", masks, "-o", folder / "scored")
    assert flexseg("evaluate", config, *scored) == 0
    again = json.loads((folder / "scored/summary.json").read_text())
    for of_model, of_masks in zip(summary["classes"], again["classes"], strict=True):
        without = dict.fromkeys(("brier", "ece"))  # masks have no probabilities
        assert of_masks | without == of_model | without
    assert "disc" in capsys.readouterr().out


@pytest.mark.usefixtures("eager")
def test_infer_one_file_elsewhere(config: Path, tmp_path: Path) -> None:
    assert flexseg("train", config, "--set", "train.epochs=1") == 0
    source = tmp_path / "scan.bmp"
    Image.fromarray(np.zeros((33, 71, 3), np.uint8)).save(source)
    assert flexseg("infer", config, "--input", source, "--output", tmp_path / "out") == 0
    assert Image.open(tmp_path / "out/scan.png").size == (71, 33)
    assert (tmp_path / "out_merged/scan.png").exists()


@pytest.mark.usefixtures("eager")
def test_infer_lists_what_it_could_not_read(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("train", config, "--set", "train.epochs=1") == 0
    bad = config.parent / "dataset/test/images/test_02.png"
    bad.write_bytes(b"not an image")
    assert flexseg("infer", config) == 3
    assert "test_02.png" in capsys.readouterr().err
    assert len(list((config.parent / "predictions").glob("*.png"))) == 5


def test_errors_have_no_traceback_and_say_how_to_go_on(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg("evaluate", config) == 3
    text = capsys.readouterr().err
    assert "best_model.h5" in text and "Fix:" in text and "flexseg train" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", "missing.toml"], 2),
        (["train", "missing.toml"], 2),
        (["nonsense"], 2),
        (["stats", "missing"], 3),
        (["init", "missing"], 3),
    ],
)
def test_exit_codes(
    arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert flexseg(*arguments) == code


def test_check_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("check", config, "--json") == 0
    report = result_of(capsys.readouterr().out)
    assert report["ok"] and report["values"]["model.num_classes"] == {
        "value": 3, "from": "a.toml",
    }  # fmt: skip
    assert [s["cases"] for s in report["splits"]] == [24, 4, 6]


def test_check_json_of_a_wrong_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.config"
    path.write_text("[model]\nnum_layers = eight\n", encoding="utf-8")
    assert flexseg("check", path, "--json") == 2
    report = result_of(capsys.readouterr().out)
    assert not report["ok"] and "line 2" in report["where"]


def test_check_without_data(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (config.parent / "dataset/train/masks").iterdir():
        path.unlink()
    assert flexseg("check", config, "--no-data", "--set", "train.epochs=2") == 0
    next_command = capsys.readouterr().out.splitlines()[-1]
    assert next_command.startswith("Next: ")
    assert next_command.endswith(f" train {config} --set train.epochs=2")
    assert flexseg("check", config) == 3
    assert "Next:" not in capsys.readouterr().out


def test_check_writes_nothing(config: Path) -> None:
    before = sorted(p.name for p in config.parent.iterdir())
    assert flexseg("check", config) == 0
    assert sorted(p.name for p in config.parent.iterdir()) == before


def test_schema_is_json(tmp_path: Path) -> None:
    assert flexseg("schema", "-o", tmp_path / "s.json") == 0
    schema = json.loads((tmp_path / "s.json").read_text())
    assert schema["properties"]["train"] and schema["additionalProperties"] is False


def test_stats_pictures(config: Path) -> None:
    assert flexseg("stats", config.parent / "dataset", "-o", config.parent / "s") == 0
    names = sorted(p.name for p in (config.parent / "s").iterdir())
    assert names == [
        "dataset_Statistics.png",
        *(f"{split}_{kind}_sample.png" for split in ("test", "train", "valid")
          for kind in ("images", "masks")),
    ]  # fmt: skip


@pytest.mark.parametrize("command", [[], ["train"], ["derive", "volumes"], ["serve-admin"]])
def test_help_names_no_type_of_an_option_without_a_value(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert flexseg(*command, "--help") == 0
    shown = capsys.readouterr().out
    assert "--help" in shown and "bool" not in shown.lower()


def test_help_imports_no_engine() -> None:
    """`flexseg --help` must answer at once."""
    code = (
        "import sys\nfrom flexseg.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'torch', 'numpy', 'cv2', 'matplotlib', 'pydantic'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr
    assert "train" in result.stdout


def test_a_first_config_needs_no_engine() -> None:
    """`flexseg init` looks at data alone; an engine takes seconds to load, and has its own words."""
    code = (
        "import sys\nimport flexseg.planning.initialize\n"
        "sys.exit(', '.join({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 0, result.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from flexseg import __version__

    assert flexseg("--version") == 0
    assert capsys.readouterr().out.strip() == f"flexseg {__version__}"


def test_comment_of_a_copied_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shells that know no comments hand them on as arguments."""
    monkeypatch.setattr(sys, "argv", ["flexseg", "schema", "#", "all", "keys,", "--and", "more"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code and "$defs" in json.loads(capsys.readouterr().out)
