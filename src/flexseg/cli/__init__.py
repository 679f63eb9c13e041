"""The command line: one thin function per command.

Heavy modules are imported inside the commands, so that `flexseg --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from flexseg.cli import app
from flexseg.cli.terminal import in_lines, write_out_unknown_letters
from flexseg.errors import FlexsegError, one_line
from flexseg.machine import process_age
from flexseg.outputs import final_place
from flexseg.storage.urls import with_urls

# The order of these imports is that of the commands and of their groups in `flexseg --help`.
# isort: split
from flexseg.cli import stats  # noqa: F401

# isort: split
from flexseg.cli import check  # noqa: F401

# isort: split
from flexseg.cli import derive  # noqa: F401

# isort: split
from flexseg.cli import split  # noqa: F401

# isort: split
from flexseg.cli import augment  # noqa: F401

# isort: split
from flexseg.cli import tools  # noqa: F401

# isort: split
from flexseg.cli import plan  # noqa: F401

# isort: split
from flexseg.cli import init  # noqa: F401

# isort: split
from flexseg.cli import train  # noqa: F401

# isort: split
from flexseg.cli import crossval  # noqa: F401

# isort: split
from flexseg.cli import tune  # noqa: F401

# isort: split
from flexseg.cli import learn  # noqa: F401

# isort: split
from flexseg.cli import infer  # noqa: F401

# isort: split
from flexseg.cli import tiled_infer  # noqa: F401

# isort: split
from flexseg.cli import infer3d  # noqa: F401

# isort: split
from flexseg.cli import tune_postprocessing  # noqa: F401

# isort: split
from flexseg.cli import quantize  # noqa: F401

# isort: split
from flexseg.cli import evaluate  # noqa: F401

# isort: split
from flexseg.cli import report  # noqa: F401

# isort: split
from flexseg.cli import compare  # noqa: F401

# isort: split
from flexseg.cli import runs  # noqa: F401

# isort: split
from flexseg.cli import advise  # noqa: F401

# isort: split
from flexseg.cli import review  # noqa: F401

# isort: split
from flexseg.cli import inspect  # noqa: F401

# isort: split
from flexseg.cli import ensemble  # noqa: F401

# isort: split
from flexseg.cli import rename  # noqa: F401

# isort: split
from flexseg.cli import import_weights  # noqa: F401

# isort: split
from flexseg.cli import export  # noqa: F401

# isort: split
from flexseg.cli import export_weights  # noqa: F401

# isort: split
from flexseg.cli import serve  # noqa: F401

# isort: split
from flexseg.cli import serve_admin  # noqa: F401

# isort: split
from flexseg.cli import demo  # noqa: F401

# isort: split
from flexseg.cli import doctor  # noqa: F401

# isort: split
from flexseg.cli import schema  # noqa: F401

# isort: split
from flexseg.cli import list as list


def main(arguments: Sequence[str] | None = None) -> Any:
    """Entry point: runs a command, prints errors without a traceback, sets the exit code."""
    app.state.began = time.monotonic() - (process_age() if arguments is None else 0.0)
    app.state.arguments = sys.argv[1:] if arguments is None else [*arguments]
    write_out_unknown_letters()
    if arguments is None and "#" in sys.argv:
        # zsh (macOS) and cmd.exe hand on the comment of a line copied from the documentation.
        del sys.argv[sys.argv.index("#") :]
    try:
        given = None if arguments is None else [*arguments]
        app.app(args=given, standalone_mode=True, prog_name="flexseg")
    except FlexsegError as error:
        if app.state.debug:
            app.errors.print_exception()
        where, problem, fix = map(with_urls, (error.where or "", error.problem, error.fix))
        place = f"[bold]{escape(one_line(where))}[/]\n" if where else ""
        problem = in_lines(app.errors, problem, 0 if place else len("Error: "))
        fix = in_lines(app.errors, fix, len("Fix: "))
        app.errors.print(
            f"[bold red]Error:[/] {place}{escape(problem)}\n[bold]Fix:[/] {escape(fix)}",
            soft_wrap=True,
        )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        app.errors.print("Interrupted.")
        sys.exit(130)
    except OSError as error:
        if app.state.debug:
            app.errors.print_exception()
        failed = final_place(Path(os.fsdecode(error.filename))) if error.filename else ""
        app.errors.print(
            f"[bold red]Error:[/] {escape(one_line(str(failed)))}\n"
            f"{escape(error.strerror or str(error))}.\n[bold]Fix:[/] "
            + in_lines(
                app.errors,
                "Check the path, its permissions, the free space, and whether another program has "
                "it open.",
                len("Fix: "),
            ),
            soft_wrap=True,
        )
        sys.exit(4)
    except Exception as error:
        if app.state.debug:
            app.errors.print_exception()
        from flexseg.cli.bug_report import write_bug_report

        file = write_bug_report(error)
        report = "run again with `flexseg --debug ...` and report what it prints, together with "
        kept = f"report it together with {file}, which has the command, the traceback and "
        fix = (
            f"This should not happen: {report if file is None else kept}what `flexseg doctor` says "
            "of this machine."
        )
        app.errors.print(
            f"[bold red]Error:[/] {escape(f'{type(error).__name__}: {error}')}\n[bold]Fix:[/] "
            f"{escape(in_lines(app.errors, fix, len('Fix: ')))}",
            soft_wrap=True,
        )
        sys.exit(1)
