"""`flexseg split` as a user meets it: files, table, messages, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexseg.checking.audit import audit
from flexseg.config import load
from flexseg.dataset.reading import Dataset
from flexseg.files.images import write_png
from support import flexseg

PALETTE = [0, 0, 0, 0, 255, 0, 255, 0, 0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 cases of 10 patients; class 1 everywhere, class 2 in four patients."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for i in range(40):
        labels = np.zeros((16, 16), np.uint8)
        labels[:4] = 1
        if i // 4 < 4:
            labels[8:] = 2
        name = f"p{i // 4}_{i % 4}.png"
        write_png(tmp_path / "data" / "images" / name, rng.integers(0, 255, (16, 16, 3), np.uint8))
        write_png(tmp_path / "data" / "masks" / name, labels, PALETTE)
    return tmp_path / "data"


def parts(path: Path | str) -> dict[str, set[str]]:
    return {name: set(ids) for name, ids in json.loads(Path(path).read_text()).items()}


def patients(ids: set[str]) -> set[str]:
    return {case.partition("_")[0] for case in ids}


def everything(*sets: set[str]) -> int:
    """Size of the union, which must be that of the parts."""
    union = set().union(*sets)
    assert len(union) == sum(map(len, sets))
    return len(union)


def test_by_group_and_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("split", folder, "--group", r"^(p\d+)", "--ratios", "0.5,0.25,0.25") == 0
    found = parts("split.json")
    assert list(found) == ["train", "valid", "test"]
    assert everything(*found.values()) == 40
    assert everything(*map(patients, found.values())) == 10
    rare = {f"p{i}" for i in range(4)}
    assert [len(patients(found[n]) & rare) for n in found] == [2, 1, 1]
    output = capsys.readouterr().out
    assert "40 cases in 10 groups of 4; seed 137." in output
    assert "with class 2" in output and "Written: split.json" in output


def test_the_seed_decides(folder: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert flexseg("split", folder, "--seed", str(seed), "-o", f"{name}.json") == 0
    assert parts("a.json") == parts("b.json") != parts("c.json")


def test_an_earlier_file_moves_aside(folder: Path, tmp_path: Path) -> None:
    own = '{"train": ["p0_0"]}'
    (tmp_path / "split.json").write_text(own)
    assert flexseg("split", folder) == 0
    (kept,) = tmp_path.glob("split.json_*_bak")
    assert kept.read_text() == own


def test_a_file_that_is_no_split_stays(folder: Path, tmp_path: Path) -> None:
    for name, text in (("a.json", "{}"), ("b.txt", "mine")):
        (tmp_path / name).write_text(text)
        assert flexseg("split", folder, "-o", name) == 2
        assert (tmp_path / name).read_text() == text


def test_folds(folder: Path) -> None:
    arguments = ("--group", r"^(p\d+)", "--folds", "4", "--test", "0.2", "-o", "deep/f.json")
    assert flexseg("split", folder, *arguments) == 0
    found = [parts(f"deep/f_fold{i}.json") for i in range(4)]
    test = found[0]["test"]
    assert len(patients(test)) == 2
    assert all(f["test"] == test for f in found)
    assert everything(*(f["valid"] for f in found), test) == 40
    for f in found:
        assert everything(*map(patients, f.values())) == 10
    assert flexseg("split", folder, "--folds", "3") == 0
    assert list(parts("split_fold2.json")) == ["train", "valid"]


def test_copies_of_one_image_stay_together(folder: Path) -> None:
    for kind in ("images", "masks"):
        for i in range(10):
            source = folder / kind / f"p{i}_0.png"
            for prefix in ("hfliped_", "barrdistorted_1001_0.3_0.3_"):
                source.with_name(prefix + source.name).write_bytes(source.read_bytes())
    assert flexseg("split", folder) == 0
    train, *others = parts("split.json").values()
    for i in range(10):
        copies = {f"hfliped_p{i}_0", f"barrdistorted_1001_0.3_0.3_p{i}_0"}
        # Copies of images that are scored are not used.
        assert copies & train == (copies if f"p{i}_0" in train else set())
        assert not any(copies & ids for ids in others)


def test_groups_of_a_manifest(folder: Path, tmp_path: Path) -> None:
    rows = [f"images/p{i // 4}_{i % 4}.png,x,S{i // 8}" for i in range(40)]
    table = tmp_path / "manifest.csv"
    table.write_text("image,mask,site\n" + "\n".join(rows) + "\n")
    assert flexseg("split", folder, "--manifest", table, "--by", "site") == 0
    sites = [{int(p[1:]) // 2 for p in patients(ids)} for ids in parts("split.json").values()]
    assert sum(map(len, sites)) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mask\na,b\n", "no column 'patient'; it has: image, mask"),
        ("name,patient\na,b\n", "no column 'image'"),
        ("image,patient\nimages/p0_0.png,1\n", "39 of 40 cases have no patient"),
        ("image,patient\n" + "".join(f"p{i // 4}_{i % 4}.png,\n" for i in range(40)), "40 of 40"),
        ("", "it has: none"),
    ],
)
def test_a_wrong_manifest(
    folder: Path, tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text(text)
    assert flexseg("split", folder, "--manifest", tmp_path / "m.csv") == 3
    assert message in capsys.readouterr().err
    assert not (tmp_path / "split.json").exists()


CONFIG = """
[model]
image_width = 16
image_height = 16
num_classes = 3
num_layers = 3
[dataset]
images_dir = "data/images"
masks_dir = "data/masks"
group = '^(p\\d+)'
[[mask.classes]]
id = 1
name = "lung"
color = [0, 255, 0]
[[mask.classes]]
id = 2
name = "[tumour]"
color = [255, 0, 0]
"""


def test_a_config_gives_classes_and_groups_and_reads_the_result(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.toml").write_text(CONFIG)
    assert flexseg("split", tmp_path / "a.toml") == 0
    assert "with [tumour]" in capsys.readouterr().out
    found = parts("split.json")
    assert everything(*map(patients, found.values())) == 10
    (tmp_path / "b.toml").write_text(CONFIG.replace("group", 'split_file = "split.json"\ngroup'))
    report = audit(load(tmp_path / "b.toml"))
    assert [s["cases"] for s in report.splits] == [len(ids) for ids in found.values()]
    assert report.findings == []


def test_copy_makes_the_folders_that_init_takes(folder: Path, tmp_path: Path) -> None:
    assert flexseg("split", folder, "--copy", tmp_path / "out") == 0
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert flexseg("split", folder, "--copy", tmp_path / "out") == 0
    assert flexseg("split", folder, "--copy", tmp_path) == 2
    for name, ids in parts("split.json").items():
        for kind in ("images", "masks"):
            copies = list((tmp_path / "out" / name / kind).iterdir())
            assert {path.stem for path in copies} == ids
            for path in copies:
                assert path.read_bytes() == (folder / kind / path.name).read_bytes()
    assert len(list((folder / "images").iterdir())) == 40
    (kept,) = tmp_path.glob("out_*_bak")
    assert (kept / "mine.txt").exists()


@pytest.mark.parametrize("target", ["data", "data/images", "data/images/x", "."])
def test_copies_never_go_into_the_source(folder: Path, target: str) -> None:
    assert flexseg("split", folder, "--copy", target) == 2
    assert len(list((folder / "images").iterdir())) == 40


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--ratios", "0.5,0.6"], 2, "not shares"),
        (["--ratios", "1.2,-0.2"], 2, "not shares"),
        (["--ratios", "a,b"], 2, "not a list of numbers"),
        (["--ratios", "0.8,0.2", "--folds", "3"], 2, "cannot be combined"),
        (["--folds", "3", "--copy", "x"], 2, "cannot be combined"),
        (["--test", "0.2"], 2, "works with --folds only"),
        (["--folds", "1"], 2, "2 or more"),
        (["--folds", "3", "--test", "1"], 2, "not a share"),
        (["--group", "("], 2, "not a regular expression"),
        (["--group", "p"], 3, "1 group cannot be divided into train, valid and test"),
        (["--folds", "50"], 3, "10 groups cannot be divided into 50 folds"),
        (["--set", "train.seed=1"], 2, "--set changes a config"),
        (["--manifest", "none.csv"], 3, "no such file"),
    ],
)
def test_wrong_options(
    folder: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert flexseg("split", folder, *arguments) == code
    assert message in capsys.readouterr().err
    assert not list(Path().glob("*.json"))


def test_wrong_sources(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    make_dataset: Callable[..., Path],
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    assert flexseg("split", tmp_path / "empty") == 3
    assert "no images with masks" in capsys.readouterr().err
    (folder / "masks").rename(folder / "elsewhere")
    (folder / "masks").mkdir()
    assert flexseg("split", folder) == 3
    assert "no images with masks" in capsys.readouterr().err
    make_dataset()
    sections = "".join(
        f'[{s}]\nimages_dir = "dataset/{s}/images"\nmasks_dir = "dataset/{s}/masks"\n'
        for s in ("train", "test")
    )
    (tmp_path / "c.toml").write_text("[model]\nnum_classes = 1\n" + sections)
    assert flexseg("split", tmp_path / "c.toml") == 2
    assert "folders of their own" in capsys.readouterr().err


def test_files_without_partner_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "masks" / "p0_0.png").unlink()
    assert flexseg("split", folder) == 0
    assert "1 image has no mask" in " ".join(capsys.readouterr().err.split())


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("split", folder, "--json", "--ratios", "0.5,0.5") == 0
    rows = json.loads(capsys.readouterr().out)["split.json"]
    assert [(r["split"], r["cases"], r["classes"]["class 2"]) for r in rows] == [
        ("train", 20, 8),
        ("valid", 20, 8),
    ]


def test_it_divides_as_the_plan_does(folder: Path) -> None:
    """Groups that the names tell of, every class everywhere, no class but those of the masks."""
    assert flexseg("split", folder) == 0
    division = Dataset.open(folder).divide()
    assert json.loads(Path("split.json").read_text()) == division.ids
    assert everything(*map(patients, parts("split.json").values())) == 10


def test_folders_that_say_it_stay(
    make_dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    dataset = make_dataset({"train": 6, "valid": 3, "test": 3})
    assert flexseg("split", dataset) == 0
    assert "as the folders say" in capsys.readouterr().out
    assert not (tmp_path / "split.json").exists()
    assert flexseg("split", dataset, "--seed", "1") == 2
    assert "The folders already divide the cases" in capsys.readouterr().err


def test_the_split_of_a_dataset_stays_unless_another_one_is_asked_for(folder: Path) -> None:
    own = {"train": [f"p{i}_0" for i in range(8)], "valid": ["p8_0"], "test": ["p9_0"]}
    (folder / "split.json").write_text(json.dumps(own))
    assert flexseg("split", folder, "-o", folder / "split.json") == 0
    assert [path.name for path in folder.glob("split*")] == ["split.json"]
    assert flexseg("split", folder, "--seed", "0") == 0
    assert everything(*parts("split.json").values()) == 40
