"""What names of files and classes may do to a terminal: nothing."""

from __future__ import annotations

import copy
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress

from flexseg.cli.tables import Table, texts
from flexseg.cli.terminal import LogFormatter, OnceOfData, Terminal, in_lines, visible
from flexseg.config.findings import Finding, Severity, examples
from flexseg.dataset.parallel import together
from flexseg.errors import DataError
from support import CONFIG, flexseg

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202etxt.\udcff"
SHOWN = "a\\x1b[31mred\\x1b]0;title\\x07\\x9b2J\\u202etxt.\\udcff"


def test_texts_are_made_visible() -> None:
    assert visible(HOSTILE) == SHOWN
    for harmless in ("größe 腫瘍", "a\tb\nc", "🫀", ""):
        assert visible(harmless) == harmless


def test_lines_end_between_words_and_commands() -> None:
    """A terminal would break them anywhere; what is longer than a line it has to."""
    terminal, file = Console(width=20, force_terminal=True), Console(width=20, file=io.StringIO())
    text = "No such folder as /data/of/a/very/long/name.\n  Type `flexseg init a -o b` first."
    lines = in_lines(terminal, text, begun=7).split("\n")
    assert lines == [
        "No such",  # 7 + 7, and "folder" would need 7 more
        "folder as",
        "/data/of/a/very/long/name.",
        "  Type",
        "`flexseg init a -o b`",
        "first.",
    ]
    assert in_lines(file, text) == text
    assert in_lines(terminal, "腫瘍 " * 5) == "腫瘍 腫瘍 腫瘍 腫瘍\n腫瘍"  # two columns each


def test_data_are_told_once() -> None:
    def records(logger: str, *texts: str) -> list[logging.LogRecord]:
        return [logging.LogRecord(logger, logging.INFO, "", 0, "%s", (t,), None) for t in texts]

    of_data = records("flexseg.dataset.division.splits", "a", "b", "a")
    others = records("flexseg.training", "a", "a")
    once = OnceOfData()
    assert [once.filter(record) for record in of_data + others] == [True, True, False, True, True]


def test_names_take_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, shown = "a\nb\u2028c", "a\\nb\\u2028c"
    error = DataError(f"{name} and {name} are alike.", f"Remove {name}.", name)
    assert str(error) == f"{shown}: {shown} and {shown} are alike. Remove {shown}."
    assert error.as_dict()["where"] == name
    assert str(copy.copy(error)) == str(error)
    several = together([error, error], stopped=False)
    listed = f"{shown}: {shown} and {shown} are alike."
    assert str(several) == f"2 files are wrong:\n{listed}\n{listed} Remove {shown}."
    assert str(copy.copy(several)) == str(several)
    assert examples([name, name]) == f"{shown}, {shown}"
    finding = Finding(Severity.NOTE, "data", "equal", name, f"{name} occurs twice.")
    assert str(finding) == f"note: {shown}: {shown} occurs twice."
    console = Terminal()
    table = Table(texts("class"))
    table.add(name)
    table.print(console)
    record = logging.LogRecord("a", logging.WARNING, "", 0, "%s: %s", (Path(name), name), None)
    handler = RichHandler(console=console, markup=False, show_time=False, show_path=False)
    handler.setFormatter(LogFormatter())
    handler.emit(record)
    out = capsys.readouterr().out
    assert f"{shown}: {shown}" in out
    assert "\nb" not in out
    assert flexseg("check", tmp_path / f"{name}.toml") == 2
    assert f"{shown}.toml" in capsys.readouterr().err


def test_all_ways_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Terminal()
    console.width = 200
    console.print(HOSTILE, markup=False)
    table = Table(texts("class"))
    table.add(HOSTILE)
    table.print(console)
    record = logging.LogRecord("a", logging.WARNING, "", 0, "%s", (HOSTILE,), None)
    RichHandler(console=console, markup=False, show_time=False, show_path=False).emit(record)
    with Progress(console=console) as progress:
        progress.add_task(HOSTILE)
    shown = capsys.readouterr().out
    assert shown.count("\\x1b[31mred") >= 3
    assert not any(sign in shown for sign in ("\x1b[31m", "\x07", "\x9b", "\u202e", "\udcff"))
    shown.encode()


@pytest.mark.parametrize("name", ["[red]liver[/red]", "[/]", "[link=x]", ":warning:", "liver\\"])
def test_brackets_and_colons_are_no_markup(capsys: pytest.CaptureFixture[str], name: str) -> None:
    table = Table(texts("class"))
    table.add(name)
    table.print(Terminal())
    assert name in capsys.readouterr().out


def test_an_error_names_a_file_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "[bold]a\x1b[2J:warning:.toml"
    assert flexseg("check", path) == 2
    shown = capsys.readouterr().err
    assert "[bold]a\\x1b[2J:warning:.toml" in shown
    assert "\x1b[2J" not in shown


COMMANDS = {
    "check": ("check", "flexseg.toml"),
    "stats": ("stats", "データ", "-o", "stats"),
    "split": ("split", "データ", "-o", "split.json"),
    "list": ("list", "models"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_letters_that_the_output_lacks_are_written_out(
    tmp_path: Path,
    make_dataset: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    """On Windows a file or a pipe takes the letters of one language."""
    make_dataset().rename(tmp_path / "データ")
    config = CONFIG.replace("dataset/", "データ/").replace('"disc"', '"腫瘍"')
    (tmp_path / "flexseg.toml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for encoding in ("cp1252", "ascii"):
        out, err = io.BytesIO(), io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding, write_through=True))
        # As Python opens it.
        monkeypatch.setattr(
            sys, "stderr", io.TextIOWrapper(err, encoding, "backslashreplace", write_through=True)
        )
        code = flexseg(*command)
        told, warned = out.getvalue().decode(encoding), err.getvalue().decode(encoding)
        assert code == 0, told + warned
        if command[0] in ("check", "stats"):
            assert "\\u30c7\\u30fc\\u30bf" in told
