"""The command that augments on the disk, and shows what augmentation does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    ConfigArgument,
    SetOption,
    StrictOption,
    progress,
    read_config,
    say,
    tell_failed,
)
from flexseg.cli.command import Task, long_command
from flexseg.cli.sharing import RayOption, SharingOption, shared
from flexseg.errors import ConfigError, DataError, Interrupted
from flexseg.events import emit

if TYPE_CHECKING:
    from flexseg.augment.offline import Multiplied
    from flexseg.augment.tool_config import ToolConfig
    from flexseg.config import LoadedConfig

_PNG = ("png", ".png")


@long_command(Task.LOOK)
def augment(
    config: ConfigArgument,
    overrides: SetOption = None,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Only draw what each transform does to a few image/mask pairs."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the new dataset (default: augmented/ in \\[train] run_dir), or for "
            "the preview (default: run_dir).",
        ),
    ] = None,
    copies: Annotated[
        int | None,
        typer.Option(min=1, help="Augmented copies of each training image, 5 by default."),
    ] = None,
    cases: Annotated[
        int | None, typer.Option(min=1, help="Number of pairs in the preview, 3 by default.")
    ] = None,
    strict: StrictOption = False,
    workers: SharingOption = None,
    ray: RayOption = None,
) -> None:
    """Write augmented copies of a dataset's training images, or preview the augmentation.

    Validation and test images are copied as they are. After an interruption, run the same command
    again to continue. Configs of the original systems' offline tools work as well: they name
    folders in the section of their transform.
    """
    from flexseg.augment.tool_config import read_tool

    if preview and copies is not None:
        raise ConfigError(
            "--copies has no effect on --preview.", "Leave one of the two out.", "--copies"
        )
    if cases is not None and not preview:
        raise ConfigError("--cases counts pairs of the preview.", "Add --preview.", "--cases")
    shares = workers is not None or ray is not None
    if preview and shares:
        raise ConfigError("A preview is not shared.", "Leave --workers and --ray out.", "--preview")
    if (tool := read_tool(config, overrides or ())) is not None:
        if shares:
            raise ConfigError(
                "The work of the original systems' tools is not shared.",
                "Leave --workers and --ray out.",
                str(config),
            )
        if preview or copies is not None:
            raise ConfigError(
                "Configs of the original systems' tools support neither a preview nor copies.",
                "Leave --preview and --copies out.",
                str(config),
            )
        _run_tool(tool, output)
        return
    loaded = read_config(config, overrides, strict)
    e = loaded.experiment
    run_dir = e.train.run_dir
    if preview:
        from flexseg.augment.policy import policy_of
        from flexseg.augment.preview import draw_preview

        sheet = draw_preview(loaded, output or run_dir, **({"cases": cases} if cases else {}))
        say(f"Written: {sheet.path}")
        if policy_of(e.augmentation, e.trained_variants) is None:
            say(
                "The preview shows what `flexseg augment` would write. A training with this "
                "config does not augment: for that, set [augmentation] enabled, or [model] "
                "generator."
            )
        tell_failed(sheet.failed)
        return
    from flexseg.augment.offline import multiply

    folder = output or run_dir / "augmented"
    try:
        with shared(workers, ray), progress("Augmenting") as on_case:
            result = multiply(loaded, folder, copies=copies, on_case=on_case)
    except KeyboardInterrupt:
        raise Interrupted(
            "The dataset is not complete.", "Run the same command again to continue.", str(folder)
        ) from None
    emit("result", folder=result.output, cases=result.cases, pairs=result.pairs)
    _report(loaded, result)
    tell_failed(result.failed)


def _run_tool(tool: ToolConfig, output: Path | None) -> None:
    """Do what a config of the originals' offline tools says."""
    from flexseg.augment.tools import run_tool
    from flexseg.config.findings import amount, examples

    if output is not None and len(tool.jobs) > 1:
        sections = " and ".join(f"[{job.section}]" for job in tool.jobs)
        raise ConfigError(
            f"{sections} each write a folder of their own, so one output folder is not enough.",
            "Leave --output out: the config names the folders.",
            "--output",
        )
    for finding in tool.findings:
        say(str(finding))
    failed: list[DataError] = []
    written: dict[str, int] = {}
    for job in tool.jobs:
        with progress(f"[{job.section}]") as on_image:
            result = run_tool(job, output or job.output, on_image)
        say(
            f"[{job.section}]: {amount(result.images, 'image')} -> "
            f"{amount(result.written, 'file')}: {result.output}"
        )
        if result.left_out:
            say(f"  left out, as they have no partner: {examples(result.left_out)}")
        written[job.section] = result.written
        failed += result.failed
    emit("result", files=written)
    tell_failed(failed)


def _report(loaded: LoadedConfig, result: Multiplied) -> None:
    from flexseg.config.findings import amount

    plan = result.plan
    if result.resumed == sum(result.cases.values()):
        say("The folder already holds this dataset; there was nothing left to do.")
    elif result.resumed:
        say(f"Continued an interrupted run after {amount(result.resumed, 'case')}.")
    if result.set_aside is not None:
        say(f"The folder's earlier content was moved to {result.set_aside}")
    made = amount(len(plan.variants), "variant") if plan.variants else amount(plan.copies, "draw")
    for split, count in result.cases.items():
        what = f"original + {made} each" if split == "train" else "copied as they are"
        say(f"{split}: {count} -> {amount(result.pairs[split], 'pair')} ({what})")
    if result.arrays:
        say(
            f"{amount(result.arrays, 'image', 'is a .npy file', 'are .npy files')}: a PNG cannot "
            "hold their values or channels."
        )
    say(f"Written: {result.output}\n\nTo train on it, write in a config:\n")
    for line in _settings(loaded, result):
        say(f"  {line}")


def _settings(loaded: LoadedConfig, result: Multiplied) -> list[str]:
    """What a config must say to train on the dataset, in the syntax of the given one."""
    e = loaded.experiment
    off = "False" if loaded.legacy else "false"
    lines = []
    if e.dataset.images_dir is not None:
        given = [key for key in ("images_dir", "masks_dir", "split_file")
                 if getattr(e.dataset, key) is not None]  # fmt: skip
        lines.append(f"# remove from [dataset]: {', '.join(given)}")
    for split in result.cases:
        folder = (result.output / split).as_posix()
        lines += [
            f"[{split}]",
            f'images_dir = "{folder}/images"',
            f'masks_dir  = "{folder}/masks"',
        ]
    if e.image.file_format.lower() not in ("auto", *([] if result.arrays else _PNG)):
        lines += ["[image]", 'file_format = "auto"']
    if e.mask.mask_file_format.lower() not in ("auto", *_PNG):
        lines += ["[mask]", 'mask_file_format = "auto"']
    if e.augmentation.enabled:
        lines += ["[augmentation]", f"enabled = {off}"]
    if e.model.generator and e.generator.augmentation:
        lines += ["[generator]", f"augmentation = {off}"]
    return lines
