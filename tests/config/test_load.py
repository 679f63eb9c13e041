"""Loading: TOML, overrides, paths and the source of each value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexseg.config import load
from flexseg.errors import ConfigError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes a config file into `project/` and returns its path."""

    def write_config(text: str, name: str = "a.toml") -> Path:
        path = tmp_path / "project" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_config


def refusal(path: Path, *overrides: str) -> ConfigError:
    """The error that loading `path` raises."""
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    assert caught.value.exit_code == 2
    return caught.value


def test_missing_file_names_the_configs_nearby(write: Write) -> None:
    there = write("")
    error = refusal(there.with_name("b.toml"))
    assert "no such config file" in error.problem
    assert "a.toml" in error.fix
    assert error.where == str(there.with_name("b.toml"))


def test_toml_values_and_their_source(write: Write) -> None:
    loaded = load(write('[model]\nnum_classes = 1\nloss = "bce_dice_loss"\n'))
    assert loaded.experiment.model.num_classes == 1
    assert loaded.experiment.model.loss == "bce_dice_loss"
    assert not loaded.legacy
    assert loaded.sources == {"model.num_classes": "a.toml", "model.loss": "a.toml"}
    assert loaded.source("model", "optimizer") == "default"


def test_toml_has_none_of_the_originals_defaults(write: Write) -> None:
    experiment = load(write("")).experiment
    assert experiment.model.input_normalize == "auto"
    assert experiment.dataset.resize_interpolation == "auto"
    assert experiment.mask.unknown_colors == "error"


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        ("[train]\nepoch = 5\n", "has no key 'epoch'", "Did you mean 'epochs'?"),
        ("[tain]\nepochs = 5\n", "no section [tain]", "Did you mean [train]?"),
        ("[train]\nimage_datapath = 'x'\n", "'image_datapath'", ""),
        ("[mask]\nrgb_map = {}\n", "'rgb_map'", ""),
        ("epochs = 5\n", "outside of any [section]", "Move it"),
        ("[train]\nepochs = True\n", "not valid TOML", "true and false are in lower case"),
        ("[train]\nepochs = 1\nepochs = 2\n", "not valid TOML", ""),
        ("[train]\nepochs = 'ten'\n", "'ten' given", "Correct the value"),
        ("[model]\noptimizer = 'Adma'\n", "'Adma' given", ""),
        ("[train]\nepochs = 0\n", "0 given", ""),
        ("[model]\nnum_classes = 3\n[[mask.classes]]\nid = 1\ncolor = '#00ff00'\n", "lacks", ""),
        ("[[mask.classes]]\nid = 5\ncolor = '#00ff00'\n", "class ids [5]", ""),
        ("[[mask.classes]]\nid = 1\ncolor = [0, 256, 0]\n", "256 given", ""),
        ("[[mask.classes]]\nid = 1\ncolor = '#00ff00'\nnmae = 'a'\n", "nmae", ""),
        (
            "[[mask.classes]]\nid = 0\ncolor = '#010101'\n"
            "[[mask.classes]]\nid = 1\ncolor = [1, 1, 1]\n",
            "same color",
            "",
        ),
        ("[image]\nwindow = [240, -160]\n", "low < high", ""),
        ("[dataset]\ngroup = '^(p'\n", "not a regular expression", ""),
    ],
)
def test_toml_is_strict(write: Write, text: str, problem: str, fix: str) -> None:
    error = refusal(write(text))
    assert problem in f"{error.where} {error.problem}"
    assert fix in error.fix
    assert "a.toml" in str(error.where)


def test_all_wrong_values_are_named_at_once(write: Write) -> None:
    error = refusal(write("[train]\nepochs = 'a'\nbatch_size = 'b'\n"))
    assert "[train] epochs" in str(error.where)
    assert error.problem == "'a' given: input should be a whole number."
    # One value, though it may be of two kinds.
    told = "[train] batch_size: 'b' given: input should be a whole number, or 'auto'."
    assert "1 more fault" in error.fix and told in error.fix


def test_an_unknown_section_is_named_once(write: Write) -> None:
    error = refusal(write("[trian]\nepochs = 5\nbatch_size = 2\n"))
    assert error.fix == "Did you mean [train]?"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.epochs=7", 7),
        ("train.epochs = 7", 7),
        ("train.learning_rate_reducer=false", False),
        ("train.learning_rate_reducer=True", True),
        ("model.base_kernels=(9,9)", (9, 9)),
        ("model.base_kernels=[7, 5]", (7, 5)),
        ("model.input_normalize=standardize", "standardize"),
        ("model.learning_rate=1e-3", 0.001),
        ("model.loss=focal_loss", "focal_loss"),
        ('model.loss="focal_loss"', "focal_loss"),
        ("model.metrics=dice_coef", ["dice_coef"]),
        ("model.clipvalue=none", None),
        ("dataset.group=^(p\\d+)_", "^(p\\d+)_"),
        ("image.window=[-160, 240]", (-160, 240)),
    ],
)
@pytest.mark.parametrize("name", ["a.toml", "a.config"])
def test_override_is_typed_and_wins(write: Write, name: str, override: str, value: Any) -> None:
    text = "[train]\nepochs = 3\n[model]\nloss = 'dice_loss'\n"
    loaded = load(write(text, name), [override])
    section, key = override.partition("=")[0].strip().split(".")
    assert getattr(getattr(loaded.experiment, section), key) == value
    assert loaded.source(section, key) == "command line"


def test_last_of_two_overrides_wins(write: Write) -> None:
    loaded = load(write(""), ["train.epochs=1", "train.epochs=2"])
    assert loaded.experiment.train.epochs == 2


@pytest.mark.parametrize("name", ["a.toml", "a.config"])
@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.epoch=7", "has no key 'epoch'"),
        ("nosuch.key=7", "no section [nosuch]"),
        ("epochs=7", "not of the form section.key=value"),
        ("train.epochs", "not of the form section.key=value"),
        ("train.=7", "not of the form section.key=value"),
        ("train.epochs=many", "'many' given"),
        ("train.epochs={[]:1}", "given"),
    ],
)
def test_wrong_override_is_an_error_in_both_syntaxes(
    write: Write, name: str, override: str, problem: str
) -> None:
    error = refusal(write("", name), override)
    assert problem in error.problem
    assert "command line" in str(error.where)


def test_override_of_the_classes_holds_in_toml(write: Write) -> None:
    """`mask.classes` is a dead key of the old syntax only."""
    loaded = load(write(""), ["mask.classes=[{'id': 1, 'color': '#ff0000'}]"])
    assert [c.color for c in loaded.experiment.mask.classes] == [(255, 0, 0)]


@pytest.mark.parametrize("name", ["a.toml", "a.config"])
def test_paths_in_the_file_are_relative_to_it_and_outputs_to_run_dir(
    write: Write, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    text = (
        "[train]\nrun_dir = 'runs/one'\nimages_dir = '../data/images'\nmodel_dir = './models/'\n"
        "[infer]\nimages_dir = './mini/'\nmerged_dir = 'overlays'\n"
    )
    experiment = load(write(text, name)).experiment
    run = tmp_path / "project" / "runs" / "one"
    assert experiment.train.run_dir == run
    assert experiment.train.images_dir == tmp_path / "data" / "images"
    assert experiment.train.model_dir == run / "models"
    assert experiment.train.eval_dir == run / "eval"
    assert experiment.infer.images_dir == tmp_path / "project" / "mini"
    assert experiment.infer.output_dir == run / "predictions"
    assert experiment.infer.merged_dir == run / "overlays"


@pytest.mark.parametrize("name", ["a.toml", "a.config"])
def test_paths_of_overrides_are_relative_to_the_shell(
    write: Write, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = write("[train]\nrun_dir = 'run'\nmodel_dir = 'models'\nimages_dir = 'x'\n", name)
    overrides = ["train.images_dir=images", "train.model_dir=../m"]
    train = load(path, overrides).experiment.train
    assert train.images_dir == elsewhere / "images"
    assert train.model_dir == tmp_path / "m"
    assert train.eval_dir == tmp_path / "project" / "run" / "eval"
    moved = load(path, ["train.run_dir=here"]).experiment.train
    assert moved.eval_dir == elsewhere / "here" / "eval"


def test_override_by_an_older_name_is_relative_to_the_shell_too(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write("[train]\nimages_dir = 'x'\n", "a.config")
    loaded = load(path, ["train.image_datapath=images"])
    assert loaded.experiment.train.images_dir == tmp_path / "images"
    assert loaded.source("train", "images_dir") == "command line as [train] image_datapath"


def test_absolute_paths_stay(write: Write, tmp_path: Path) -> None:
    path = write(f"[train]\nimages_dir = '{(tmp_path / 'i').as_posix()}'\n")
    assert load(path).experiment.train.images_dir == tmp_path / "i"


def test_backslash_paths_in_toml(write: Write, tmp_path: Path) -> None:
    train = load(write("[train]\nimages_dir = '..\\data\\tumor'\neval_dir = 'a\\b'\n")).experiment
    assert train.train.images_dir == tmp_path / "data" / "tumor"
    assert train.train.eval_dir == tmp_path / "project" / "a" / "b"


def test_relative_config_path_is_absolute_in_the_result(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("[train]\nimages_dir = 'i'\n")
    monkeypatch.chdir(path.parent)
    loaded = load(Path("a.toml"))
    assert loaded.path == path
    assert loaded.experiment.train.images_dir == path.parent / "i"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[model]\nmodel = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("[model]\nepochs = " + "9" * 5000, "cannot be read"),
    ],
)
def test_values_that_no_reader_can_take(write: Write, text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        load(write(text))


def test_a_folder_of_images_is_no_folder_of_a_run(write: Write) -> None:
    with pytest.raises(ConfigError, match="is also an input"):
        load(write('[train]\nmasks_dir = "masks"\nrun_dir = "new/../masks"\n'))


@pytest.mark.parametrize("value", ["~nouser/x", "x" * 5000 + "\\\\y"])
def test_paths_that_lead_nowhere(write: Write, value: str) -> None:
    with pytest.raises(ConfigError, match="cannot be resolved") as caught:
        load(write(f'[train]\nimages_dir = "{value}"\n'))
    assert "images_dir" in str(caught.value.where)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[mask]\nthreshold = "x"', "b.toml, [mask] threshold"),
        ("[train]\nbatch_size = -1", "b.toml, [train] batch_size"),
        ("[train]\nbatch_size = 1.5", "b.toml, [train] batch_size"),
    ],
)
def test_places_are_named_once_and_as_in_the_file(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "b.toml")
    assert caught.value.where == where
    assert "constrained" not in str(caught.value)
