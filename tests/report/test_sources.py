"""What a report can be made of, and what is said where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flexseg.errors import ConfigError, DataError
from flexseg.report.sources import CaseFiles, find_source
from sample_run import write_sample_evaluation, write_sample_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_run(tmp_path_factory.mktemp("sources"))


class TestFindSource:
    def test_run_folder(self, run: Path) -> None:
        source = find_source(run)
        assert (source.run_dir, source.evaluation) == (run, run / "evaluation")
        assert source.loaded is not None
        assert source.loaded.source("model", "model") != "default"
        assert source.missing == []

    def test_config_file_leads_to_its_run(self, run: Path) -> None:
        source = find_source(run.parent / "config.toml")
        assert source.run_dir == run
        # The dataset's name; that of `data` says nothing, the folder above does.
        assert source.title == find_source(run).title == run.parent.name

    def test_evaluation_folder_has_no_training(self, run: Path) -> None:
        source = find_source(run / "evaluation")
        assert source.run_dir is None
        assert source.manifest is None

    def test_cases_are_found_with_images_and_masks(self, run: Path) -> None:
        files = find_source(run).case_files()
        assert len(files) == 12
        assert files["test_03"].image == run.parent / "data" / "test" / "images" / "test_03.png"
        assert files["test_03"].mask == run.parent / "data" / "test" / "masks" / "test_03.png"

    def test_given_folders_come_first(self, run: Path, tmp_path: Path) -> None:
        for kind in ("images", "masks"):
            shutil.copytree(run.parent / "data" / "test" / kind, tmp_path / kind)
        source = find_source(run, images=tmp_path / "images", masks=tmp_path / "masks")
        files = source.case_files()["test_03"]
        assert files.image == tmp_path / "images" / "test_03.png"
        assert files.mask == tmp_path / "masks" / "test_03.png"

    def test_masks_alone_name_the_cases(self, tmp_path: Path) -> None:
        source = find_source(write_sample_evaluation(tmp_path))
        files = source.case_files()
        assert sorted(files) == [f"test_{i:02d}" for i in range(6)]
        assert files["test_00"].mask == tmp_path / "test" / "masks" / "test_00.png"

    def test_cases_of_several_folders(self, tmp_path: Path) -> None:
        """Noted one by one; what is not there any more is said."""
        evaluation = write_sample_evaluation(tmp_path)
        summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
        text = json.dumps(summary | {"masks_dir": None})
        (evaluation / "summary.json").write_text(text, encoding="utf-8")
        masks = [tmp_path / f"test/masks/test_0{i}.png" for i in range(6)]
        (tmp_path / "other").mkdir()
        masks[5] = masks[5].rename(tmp_path / "other/test_05.png")
        lines = [f"test_0{i},{tmp_path / 'gone.png'},{mask}" for i, mask in enumerate(masks)]
        (evaluation / "files.csv").write_text("\n".join(["case,image,mask", *lines]) + "\n")
        source = find_source(evaluation)
        files = source.case_files()
        assert [files[f"test_0{i}"].mask for i in range(6)] == masks
        assert all(f.image is None for f in files.values())
        assert [m.what for m in source.missing] == ["images or masks of 6 cases"]
        given = find_source(evaluation, images=tmp_path / "test/masks").case_files()
        assert given["test_00"] == CaseFiles(masks[0], masks[0])

    def test_nothing_to_report(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nothing made by flexseg.*flexseg train"):
            find_source(tmp_path)
        (tmp_path / "a.toml").write_text("[train]\nrun_dir = 'run'\n", encoding="utf-8")
        with pytest.raises(DataError, match=r"nothing to report.*flexseg train"):
            find_source(tmp_path)
        (tmp_path / "a.toml").unlink()
        with pytest.raises(ConfigError, match="no such file or folder"):
            find_source(tmp_path / "absent")
        with pytest.raises(DataError, match="no such folder"):
            find_source(tmp_path, images=tmp_path / "absent")
        with pytest.raises(ConfigError):
            find_source(tmp_path, config=tmp_path / "absent.toml")

    def test_damaged_files_are_named_not_raised(self, run: Path, tmp_path: Path) -> None:
        copy = tmp_path / "run"
        shutil.copytree(run, copy)
        (copy / "evaluation" / "summary.json").write_text("{", encoding="utf-8")
        source = find_source(copy)
        assert source.summary is None
        assert any("summary.json cannot be read" in m.why for m in source.missing)

    def test_config_of_another_version(self, run: Path, tmp_path: Path) -> None:
        manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
        manifest["config"]["model"]["no_longer_known"] = 1
        (tmp_path / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
        source = find_source(tmp_path)
        assert source.loaded is None
        assert any("another version (model.no_longer_known" in m.why for m in source.missing)
