"""The model card of an export, as Hugging Face reads it: YAML for programs, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

from flexseg import __version__
from flexseg.export.about import About
from flexseg.export.artefacts.artefact_format import ArtefactFormat
from flexseg.export.proof.agreement import DiceDifference
from flexseg.export.proof.parity import Parity
from flexseg.export.proof.volume_parity import VolumeParity
from flexseg.files.intensity import Intensity
from flexseg.inference.model_files import EXPORT
from flexseg.machine import size_text
from flexseg.model_file.export_description import ExportDescription


def write_card(
    about: About, description: ExportDescription, parity: Parity, form: ArtefactFormat
) -> str:
    """The text of README.md."""
    front = {
        "license": about.licence,
        "library_name": form.library,
        "pipeline_tag": "image-segmentation",
        "tags": ["image-segmentation", "medical", *form.extra.split(","), "flexseg"],
    }
    # JSON is YAML.
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items() if value is not None]
    parts = [
        "---\n" + "\n".join(lines) + "\n---",
        f"# {about.title}",
        about.headline,
        _warning(parity),
        *_sections(about),
        "## Licence\n\n"
        + (about.licence or "Not stated: ask whoever made it before you use or share it."),
        _inputs(description, form),
        form.usage,
        _slices(description),
        _proof(parity),
        f"Made by flexseg {__version__}"
        + (
            f"; `flexseg infer {form.model} -i scans -o masks` and "
            f'`flexseg.Model.load("{form.model}")` predict with it as well.'
            if PurePosixPath(form.model).name == EXPORT
            else "."
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sections(about: About) -> list[str]:
    return [
        f"## {section.title}\n\n" + "\n".join(f"- {point}" for point in section.points)
        for section in about.card
    ]


def _inputs(description: ExportDescription, form: ArtefactFormat) -> str:
    size, classes = description.preprocessing, description.labels.classes
    channels = (
        f"{size.channels}: a slice amid {size.neighbours} neighbours on each side"
        if size.neighbours
        else "1 (grey) or 3 (red, green, blue)"
        if size.channels in (1, 3)
        else str(size.channels)
    )
    scale = (
        f"values from {size.window[0]:g} to {size.window[1]:g} count, as they are stored"
        if size.window
        else {
            "uint8": "0 to 255",
            "uint16": "0 to 65535",
            "float32": "on the scale from 0 to 255",
        }[description.pixels]
    )
    rows = "\n".join(f"| {c.id} | {c.name} | {list(c.colors[0])} |" for c in classes)
    steps = description.postprocess.get("2d") or {}
    after = (
        f"\nAfter the graph, in run.py: {json.dumps(steps)} for each class (SciPy).\n"
        if steps
        else ""
    )
    names = ", ".join(description.views)
    views = f" It averages over these views: {names}." if names else ""
    views += _precision(description)
    if description.windows is not None:
        height, width = description.windows
        views += (
            f" The network sees windows of {width} x {height} pixels, which share "
            f"{description.overlap} pixels: `run.py` cuts them and averages their probabilities, "
            "and the images above are such windows."
        )
    read = (
        f"\nProbabilities are those of the network; to read them as confidence, raise them"
        f"{' and those of the background, 1 - p,' if description.labels.binary else ''} to the "
        f"power of 1 / {description.temperature:g}, and divide them by their sum.\n"
        if description.temperature != 1
        else ""
    )
    return f"""## Use

```
pip install numpy pillow {form.package}
python run.py --check
python run.py scans -o masks
```

`{form.model}` takes `images` [N, H, W, C] {description.pixels}, {scale}; N images of one
size, H and W of any, C = {channels}. It gives `labels` [N, H, W] uint8 and `probabilities`
[N, H, W, {1 if description.labels.binary else len(classes)}] float32 at that size. Resizing to
{size.width} x {size.height}, normalisation, network and resizing back are in the graph.{views}
{after}{read}
Other types of pixels take another export: `flexseg export MODEL --pixels uint16`.

| label | class | colour |
|---|---|---|
{rows}"""


def _slices(description: ExportDescription) -> str:
    """How volumes become what the graph takes; empty where the network is of other images."""
    size = description.preprocessing
    if not size.neighbours and size.intensity is None:
        return ""
    turn = f", turned clockwise by {size.rotate} degrees" if size.rotate else ""
    names = ("axial", "coronal", "sagittal")
    axis = size.axis if size.axis in names else f"along axis {size.axis} of the file"
    values = (
        f" Grey values: {Intensity.parse(size.intensity)}, as {size.bits} bits."
        if size.intensity is not None
        else ""
    )
    steps = description.postprocess.get("3d") or {}
    after = f" flexseg takes these steps after them: {json.dumps(steps)}." if steps else ""
    return f"""## Slices of volumes

The network was trained on slices, {axis}{turn}.{values} `flexseg infer model.onnx -i volume.nii.gz`
cuts volumes so, and puts the labels back into their geometry.{after} Slices that are cut already,
an array [slices, H, W] of the type above, take this program beside `run.py`:

```python
import numpy as np
from run import load

predict = load()[0]
stack = np.load("slices.npy")
places = np.arange(len(stack))[:, None] + np.arange({-size.neighbours}, {size.neighbours + 1})
stacks = stack[places.clip(0, len(stack) - 1)]
labels = [predict(np.moveaxis(one, 0, -1)[None])[0] for one in stacks]
np.save("labels.npy", np.stack(labels))
```"""


def _precision(description: ExportDescription) -> str:
    if description.precision == "float32":
        return ""
    text = f" The network computes in {description.precision}, all else in float32."
    if description.precision == "float16":
        text += (
            " CPUs mostly compute it in float32 with weights of float16, so that the proof shows "
            "little of what a GPU rounds between."
        )
    return text


def _proof(parity: Parity) -> str:
    rows = [
        ("images", f"{parity.cases} ({parity.what})"),
        ("equal labels", f"{parity.equal_labels:.4%}"),
        ("equal labels, worst image", f"{parity.least_equal_labels:.4%}"),
        ("largest difference of probabilities", f"{parity.largest_difference:.2g}"),
        *_dice(parity.dice),
    ]
    seconds, memory = parity.seconds, parity.memory
    rows.append(("seconds per image", f"{seconds['export']:.3f}, flexseg {seconds['flexseg']:.3f}"))
    if memory:
        texts = {key: size_text(value) for key, value in memory.items()}
        rows.append(("memory of a process", f"{texts['export']}, flexseg {texts['flexseg']}"))
    return (
        "## Validation: does it predict as flexseg does\n\n"
        f"Compared with `flexseg infer` ({parity.engine}) where it was made; `parity.json` has the "
        f"same.\n\n{_table(rows)}{_doubt(parity)}{_volumes(parity.volumes)}"
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "| | |\n|---|---|\n" + "\n".join(f"| {what} | {value} |" for what, value in rows)


def _dice(dice: DiceDifference | None) -> list[tuple[str, str]]:
    if dice is None:
        return []
    return [
        ("mean Dice, export - flexseg", f"{dice.difference:+.5f}{dice.ends}"),
        ("mean Dice, export and flexseg", f"{dice.export:.4f}, {dice.flexseg:.4f}"),
    ]


def _doubt(parity: Parity) -> str:
    if not parity.doubt:
        return ""
    return (
        f"\n\n**It was not compared on real cases**: {parity.doubt}. Generated images show that "
        "the steps are the same, but hardly how often labels of real images differ."
    )


def _volumes(volumes: VolumeParity | None) -> str:
    """Of whole volumes, and the Dice of each."""
    if volumes is None:
        return ""
    seconds = volumes.seconds
    rows = [
        ("volumes", f"{volumes.volumes} ({volumes.what})"),
        ("equal labels", f"{volumes.equal_labels:.4%}"),
        ("equal labels, worst volume", f"{volumes.least_equal_labels:.4%}"),
        *_dice(volumes.dice),
        ("seconds per volume", f"{seconds['export']:.2f}, flexseg {seconds['flexseg']:.2f}"),
    ]
    each = "\n".join(
        f"| {one.volume} | {_number(one.export)} | {_number(one.flexseg)} |" for one in volumes.each
    )
    return (
        "\n\nWhole volumes, predicted slice by slice by `flexseg infer3d` with the network and "
        f"with this export:\n\n{_table(rows)}\n\n"
        f"| volume | Dice of the export | Dice of flexseg |\n|---|---|---|\n{each}"
    )


def _number(dice: float | None) -> str:
    return "-" if dice is None else f"{dice:.4f}"


def _warning(parity: Parity) -> str:
    problems = parity.problems()
    if not problems:
        return ""
    return (
        "> **This export does not predict as flexseg does**, and was made all the same: "
        f"{'; '.join(problems)}."
    )
