"""`--repair`: what changes, what stays, and where the results go."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexseg.config import load
from flexseg.config.load import output_folders, path_fields, section_models
from flexseg.config.network_options import parse_section
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import write_png
from flexseg.models.build import MODELS
from flexseg.outputs import write_json
from flexseg.planning import recipe
from flexseg.planning.repair import Repaired, recorded, repair
from flexseg.planning.repair_rules import is_plain
from flexseg.runs.manifest import Manifest
from flexseg.training.distributed.variant import in_subfolder
from support import flexseg

OLD = """
[model]
model = "TensorFlowFlexUNet"
image_width = 48
image_height = 40
num_classes = 3
base_filters = 4
num_layers = 3
learning_rate = 0.00007
input_normalize = False
loss = "categorical_crossentropy"
{model}
[train]
epochs = 2
batch_size = 1
patience = 10
learning_rate_reducer = True
model_dir = "./models/"
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epoch_change_infer = False
{train}
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"
[infer]
images_dir = "dataset/test/images"
[mask]
rgb_map = {{(0,0,0):0,(0,255,0):1,(255,0,0):2}}
{more}
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_config(
        model: str = "", train: str = "", more: str = "", name: str = "a.config"
    ) -> Path:
        path = tmp_path / name
        path.write_text(OLD.format(model=model, train=train, more=more), encoding="utf-8")
        return path

    return write_config


def after(repaired: Repaired) -> dict[str, Any]:
    return {change.name: change.after for change in repaired.changes}


def test_what_an_old_config_gains(write: Write) -> None:
    loaded = load(write())
    repaired = repair(loaded)
    assert after(repaired) == {
        "model.input_normalize": True,
        "model.loss": recipe.LOSS,
        "model.optimizer": recipe.OPTIMIZER,
        "model.learning_rate": recipe.GENTLE_LEARNING_RATE,
        "train.schedule": recipe.SCHEDULE,
        "train.warmup": recipe.WARMUP,
        "train.batch_size": recipe.SMALLEST_BATCH,
        "train.learning_rate_reducer": False,
        "train.patience": 0,
        "augmentation.enabled": True,
        **{f"augmentation.{key}": value for key, value in recipe.AUGMENTATION.items()},
        **({"infer.tta": ["flips"]} if recipe.TTA else {}),
    }
    result = repaired.loaded.experiment
    for change in repaired.changes:
        section = getattr(loaded.experiment, change.section).model_dump(mode="json")
        assert section[change.key] == change.before
        assert change.reason and not change.reason.endswith(".")
        assert repaired.loaded.source(change.section, change.key) == "repair"
    assert result.train.epochs == 2 and result.train.minutes == 0
    assert any("normalization = true" in note for note in repaired.notes)
    assert any("[dataset] group" in note for note in repaired.notes)


def unchanged_parts(experiment: Experiment) -> dict[str, Any]:
    """Network, data, masks and how images are read."""
    model = experiment.model.model_dump()
    training = {"loss", "optimizer", "learning_rate", "input_normalize"}
    whole = ("dataset", "valid", "test", "volume", "image", "mask", "postprocess", "eval")
    train = ("images_dir", "masks_dir", "epochs", "seed", "precision", "best_model_file")
    return {
        "model": {key: value for key, value in model.items() if key not in training},
        **{name: getattr(experiment, name) for name in whole},
        **{key: getattr(experiment.train, key) for key in train},
    }


@pytest.mark.parametrize(
    "name", ["covid-19", "lung-ct", "mri-brain-tumor-t2", "ovarian-tumor", "spleen"]
)
def test_published_configs(shared: Path, name: str) -> None:
    loaded = load(shared / "configs" / f"{name}.config")
    repaired = repair(loaded)
    assert unchanged_parts(repaired.loaded.experiment) == unchanged_parts(loaded.experiment)
    changed = after(repaired)
    assert changed["train.schedule"] == recipe.SCHEDULE and changed["train.patience"] == 0
    # Cross-entropy and Dice together, as the recipe's loss for one class.
    assert ("model.loss" in changed) == (name not in ("ovarian-tumor", "spleen"))
    flips = {"spleen": ["hflip"]}.get(name, ["flips"])
    assert changed.get("infer.tta", flips) == flips
    if name == "spleen":
        assert changed["augmentation.vflip"] == 0
        assert changed["augmentation.rotation_degrees"] == [-10, 10]
        assert "train.batch_size" not in changed
        assert repaired.loaded.experiment.model.generator
    outputs = output_folders(repaired.loaded.experiment)
    beside = (shared / "configs" / "repaired").resolve()
    assert all(beside in path.resolve().parents for path in outputs.values())
    assert not (shared / "configs" / "repaired").exists()


def test_a_planned_config_has_nothing_to_repair(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(
        """
[model]
model = "ResEncUNet"
learning_rate = 0.004
[train]
schedule = "polynomial"
patience = 0
learning_rate_reducer = false
batch_size = 8
[augmentation]
enabled = true
[infer]
tta = []
""",
        encoding="utf-8",
    )
    loaded = load(path)
    repaired = repair(loaded)
    assert repaired.changes == () and repaired.loaded is loaded
    assert flexseg("train", path, "--repair") == 2


def test_what_was_chosen_stays(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        """
[model]
loss = "tversky_loss"
optimizer = "SGD"
learning_rate = 0.01
normalization = true
[train]
schedule = "polynomial"
[augmentation]
enabled = true
hflip = 0
""",
        encoding="utf-8",
    )
    changed = after(repair(load(path)))
    assert changed == {
        "train.learning_rate_reducer": False,
        "train.patience": 0,
        **({"infer.tta": ["vflip"]} if recipe.TTA else {}),
    }


def test_a_validation_that_is_the_test_is_told(write: Write) -> None:
    path = write()
    overrides = [f"valid.images_dir={path.parent / 'dataset/test/images'}", "dataset.group=(a)"]
    notes = repair(load(path, overrides)).notes
    assert any("validation images are the test images" in note for note in notes)
    assert not any("[dataset] group" in note for note in notes)


def test_the_command_line_wins(write: Write) -> None:
    path = write()
    overrides = ["train.batch_size=3", "model.loss=focal_loss", "train.patience=5", "infer.tta=[]"]
    repaired = repair(load(path, overrides))
    assert not {"train.batch_size", "model.loss", "train.patience"} & set(after(repaired))
    result = repaired.loaded.experiment
    assert (result.train.batch_size, result.train.patience, result.infer.tta) == (3, 5, [])
    polynomial = repair(load(path, ["train.schedule=polynomial"]))
    assert "train.schedule" not in after(polynomial) and "train.warmup" in after(polynomial)
    timed = repair(load(path, ["train.minutes=10"])).loaded.experiment
    assert timed.train.minutes == 10


@pytest.mark.parametrize(
    ("loss", "classes", "changes"),
    [
        ("binary_crossentropy", 1, True),
        ("bce_dice_loss", 1, False),
        ("bce_iou_loss", 1, False),
        ("dice_loss", 1, True),
        ("categorical_crossentropy", 3, True),
        ("dice_loss_multiclass", 3, True),
        ("categorical_focal_dice_loss", 3, True),
        ("dice_ce_loss", 3, False),
        ("focal_loss", 3, False),
    ],
)
def test_losses(write: Write, loss: str, classes: int, changes: bool) -> None:
    path = write()
    if classes == 1:
        text = path.read_text(encoding="utf-8").replace("num_classes = 3", "num_classes = 1")
        path.write_text(text.partition("[mask]")[0], encoding="utf-8")
    loaded = load(path)
    model = loaded.experiment.model.model_copy(update={"loss": loss})
    loaded = replace(loaded, experiment=loaded.experiment.model_copy(update={"model": model}))
    repaired = repair(loaded)
    assert ("model.loss" in after(repaired)) == changes
    if changes:
        (change,) = (c for c in repaired.changes if c.name == "model.loss")
        assert change.reason.startswith(loss)


def test_learning_rate_by_network(write: Write) -> None:
    def rate(*overrides: str) -> float:
        return repair(load(write(), overrides)).loaded.experiment.model.learning_rate

    assert rate() == recipe.GENTLE_LEARNING_RATE
    assert rate("model.normalization=true") == recipe.LEARNING_RATE
    assert rate("model.model=AttentionUNet") == recipe.LEARNING_RATE
    # It sees pixels of 0..255, as the original does: another rate may end its learning.
    assert rate("model.model=U2Net") == 0.00007
    assert any(
        "that of the old config stays" in n
        for n in repair(load(write(), ["model.model=U2Net"])).notes
    )
    assert rate("model.input_normalize=false") == 0.00007
    assert rate("model.model=SegFormer") == recipe.GENTLE_LEARNING_RATE
    assert rate("model.model=EncoderUNet") == recipe.GENTLE_LEARNING_RATE
    assert rate("model.model=EncoderUNet", "model.weights=none") == recipe.LEARNING_RATE
    # A rate that the network is known to bear is not lowered.
    path = write()
    path.write_text(path.read_text().replace("0.00007", "0.0009"))
    assert repair(load(path)).loaded.experiment.model.learning_rate == 0.0009


@pytest.mark.parametrize("name", sorted(MODELS))
def test_which_networks_have_normalisation(name: str) -> None:
    """As their modules say: building each of them takes too long here."""
    config = parse_section({"model": name})
    module = sys.modules[MODELS.get(name).build.__module__]
    source = inspect.getsource(module)
    never = "norm=None" in source and "normalize(" not in source
    switched = [key for key in MODELS.get(name).options if key in ("normalization", "batch_norm")]
    assert is_plain(config) == (never or bool(switched))
    for key in switched:
        assert not is_plain(config.model_copy(update={key: True}))


AUGMENTOR = """
[generator]
augmentation = True
[augmentor]
vflip = False
hflip = True
rotation = {rotation}
angles = [5, 10, 350, 300]
"""


def test_flips_and_turns_that_were_off_stay_off(write: Write) -> None:
    path = write(model="generator = True", more=AUGMENTOR.format(rotation="True"))
    loaded = load(path, ["generator.debug=true"])
    repaired = repair(loaded)
    augmentation = repaired.loaded.experiment.augmentation
    assert (augmentation.hflip, augmentation.vflip) == (0.5, 0)
    assert augmentation.rotation_degrees == (-60, 60)
    assert repaired.loaded.experiment.infer.tta == (["hflip"] if recipe.TTA else [])
    assert repaired.loaded.experiment.model.generator
    # Its sections count while nothing replaces them.
    assert not any(f.code == "unused-augmentation" for f in loaded.findings)
    still = repair(load(write(more=AUGMENTOR.format(rotation="False"), name="b.config")))
    assert still.loaded.experiment.augmentation.rotation == 0
    assert not any(f.code == "unused-augmentation" for f in still.loaded.findings)


def test_flips_that_exchange_classes_are_off(write: Write, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "dataset" / "train" / kind).mkdir(parents=True)
    mask = np.zeros((40, 48), np.uint8)
    mask[10:30, 4:20], mask[10:30, 28:44] = 1, 2
    for i in range(4):
        write_png(tmp_path / f"dataset/train/images/{i}.png", mask * 100)
        palette = [0, 0, 0, 0, 255, 0, 255, 0, 0]
        write_png(tmp_path / f"dataset/train/masks/{i}.png", mask, palette)
    repaired = repair(load(write()))
    changes = {change.name: change for change in repaired.changes}
    assert changes["augmentation.hflip"].after == 0
    assert "class 1 would look like class 2" in changes["augmentation.hflip"].reason
    assert changes["augmentation.vflip"].after == 0
    assert "4 cases do not show" in changes["augmentation.vflip"].reason
    assert changes["augmentation.rotation_degrees"].after == [-20, 20]
    assert repaired.loaded.experiment.infer.tta == []
    assert "augmentation.hflip" not in after(repair(load(write()), look=False))


@pytest.mark.parametrize("count", [4, 12])
def test_few_masks_of_a_chest_allow_no_flip(shared: Path, tmp_path: Path, count: int) -> None:
    folder = shared / "data" / "mini_test" / "covid-19"
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for path in sorted((folder / kind).iterdir())[:: 24 // count]:
            (tmp_path / kind / path.name).symlink_to(path)
    places = [f"train.{kind}_dir={tmp_path / kind}" for kind in ("images", "masks")]
    repaired = repair(load(shared / "configs" / "covid-19.config", places)).loaded.experiment
    assert repaired.augmentation.enabled
    assert (repaired.augmentation.hflip, repaired.augmentation.vflip) == (0, 0)
    assert repaired.augmentation.rotation_degrees == (-20, 20)
    assert repaired.infer.tta == []


def test_values_of_unknown_scale_are_not_varied(write: Write, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "dataset" / "train" / kind).mkdir(parents=True)
    for i in range(2):
        np.save(tmp_path / f"dataset/train/images/{i}.npy", np.full((40, 48, 3), -300.0))
        write_png(tmp_path / f"dataset/train/masks/{i}.png", np.eye(40, 48, dtype=np.uint8))
    changed = after(repair(load(write())))
    assert changed["augmentation.gamma"] == changed["augmentation.noise"] == 0
    windowed = after(repair(load(write(), ["image.window=[-1000, 1000]"])))
    assert "augmentation.gamma" not in windowed


class TestPlaces:
    def test_all_outputs_lie_in_a_folder_of_their_own(self, write: Write, tmp_path: Path) -> None:
        train = 'run_dir = "runs/1"\neval_dir = "../shared_eval"\nepoch_change_infer_dir = "./e"'
        overrides = [f"train.model_dir={tmp_path / 'x' / 'models'}"]
        overrides += [f"infer.output_dir={tmp_path / 'y' / 'models'}"]
        loaded = load(write(train=train), overrides)
        before, result = loaded.experiment, repair(loaded).loaded.experiment
        new = tmp_path / "runs" / "1" / "repaired"
        assert result.train.run_dir == new
        assert result.train.epoch_change_infer_dir == new / "e"
        assert result.train.eval_dir == new / "shared_eval"
        # Two folders of one name in different places.
        assert result.train.model_dir == new / "models"
        assert result.infer.output_dir == new / "y_models"
        assert result.infer.merged_dir is None
        old = set(output_folders(before).values())
        assert not old & set(output_folders(result).values())
        for name, model in section_models().items():
            for key, _, role in path_fields(model):
                place = getattr(getattr(result, name), key)
                if role.kind == "output" and place is not None:
                    assert new in place.parents
                elif key != "run_dir":
                    assert place == getattr(getattr(before, name), key)

    def test_a_place_that_is_shared_stays_shared(self, write: Write, tmp_path: Path) -> None:
        places = {"train.run_dir": "r", "train.model_dir": "r", "train.eval_dir": "r/e"}
        places["infer.output_dir"] = "r/e"
        loaded = load(write(), [f"{key}={tmp_path / place}" for key, place in places.items()])
        moved = in_subfolder(loaded.experiment, "new")
        assert moved.train.model_dir == moved.train.run_dir == tmp_path / "r" / "new"
        assert moved.train.eval_dir == moved.infer.output_dir == tmp_path / "r" / "new" / "e"

    def test_nothing_that_is_read_moves_aside(self, write: Write, tmp_path: Path) -> None:
        overrides = [f"infer.images_dir={tmp_path / 'repaired' / 'models' / 'images'}"]
        with pytest.raises(ConfigError, match="contains the input"):
            repair(load(write(), overrides))


class TestRecorded:
    @staticmethod
    def write_run(repaired: Repaired, **content: Any) -> Path:
        """The manifest of the run that is trained with a repair; returns its file."""
        folder = repaired.original.experiment.train.run_dir / "repaired"
        folder.mkdir()
        manifest = Manifest.start(folder, repaired.loaded)
        repaired.note_in(manifest)
        manifest.write()
        write_json(manifest.path, json.loads(manifest.path.read_text(encoding="utf-8")) | content)
        return manifest.path

    def test_as_it_was_trained(self, write: Write) -> None:
        loaded = load(write())
        first = repair(loaded)
        self.write_run(first)
        again = recorded(loaded)
        assert again.changes == first.changes and again.notes == first.notes
        assert again.loaded.experiment == first.loaded.experiment
        other = recorded(load(loaded.path, ["infer.tta=['hflip']"])).loaded.experiment
        assert other.infer.tta == ["hflip"] and other.train.schedule == recipe.SCHEDULE

    def test_values_of_an_earlier_recipe_stay(self, write: Write) -> None:
        loaded = load(write())
        first = repair(loaded)
        changes = [
            c.model_copy(update={"after": 0.5} if c.key == "warmup" else {}) for c in first.changes
        ]
        self.write_run(replace(first, changes=tuple(changes)))
        assert recorded(loaded).loaded.experiment.train.warmup == 0.5

    @pytest.mark.parametrize(
        "changes",
        [
            None,
            [{"section": "none", "key": "x", "before": 1, "after": 2, "reason": ""}],
            [{"section": "train", "key": "ema", "before": 0, "after": 7, "reason": ""}],
        ],
    )
    def test_other_manifests_are_refused(self, write: Write, changes: Any) -> None:
        loaded = load(write())
        self.write_run(repair(loaded), repair=changes)
        with pytest.raises(DataError) as caught:
            recorded(loaded)
        assert "flexseg train a.config --repair" in caught.value.fix

    def test_a_damaged_manifest_is_refused(self, write: Write) -> None:
        loaded = load(write())
        self.write_run(repair(loaded), repair=[{"key": "tta"}])
        with pytest.raises(DataError, match=r"cannot be read: .*repair\.0\.section"):
            recorded(loaded)

    def test_untrained(self, write: Write) -> None:
        with pytest.raises(DataError, match="not been trained") as caught:
            recorded(load(write()))
        assert "flexseg train a.config --repair" in caught.value.fix


@pytest.mark.usefixtures("eager")
def test_commands(
    write: Write,
    tmp_path: Path,
    make_dataset: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both configs side by side: neither touches the other's files."""
    make_dataset({"train": 8, "valid": 4, "test": 6}, classes=3)
    path = write()
    precision = ("--set", "train.precision=float32")
    assert flexseg("check", path, "--repair") == 0
    assert "categorical_crossentropy -> dice_ce_loss" in capsys.readouterr().out
    assert flexseg("evaluate", path, "--repair") == 3
    assert flexseg("train", path, *precision) == 0
    assert flexseg("evaluate", path, *precision) == 0
    before = {
        file: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in tmp_path.rglob("*")
        if file.is_file()
    }
    capsys.readouterr()

    assert flexseg("train", path, "--repair", *precision) == 0
    assert "Repaired config: TensorFlowFlexUNet stays as it is" in capsys.readouterr().out
    assert flexseg("evaluate", path, "--repair", *precision) == 0
    assert "Old config and repaired: " in capsys.readouterr().out
    assert flexseg("infer", path, "--repair", *precision) == 0
    assert flexseg("report", path, "--repair", "--no-audit") == 0
    assert before == {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in before}

    new = tmp_path / "repaired"
    manifest = json.loads((new / "run.json").read_text(encoding="utf-8"))
    assert manifest["repair"][1]["key"] == "loss" and manifest["repair_notes"]
    assert manifest["config"]["train"]["schedule"] == recipe.SCHEDULE
    for made in ("models/best_model.h5", "evaluation/cases.csv", "predictions", "report.html"):
        assert (new / made).exists()
    assert flexseg("train", path, "--repair", "--resume", *precision) == 0
    assert "This training is finished" in capsys.readouterr().out
    assert "repair" in json.loads((new / "run.json").read_text(encoding="utf-8"))
    # The network is the old one's: its weights go either way.
    old = f"train.model_dir={tmp_path / 'models'}"
    assert flexseg("evaluate", path, "--repair", *precision, "--set", old) == 0


def test_time_goes_with_or_without_repair(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("train", write(), "--repair", "--time", "soon") == 2
    assert "--time" in capsys.readouterr().err
    assert flexseg("evaluate", write(), "--repair", "--predictions", ".", "--masks", ".") == 2
