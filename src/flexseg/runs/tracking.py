"""Runs in MLflow: parameters, metrics of every epoch, and the small files of a run.

Tracking is a guest: whatever goes wrong with it becomes a warning, never the end of a training.
Images and weights are not sent anywhere, only what the run's manifest and tables say.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from flexseg.backend import Logs
from flexseg.errors import FlexsegError
from flexseg.machine import pip_install
from flexseg.outputs import write_json
from flexseg.runs.given import CASES, HISTORY, SUMMARY
from flexseg.runs.manifest import Manifest
from flexseg.storage.urls import noted_path

logger = logging.getLogger(__name__)

# Word of [train] mlflow for a store of one's own beside the config.
LOCAL = "local"
RUN_FILE = "mlflow.json"
# Tag by which MLflow knows the run that another one is a part of.
_PARENT = "mlflow.parentRunId"
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}
# MLflow's own limits of one request and one value.
_PARAMETERS_AT_ONCE = 100
_LONGEST_VALUE = 500
# An unreachable server must not hold a training up, and nobody is told that one runs.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class WholeRun:
    """A run that has parts; `run_id` is empty where MLflow does not know it."""

    name: str
    run_id: str


class Tracker:
    """One training, or a cross-validation, in MLflow; does nothing where `[train] mlflow` is empty.

    Parameters
    ----------
    manifest : of the run, filled in by the training.
    uri : `[train] mlflow`.

    Attributes
    ----------
    name : of the run in MLflow.
    """

    def __init__(self, manifest: Manifest, uri: str) -> None:
        config = noted_path(manifest.config_file)
        self.manifest = manifest
        self.folder = manifest.folder
        self.base = config.parent
        self.uri = uri
        self.name = self.folder.name or config.stem
        self._client: Any = None
        self._run_id = ""
        self._tags: dict[str, str] = {}

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """What a training must call: one callback, or none."""
        return [_EpochLog(self)] if self.uri else []

    def as_whole(self) -> WholeRun:
        """The run for those that are parts of it, also in other processes."""
        return WholeRun(self.name, self._run_id)

    def become_part_of(self, whole: WholeRun) -> None:
        """Name the run after another one that it is a part of; MLflow shows it below that."""
        self.name = f"{whole.name}/{self.name}"
        if whole.run_id:
            self._tags = {_PARENT: whole.run_id}

    def start(self, *, resumed: bool | None = None) -> None:
        """Begin a run, or go on with the known one.

        Parameters
        ----------
        resumed : whether to go on; None: as the manifest says.
        """
        if not self.uri or self._client is not None:
            return
        if resumed is None:
            resumed = any(self.manifest.resumed_at.values())
        with self._warned():
            self._client = _connect(self.uri, self.base)
            known = self._known_run() if resumed else None
            if known is not None:
                self._run_id = known
                self._client.update_run(known, status="RUNNING")
                return
            created = self._client.create_run(
                self._experiment(), run_name=self.name, tags=self._tags
            )
            self._run_id = created.info.run_id
            write_json(self.folder / RUN_FILE, {"run_id": self._run_id})
            self._log_parameters()

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log the metrics of one epoch, from 0."""
        self._log_metrics(values, epoch)

    def finish(self) -> None:
        """End the run as the manifest says, with its small files."""
        if self._client is None:
            return
        files = [self.manifest.path, self.folder / HISTORY]
        self._log_files(files, None)
        with self._warned():
            status = _STATUS.get(self.manifest.status, "FAILED")
            self._client.set_terminated(self._run_id, status)
        self._client = None

    def evaluation(self, folder: Path, summary: dict[str, Any]) -> None:
        """Add the scores of an evaluation to the run that was tracked while it trained.

        Parameters
        ----------
        folder : of the evaluation's files; its name becomes the first part of the metrics'.
        summary : content of `summary.json`.
        """
        known = self._known_run() if self.uri else None
        if known is None:
            return
        with self._warned():
            self._client = _connect(self.uri, self.base)
            self._run_id = known
        self._log_metrics(_means(summary, folder.name), 0)
        self._log_files([folder / SUMMARY, folder / CASES], folder.name)
        self._client = None

    def _known_run(self) -> str | None:
        """The MLflow run of this folder, if there is one."""
        try:
            return str(json.loads((self.folder / RUN_FILE).read_text(encoding="utf-8"))["run_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _experiment(self) -> str:
        """Id of the experiment: one per folder of configs."""
        name = self.base.name or "flexseg"
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = (self.base / "mlartifacts").as_uri() if self.uri == LOCAL else None
        return str(self._client.create_experiment(name, artifact_location=place))

    def _log_parameters(self) -> None:
        from mlflow.entities import Param

        manifest = self.manifest
        config = manifest.config
        given = [name.partition(".")[::2] for name in manifest.sources]
        wanted = {(s, k) for s in ("model", "train") for k in config[s]} | set(given)
        wanted.discard(("train", "mlflow"))  # may hold a password
        values: dict[str, object] = {
            f"{s}.{k}": config[s][k] for s, k in sorted(wanted) if k in config.get(s, {})
        }
        values |= {f"data.{k}.cases": v.cases for k, v in manifest.data.items()}
        values |= {"precision": manifest.precision, "parameters": manifest.parameters}
        if manifest.crossval is not None:
            values["crossval.folds"] = manifest.crossval.folds
        values |= {f"versions.{k}": v for k, v in manifest.versions.items()}
        params = [Param(k, str(v)[:_LONGEST_VALUE]) for k, v in values.items()]
        for start in range(0, len(params), _PARAMETERS_AT_ONCE):
            part = params[start : start + _PARAMETERS_AT_ONCE]
            self._client.log_batch(self._run_id, params=part)

    def _log_metrics(self, values: dict[str, float], step: int) -> None:
        if self._client is None:
            return
        with self._warned():
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            metrics = [Metric(k, v, now, step) for k, v in values.items() if math.isfinite(v)]
            self._client.log_batch(self._run_id, metrics=metrics)

    def _log_files(self, files: list[Path], folder: str | None) -> None:
        for file in files:
            if self._client is not None and file.is_file():
                with self._warned():
                    self._client.log_artifact(self._run_id, str(file), folder)

    @contextmanager
    def _warned(self) -> Iterator[None]:
        """After the first failure nothing is tracked any more, and the training goes on."""
        try:
            yield
        except FlexsegError as error:
            self._client = None
            logger.warning("%s", error)
        except Exception as error:
            self._client = None
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            logger.warning(
                "[train] mlflow: tracking has stopped, but the training goes on (%s).", reason[0]
            )


class _EpochLog(keras.callbacks.Callback):
    """Passes on what Keras measures."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.tracker.start()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.tracker.epoch(epoch, {key: float(value) for key, value in (logs or {}).items()})


def _connect(uri: str, base: Path) -> Any:
    """A client of the store that a URI names; `LOCAL`: an SQLite file in `base`."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    client = _client_class()
    uri = f"sqlite:///{(base / 'mlflow.db').as_posix()}" if uri == LOCAL else uri
    file = uri.removeprefix("sqlite:///")
    if file != uri and not os.access(Path(file).parent, os.W_OK):
        # MLflow itself would try again and again for minutes.
        raise OSError(f"{Path(file).parent} is not a folder that can be written to")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return client(tracking_uri=uri)


def _client_class() -> Callable[..., Any]:
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise FlexsegError(
            f"MLflow cannot track the run: {error}.",
            f"Install it: {pip_install('mlflow')}, or set train.mlflow to ''.",
            "[train] mlflow",
        ) from None
    return MlflowClient


def _means(summary: dict[str, Any], prefix: str) -> dict[str, float]:
    """The means of an evaluation by name, those of classes below them."""
    parts = {"macro": summary.get("macro", {})}
    parts |= {f"class_{c['id']}": c for c in summary.get("classes", ())}
    return {
        f"{prefix}.{metric}.{name}": float(entry["mean"])
        for name, part in parts.items()
        for metric, entry in part.items()
        if isinstance(entry, dict) and entry.get("mean") is not None
    }
