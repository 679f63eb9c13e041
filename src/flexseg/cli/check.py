"""`flexseg check`: a config and its data, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    ConfigArgument,
    SetOption,
    StrictOption,
    console,
    progress,
    say_next,
    select_backend,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.sharing import RayOption, SharingOption, shared
from flexseg.errors import ConfigError
from flexseg.events import emit
from flexseg.machine import near, typed

if TYPE_CHECKING:
    from flexseg.config import LoadedConfig


@long_command(Task.LOOK)
def check(
    config: ConfigArgument,
    overrides: SetOption = None,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="Check the config only, not the data.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Show what `train --repair` would change, and check the result."
        ),
    ] = False,
    strict: StrictOption = False,
    workers: SharingOption = None,
    ray: RayOption = None,
) -> None:
    """Check a config and the data it points to, before any training.

    Exit code 0: it can run. 2: the config is wrong. 3: the data are wrong.
    """
    from flexseg.config import load
    from flexseg.runs.trained import config_file

    sharing = shared(workers, ray)
    config = config_file(config)
    if _is_tool(config, overrides or ()):
        return
    try:
        load(config, overrides or (), strict=strict)  # before Keras, which takes seconds
        select_backend(None)
        import flexseg.models  # noqa: F401 - registers the networks

        loaded = load(config, overrides or (), strict=strict)
    except ConfigError as error:
        emit("result", ok=False, **error.as_dict())
        raise
    from flexseg.checking.audit import audit
    from flexseg.cli.printing import print_check

    if repair:
        loaded = _repaired(loaded, look=not no_data)
    with sharing, progress("Checking the data") as on_case:
        report = audit(loaded, with_data=not no_data, on_case=on_case)
    emit("result", **report.as_dict())
    print_check(console, report)
    if report.exit_code == 0:
        changes = [word for one in overrides or () for word in ("--set", one)]
        say_next("train", near(config), *changes, *(["--repair"] if repair else []))
    raise typer.Exit(report.exit_code)


def _is_tool(config: Path, overrides: Sequence[str]) -> bool:
    """Check a config of the originals' offline tools; False for any other one."""
    from flexseg.augment.tool_config import read_tool
    from flexseg.augment.tools import tool_sources, tool_variants

    tool = read_tool(config, overrides)
    if tool is None:
        return False
    jobs = []
    for job in tool.jobs:
        sources, left_out = tool_sources(job)
        jobs.append(
            {
                "section": job.section,
                "images": str(job.images),
                "output": str(job.output),
                "files": len(sources),
                "files_per_image": len(tool_variants(job)) + job.originals,
                "left_out": left_out,
            }
        )
    findings = [finding.as_dict() for finding in tool.findings]
    emit("result", ok=True, tool=jobs, findings=findings)
    for finding in tool.findings:
        console.print(str(finding), markup=False)
    command = f"flexseg augment {typed(config)}"
    for entry in jobs:
        console.print(
            f"[{entry['section']}]: `{command}` makes {entry['files_per_image']} files of each "
            f"of {entry['files']} images in {entry['images']}, and writes them to "
            f"{entry['output']}; it is not a config for training.",
            markup=False,
        )
    return True


def _repaired(loaded: LoadedConfig, *, look: bool) -> LoadedConfig:
    """The config as `train --repair` would train it; prints what changes."""
    from flexseg.cli.repair import print_repair
    from flexseg.planning.repair import repair

    repaired = repair(loaded, look=look)
    print_repair(repaired)
    return repaired.loaded
