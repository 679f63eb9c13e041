"""A model of MLflow: code that runs the graph, its signature, and what it takes from PyPI."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import numpy as np

from flexseg.export.artefacts.artefact_format import RUNNERS, Artefact, ArtefactFormat
from flexseg.export.artefacts.onnx_graph import open_onnx
from flexseg.export.whole_graph import stored_channels
from flexseg.inference.model_files import EXPORT
from flexseg.model_file.export_description import ExportDescription
from flexseg.outputs import scratch_folder, write_text

MODEL = f"artifacts/{EXPORT}"
_CODE = "segmentation.py"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_REQUIREMENTS = ("mlflow>=3.1,<4", "numpy>=1.26,<3", "onnxruntime>=1.20,<2")
_FOR_STEPS = "scipy>=1.11,<2"
_USAGE = """## In MLflow

This folder is a model of MLflow's `pyfunc` flavour, from images [N, H, W, C] to labels [N, H, W],
with all steps that `run.py` takes:

```python
import mlflow, numpy as np

labels = mlflow.pyfunc.load_model(".").predict(np.load("test_input.npy"))
```

`pip install -r requirements.txt` installs what it takes, and
`mlflow models serve -m . --env-manager local` serves it."""


def _write(graph: Path, folder: Path, description: ExportDescription) -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    channels = stored_channels(description.preprocessing) or -1
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(description.pixels), (-1, -1, -1, channels))]),
        Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))]),
    )
    steps = [_FOR_STEPS] if description.postprocess.get("2d") else []
    with scratch_folder(folder) as scratch:
        made = scratch / "made"
        write_text(scratch / _CODE, _code())
        shutil.copyfile(graph, scratch / EXPORT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # for want of an example
            mlflow.pyfunc.save_model(
                made,
                python_model=str(scratch / _CODE),
                artifacts={"graph": str(scratch / EXPORT)},
                signature=signature,
                pip_requirements=[*_REQUIREMENTS, *steps],
            )
        for path in made.iterdir():
            path.rename(folder / path.name)
    model = Model.load(folder)
    # They would tell places on this machine; MLflow takes the files in the folder.
    flavour = model.flavors["python_function"]
    flavour["model_code_path"] = _CODE
    flavour["artifacts"]["graph"]["uri"] = MODEL
    model.save(folder / "MLmodel")


def _code() -> str:
    """The text of the model's code, with the steps of `run.py`."""
    run, own = (
        (RUNNERS / name).read_text(encoding="utf-8") for name in ("run.py", "with_mlflow.py")
    )
    steps = run[run.index("def cleaned(") : run.index("def main(")].rstrip()
    taken = "from flexseg.export.runners.run import cleaned\n"
    return own.replace(taken, f"\n{steps}\n")


def _open(folder: Path) -> Artefact:
    return open_onnx(folder / MODEL)


MLFLOW = ArtefactFormat(
    "onnxruntime", "mlflow,onnx", MODEL, _write, _open, maker="mlflow", usage=_USAGE
)
