"""The report as a file: complete, self-contained, honest about what is missing."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flexseg.checking.audit import audit
from flexseg.cli import main
from flexseg.cli import report as report_command  # noqa: F401 - registers the command
from flexseg.config import load
from flexseg.evaluation.case_scores import write_evaluation
from flexseg.report.html import write_report
from flexseg.report.sources import find_source
from sample_run import score_masks, write_sample_evaluation, write_sample_run


class Page(HTMLParser):
    """Ids, links, tags and text of a page; refuses tags that do not close."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.stack: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [v for k, v in attrs if k == "id" and v]
        self.links += [v for k, v in values.items() if k in ("href", "src", "xlink:href") and v]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    source = find_source(run)
    assert source.loaded is not None
    html, _, _ = write_report(source, audit=audit(source.loaded).as_dict())
    return Page(html.read_text(encoding="utf-8"))


class TestPage:
    def test_every_part_is_there(self, page: Page) -> None:
        sections = ["cases", "scores", "all", "failures", "errors", "next", "card", "data"]
        sections += ["training", "config"]
        assert [name for name in page.ids if name in sections] == sections
        assert "missing" not in page.ids

    def test_it_needs_nothing_from_outside(self, page: Page) -> None:
        assert all(link.startswith(("#", "data:")) for link in page.links)
        inside = {link[1:] for link in page.links if link.startswith("#")}
        assert inside <= set(page.ids)

    def test_ids_are_unique(self, page: Page) -> None:
        assert len(set(page.ids)) == len(page.ids)

    def test_names_of_the_user_are_text(self, page: Page) -> None:
        assert "disc <round>" in page.text

    def test_what_a_reader_must_know(self, page: Page) -> None:
        for part in (
            "On 12 cases, the mean Dice of 2 classes is",
            "A class was missed altogether once. A class was marked once where it is absent.",
            "found (by an IoU of 0.5 or more, small ones by their centres)",
            "not a medical device",
            "Tested on few independent groups, by class: disc <round> (12), square (11).",
            "disc <round> is missed altogether in 1 of 12 cases",
            "Its probabilities are off by 6% on average",
            "nothing predicted;",
            "Each image counts as a patient of its own",
        ):
            assert part in page.text, part

    def test_no_empty_values_leak(self, page: Page) -> None:
        assert not re.search(r"\b(None|nan|undefined)\b", page.text)


class TestFiles:
    def test_twin_and_earlier_ones(self, tmp_path: Path) -> None:
        run = write_sample_run(tmp_path)
        html, data, _ = write_report(find_source(run))
        assert (html, data) == (run / "report.html", run / "report.json")
        first = html.read_bytes()
        content = json.loads(data.read_text(encoding="utf-8"))
        assert content["evaluation"]["cases"] == 12
        assert content["training"]["best_epoch"] == 10
        assert content["epoch_changes"][0]["image"] == "test_03"
        assert [row["split"] for row in content["data"]] == ["train", "valid", "test"]
        assert content["missing"] == []
        write_report(find_source(run))
        (backup,) = run.glob("report.html_*_bak")
        assert backup.read_bytes() == first

    def test_where_auto_has_put_its_report(self, tmp_path: Path) -> None:
        """A report of `auto` lies beside the folder of the run; there is no second one."""
        run = write_sample_run(tmp_path)
        (tmp_path / "report.html").write_text("<!doctype html>", encoding="utf-8")
        html, data, _ = write_report(find_source(run))
        assert (html, data) == (tmp_path / "report.html", tmp_path / "report.json")
        assert not (run / "report.html").exists()

    def test_data_that_changed_are_said(self, tmp_path: Path) -> None:
        run = write_sample_run(tmp_path)
        source = find_source(run)
        assert source.loaded is not None
        for kind in ("images", "masks"):
            (tmp_path / "data" / "train" / kind / "train_00.png").unlink()
        _, _, content = write_report(source, audit=audit(source.loaded).as_dict())
        assert [(d.cases, d.sizes) for d in content.data[:2]] == [(8, ""), (4, "48 x 40")]
        assert ("there were 8 cases, but now there are 7") in [m.why for m in content.missing]

    def test_evaluation_alone(self, tmp_path: Path) -> None:
        html, _, content = write_report(find_source(write_sample_evaluation(tmp_path)))
        page = Page(html.read_text(encoding="utf-8"))
        assert content.training is None
        assert "training" not in page.ids
        assert "Masks of unknown origin" in page.text
        assert "Not in this report" in page.text

    def test_training_alone(self, tmp_path: Path) -> None:
        run = write_sample_run(tmp_path)
        for path in (run / "evaluation").glob("*.*"):
            path.unlink()
        html, _, content = write_report(find_source(run))
        assert "has not been evaluated" in content.headline
        assert any("flexseg evaluate" in m.what for m in content.missing)
        assert "training" in Page(html.read_text(encoding="utf-8")).ids

    @pytest.mark.parametrize("name", ["covid-19", "mri-brain-tumor-t2", "spleen"])
    def test_published_predictions(self, shared: Path, tmp_path: Path, name: str) -> None:
        config = shared / "configs" / f"{name}.config"
        folder = shared / "data" / "mini_test" / name
        scores, _ = score_masks(
            folder / "published_output", folder / "masks", load(config).experiment
        )
        write_evaluation(scores, tmp_path / "scored", 50)
        source = find_source(tmp_path / "scored", config, folder / "images")
        html, _, content = write_report(source)
        assert html.stat().st_size < 6_000_000
        assert content.shown_cases
        assert not any("pictures" in m.what for m in content.missing)
        Page(html.read_text(encoding="utf-8"))


class TestCommand:
    @staticmethod
    def _run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as caught:
            main(["report", *map(str, arguments)])
        return int(caught.value.code or 0)

    def test_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = write_sample_run(tmp_path)
        assert self._run(run, "--json", "-o", tmp_path / "out" / "x.html") == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed == json.loads((tmp_path / "out" / "x.json").read_text(encoding="utf-8"))
        assert printed["audited"] is True
        assert printed["data"][0]["sizes"] == "48 x 40"

    def test_without_audit(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert self._run(write_sample_run(tmp_path), "--no-audit") == 0
        assert "Written:" in capsys.readouterr().out
        data = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
        assert data["audited"] is False
        assert [f["what"] for f in data["findings"]] == ["Only 8 <cases> to train on."]

    def test_errors(self, tmp_path: Path) -> None:
        assert self._run(tmp_path) == 2
        assert self._run(tmp_path / "absent") == 2
        assert self._run(tmp_path, "-o", tmp_path / "report.pdf") == 2
        assert self._run(tmp_path, "-o", tmp_path) == 2


def test_advice_is_a_paragraph_with_its_picture(run: Path, tmp_path: Path) -> None:
    folder = run / "advice"
    folder.mkdir()
    try:
        sentences = ["40 more cases would bring +0.003.", "More <time> brings +0.010."]
        (folder / "advice.json").write_text(json.dumps({"sentences": sentences}), encoding="utf-8")
        (folder / "learning_curve.png").write_bytes(b"\x89PNG picture")
        html, data, _ = write_report(find_source(run), tmp_path / "a.html")
        page = Page(html.read_text(encoding="utf-8"))
        assert "advice" in page.ids and " ".join(sentences) in page.text
        assert any(link.startswith("data:image/png;base64,iVBORyBwaWN0") for link in page.links)
        assert json.loads(data.read_text(encoding="utf-8"))["advice"] == sentences
        (folder / "advice.json").write_text("{", encoding="utf-8")
        damaged, _, report = write_report(find_source(run), tmp_path / "b.html")
        assert report.advice == [] and "advice" not in Page(damaged.read_text("utf-8")).ids
        assert any("more cases or time" in one.what for one in report.missing)
    finally:
        shutil.rmtree(folder)
