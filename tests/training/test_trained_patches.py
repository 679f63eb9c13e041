"""Networks that see patches: trained, resumed, and applied by every command without being told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flexseg
from flexseg.config.load import load
from flexseg.files.images import write_png
from support import flexseg as run

# A quarter of the images' sides: whole images lose lines of one pixel, patches do not.
CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 24
image_channels = 1
num_classes = 1
num_layers = 2
base_filters = 4
normalization = true
input_normalize = true
learning_rate = 0.03
loss = "dice_ce_loss"
metrics = ["dice"]
[image]
patch_scale = 1.0
[train]
images_dir = "data/images"
masks_dir = "data/masks"
run_dir = "run"
epochs = 2
epoch_steps = 24
batch_size = 4
num_infer_images = 1
precision = "float32"
[valid]
images_dir = "held_out/images"
masks_dir = "held_out/masks"
[test]
images_dir = "new/images"
masks_dir = "new/masks"
[infer]
images_dir = "new/images"
engine = "keras"
probabilities = true
[tiledinfer]
probabilities = true
[[mask.classes]]
id = 1
name = "line"
color = "#ffffff"
"""


def write_lines(folder: Path, count: int, seed: int) -> None:
    """Images 96 to 128 wide with bright lines of one pixel, which are class 1."""
    rng = np.random.default_rng(seed)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((96, 96 + 16 * (number % 3)), np.uint8)
        mask[rng.choice(np.arange(4, 92, 5), 6, replace=False)] = 1
        noise = rng.integers(0, 60, mask.shape)
        write_png(folder / f"images/{number}.png", (noise + 190 * mask).astype(np.uint8)[..., None])
        write_png(folder / f"masks/{number}.png", mask, [0, 0, 0, 255, 255, 255])


pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a config, and the run of its training."""
    folder = tmp_path_factory.mktemp("patches")
    write_lines(folder / "data", 6, 0)
    write_lines(folder / "held_out", 3, 1)
    write_lines(folder / "new", 3, 2)
    (folder / "c.toml").write_text(CONFIG, encoding="utf-8")
    assert run("train", str(folder / "c.toml")) == 0
    return folder


def evaluated(folder: Path, name: str, *options: str) -> tuple[dict[str, float], Path]:
    """Dice of the cases, and the folder of an evaluation."""
    out = folder / name
    assert run("evaluate", str(folder / "c.toml"), "-o", str(out), *options) == 0
    rows = [line.split(",") for line in (out / "cases.csv").read_text().splitlines()]
    case, dice = rows[0].index("case"), rows[0].index("dice")
    return {row[case]: float(row[dice]) for row in rows[1:]}, out


def mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_training_has_shown_what_an_evaluation_finds(folder: Path) -> None:
    dice, _ = evaluated(folder, "valid", "--set", "model.evaluation='valid'")
    shown = json.loads((folder / "run/history.json").read_text())["val_dice"]
    assert max(shown) == pytest.approx(np.mean(list(dice.values())), abs=0.02)


def test_scores_are_those_of_the_predicted_masks_at_the_images_own_size(folder: Path) -> None:
    dice, out = evaluated(folder, "evaluation")
    assert len(dice) == 3
    for name, found in dice.items():
        truth, predicted = mask(folder / f"new/masks/{name}.png"), None
        predicted = mask(out / f"predictions/{name}.png")
        own = 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
        assert found == pytest.approx(own, abs=1e-6)
        assert own > 0.95
    settings = json.loads((out / "summary.json").read_text())["inference"]
    assert settings["windows"] == {"width": 32, "height": 24, "overlap": 6}
    history = json.loads((folder / "run/history.json").read_text())
    assert history["val_dice"][-1] == pytest.approx(np.mean([*dice.values()]), abs=0.05)


def test_whole_images_of_as_many_pixels_cannot_show_the_lines(folder: Path) -> None:
    whole = ["--set", "image.patch_scale=None", "--set", f"train.run_dir={folder / 'whole'}"]
    assert run("train", str(folder / "c.toml"), *whole) == 0
    dice, _ = evaluated(folder, "evaluation_whole", *whole)
    assert max(dice.values()) < 0.6


def test_images_are_predicted_by_windows_without_being_told(folder: Path) -> None:
    config = str(folder / "c.toml")
    assert run("infer", config, "-o", str(folder / "plain")) == 0
    assert run("tiled-infer", config, "-o", str(folder / "tiled")) == 0
    model = flexseg.Model.load(folder / "run/models/best_model.h5", engine="keras")
    for path in sorted((folder / "new/images").iterdir()):
        expected = mask(folder / "tiled" / path.name)
        np.testing.assert_array_equal(mask(folder / "plain" / path.name), expected)
        np.testing.assert_array_equal(mask(folder / "evaluation/predictions" / path.name), expected)
        np.testing.assert_array_equal(model.predict(path).labels, expected)
    (picture,) = folder.glob("run/**/Epoch_2_0.png")
    assert mask(picture).shape == mask(folder / "plain/0.png").shape


def test_views_and_postprocessing_are_chosen_on_windows(folder: Path) -> None:
    options = ["--set", "infer.tta=['flips']"]
    dice, _ = evaluated(folder, "evaluation_views", *options)
    assert min(dice.values()) > 0.95
    command = ["tune-postprocessing", str(folder / "c.toml"), "-o", str(folder / "tuned")]
    assert run(*command) == 0
    scores = json.loads((folder / "tuned/postprocessing.json").read_text())["scores"]
    assert scores["2d"]["line"]["dice_before"] > 0.95


def test_a_training_goes_on_as_if_nothing_had_happened(folder: Path) -> None:
    def train(name: str, epochs: int, *options: str) -> None:
        keys = {"run_dir": folder / name, "epochs": epochs, "epoch_steps": 3}
        changes = [part for k, v in keys.items() for part in ("--set", f"train.{k}={v}")]
        assert run("train", str(folder / "c.toml"), *changes, *options) == 0

    train("unbroken", 2)
    train("broken", 1)
    train("broken", 2, "--resume")
    states = []
    for name in ("unbroken", "broken"):
        with np.load(folder / name / "models/checkpoint.npz") as archive:
            states.append({key: archive[key] for key in archive.files if key != "progress"})
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][key])


@pytest.fixture
def stacked(folder: Path) -> Iterator[list[str]]:
    yield [
        str(folder / "c.toml"),
        "--set",
        "volume.neighbours=1",
        "--set",
        "model.image_channels=3",
    ]


def test_stacks_of_slices_are_no_patches(
    stacked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", *stacked) == 2
    assert "image.patch_scale cuts patches from single images" in capsys.readouterr().err.replace(
        "\n", " "
    )


def test_a_package_says_that_it_sees_patches(folder: Path) -> None:
    package = flexseg.Model.load(folder / "run/models/best_model.h5", engine="keras")
    preprocessing = package._predictor.package.preprocessing
    assert preprocessing.patch == (24, 32)
    assert load(folder / "c.toml").experiment.image.patch_scale == 1.0
