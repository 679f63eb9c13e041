"""What names of files and classes may do to a terminal: nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from rich.logging import RichHandler
from rich.progress import Progress

from flexseg.cli.tables import Table, texts
from flexseg.cli.terminal import Terminal, visible
from support import flexseg

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202etxt.\udcff"
SHOWN = "a\\x1b[31mred\\x1b]0;title\\x07\\x9b2J\\u202etxt.\\udcff"


def test_texts_are_made_visible() -> None:
    assert visible(HOSTILE) == SHOWN
    for harmless in ("größe 腫瘍", "a\tb\nc", "🫀", ""):
        assert visible(harmless) == harmless


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
