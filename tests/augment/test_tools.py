"""The originals' offline tools: pairs stay pairs, names are theirs, nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.augment.tool_config import ToolJob, read_tool
from flexseg.augment.tools import run_tool, tool_variants
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask
from support import flexseg, result_of

SIZE = (48, 64)


def picture(seed: int) -> np.ndarray:
    """A colour picture whose red channel is 255 in a box, which its mask marks."""
    pixels = np.random.default_rng(seed).integers(0, 100, (*SIZE, 3), dtype=np.uint8)
    pixels[12:36, 16:48, 0] = 255
    return pixels


def mask() -> np.ndarray:
    marked = np.zeros((*SIZE, 3), np.uint8)
    marked[12:36, 16:48] = (0, 200, 7)
    return marked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/ and masks/ of a training split, and of one for the test."""
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(picture(i)).save(tmp_path / "data" / split / f"images/{i}.png")
            Image.fromarray(mask()).save(tmp_path / "data" / split / f"masks/{i}.png")
    return tmp_path


def jobs(folder: Path, text: str) -> tuple[ToolJob, ...]:
    (folder / "tool.config").write_text(text)
    tool = read_tool(folder / "tool.config")
    assert tool is not None
    return tool.jobs


def written(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))


TOOLS = {
    "deformation": ('alpha = 1300\nsigmoids = [8, 12]\n', ["deformed_alpha_1300_sigmoid_8_",
                    "deformed_alpha_1300_sigmoid_12_"]),
    "distortion": ("gaussian_filter_rsigma = 40\ngaussian_filter_sigma = 0.5\n"
                   "distortions = [0.02]\n", ["distorted_0.02_rsigma0.5_sigma40_"]),
    "barrdistortion": ("radius = 0.3\namount = -0.3\ncenters = [(0.3, 0.3), (0.5, 0.5)]\n",
                       ["barrdistorted_101_0.3_-0.3_", "barrdistorted_102_0.3_-0.3_"]),
    "pincdistortion": ("radius = 0.3\n", ["pincdistorted_101_0.3_-0.5_"]),
}  # fmt: skip


@pytest.mark.parametrize("section", TOOLS)
def test_a_folder_of_images_without_masks(folder: Path, section: str) -> None:
    text, prefixes = TOOLS[section]
    head = f'[{section}]\nimages_dir = "./data/test/images"\noutput_dir = "./out"\n'
    (job,) = jobs(folder, head + text)
    result = run_tool(job, job.output)
    assert written(folder / "out") == sorted(f"{p}{i}.png" for p in prefixes for i in range(2))
    assert (result.images, result.written) == (2, 2 * len(prefixes))
    assert read_image(folder / f"out/{prefixes[0]}0.png").shape == (*SIZE, 3)


@pytest.mark.parametrize("section", TOOLS)
def test_folders_of_folders_move_image_and_mask_alike(folder: Path, section: str) -> None:
    """The originals give images/ and masks/ fields of their own."""
    text, prefixes = TOOLS[section]
    (job,) = jobs(folder, f'[{section}]\nimages_dir = "data"\noutput_dir = "out"\n{text}')
    run_tool(job, job.output)
    name = f"train/{{}}/{prefixes[0]}1.png"
    image, marked = (folder / "out" / name.format(kind) for kind in ("images", "masks"))
    pixels = read_mask(marked).pixels
    colors = {tuple(rgb) for rgb in pixels.reshape(-1, 3).tolist()}
    assert colors == {(0, 0, 0), (0, 200, 7)}
    inside = read_image(image)[..., 0] > 180
    agreement = (inside == (pixels[..., 1] > 0)).mean()
    assert agreement > 0.98
    assert not np.array_equal(pixels, mask())


def test_pairs_at_every_radius_and_amount(folder: Path) -> None:
    """A radius stays the same from centre to centre; in the original it grows a hundredfold."""
    text = (
        '[augmentor]\nimages_dir = "data/train/images"\nmasks_dir = "data/train/masks"\n'
        'output_dir = "out"\nradii = [0.2, 0.4]\namounts = [0.7, -0.7]\n'
        "centers = [(0.3, 0.3), (0.5, 0.5), (0.7, 0.7)]\n"
    )
    (job,) = jobs(folder, text)
    names = [variant.prefix for variant in tool_variants(job)]
    assert len(names) == len(set(names)) == 12
    assert names[:4] == [
        "barrdistorted_101_0.2_0.7_", "barrdistorted_102_0.2_0.7_", "barrdistorted_103_0.2_0.7_",
        "barrdistorted_101_0.2_-0.7_",
    ]  # fmt: skip
    run_tool(job, job.output)
    assert len(written(folder / "out")) == 2 * 2 * 12
    assert (folder / "out/masks/barrdistorted_103_0.4_-0.7_1.png").is_file()


def test_a_dataset_is_resized_and_its_test_not_augmented(folder: Path) -> None:
    text = (
        '[dataset]\nimage_width = 32\nimage_height = 24\ndataset_dir = "./data"\n'
        'augmented_dir = "./more"\nno_augmentation = "test"\n[augmentor]\nhflip = True\n'
        "vflip = False\nrotation = False\nshrinks = [0.8]\ndeformation = True\n"
        "[deformation]\nalpah = 1300\nsigmoid = 8\n"
    )
    (job,) = jobs(folder, text)
    run_tool(job, job.output)
    assert [n for n in written(folder / "more") if n.startswith("test/images")] == [
        "test/images/0.png", "test/images/1.png",
    ]  # fmt: skip
    stems = {Path(n).name for n in written(folder / "more/train/images")}
    assert stems == {
        f"{prefix}{i}.png"
        for i in range(2)
        for prefix in ("", "hfliped_", "shrinked_0_8_", "deformed_alpha_1300_sigmoid_8_")
    }
    flipped = read_mask(folder / "more/train/masks/hfliped_0.png").pixels
    assert flipped.shape == (24, 32, 3)
    assert np.array_equal(flipped[:, ::-1], read_mask(folder / "more/train/masks/0.png").pixels)


def test_a_palette_stays(folder: Path) -> None:
    indexed = Image.fromarray((mask()[..., 1] > 0).astype(np.uint8) * 2)
    indexed.putpalette([0, 0, 0, 9, 9, 9, 255, 0, 0])
    indexed.save(folder / "data/train/masks/0.png")
    (job,) = jobs(folder, '[distortion]\nimages_dir = "data/train"\noutput_dir = "out"\n')
    run_tool(job, job.output)
    found = read_mask(next((folder / "out/masks").glob("*_0.png")))
    assert found.palette is not None
    assert found.palette[2].tolist() == [255, 0, 0]
    assert set(np.unique(found.pixels)) == {0, 2}


def test_all_faults_of_a_tools_config_are_told(folder: Path) -> None:
    text = '[augmentor]\nimages_dir = 5\nradii = ["a"]\n[distortion]\nimages_dir = "x"\n'
    (folder / "tool.config").write_text(text + "distortions = [-1]\n[barrdistortion]\nradius = b\n")
    with pytest.raises(ConfigError) as caught:
        read_tool(folder / "tool.config")
    told = str(caught.value)
    for fault in ("'b' is no", "images_dir", "radii", "distortions"):
        assert fault in told, fault


def test_other_configs_are_none_of_a_tool(folder: Path) -> None:
    (folder / "a.config").write_text('[train]\nimages_dir = "x"\n[augmentor]\nhflip = True\n')
    assert read_tool(folder / "a.config") is None


def test_refusals(folder: Path) -> None:
    (job,) = jobs(folder, '[distortion]\nimages_dir = "data/train"\noutput_dir = "data"\n')
    with pytest.raises(ConfigError, match="contains the input"):
        run_tool(job, job.output)
    (job,) = jobs(folder, '[distortion]\nimages_dir = "none"\noutput_dir = "out"\n')
    with pytest.raises(DataError, match="no such folder"):
        run_tool(job, job.output)
    Image.fromarray(picture(1)).save(folder / "data/train/images/0.bmp")
    (job,) = jobs(folder, '[distortion]\nimages_dir = "data/train/images"\noutput_dir = "out"\n')
    with pytest.raises(DataError, match="same names"):
        run_tool(job, job.output)
    assert not (folder / "out").exists()


def test_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[barrdistortion]\nimages_dir = "data"\noutput_dir = "out"\n'
    (folder / "tool.config").write_text(text)
    assert flexseg("check", folder / "tool.config") == 0
    assert "makes 1 files of each of 4 images" in " ".join(capsys.readouterr().out.split())
    assert flexseg("check", folder / "tool.config", "--json") == 0
    assert result_of(capsys.readouterr().out)["tool"][0]["files"] == 4
    assert flexseg("augment", folder / "tool.config") == 0
    assert len(written(folder / "out")) == 8
    assert flexseg("augment", folder / "tool.config", "--copies", "3") == 2
    assert flexseg("train", folder / "tool.config") == 2
