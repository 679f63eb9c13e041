"""The section [train]: training, its schedule and its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_serializer, model_validator

from flexseg.config.base import (
    InputPath,
    Names,
    OutputPath,
    Positive,
    Probability,
    RunFolder,
    Section,
)


class TrainConfig(Section):
    """Training, its data and its files."""

    images_dir: InputPath = Field(None, description="Images to train on.")
    masks_dir: InputPath = Field(None, description="Their masks.")
    ignore_dir: InputPath = Field(
        None, description="Masks of what is ignored in its images, see `[dataset] ignore_dir`."
    )
    roi_dir: InputPath = Field(
        None, description="Masks of what counts in its images, see `[dataset] roi_dir`."
    )
    start_from: InputPath = Field(
        None,
        description="Start from the weights of an earlier network: a model package, or the "
        "folder or config of a run. Classes, channels and size may differ.",
    )
    run_dir: RunFolder = Field(Path(), description="Folder to which all outputs are relative.")
    model_dir: OutputPath = Field(
        Path("models"), description="Folder for weights, checkpoint and a copy of the config."
    )
    eval_dir: OutputPath = Field(
        Path("eval"), description="Folder for the curves of losses and metrics."
    )
    epochs: int = Field(100, gt=0, description="Maximum number of epochs.")
    minutes: float = Field(
        0,
        ge=0,
        description="Time for the training in minutes, including validation and saving; `epochs` "
        "is then ignored, and `schedule` follows the clock. 0: no limit.",
    )
    epoch_steps: int = Field(
        0,
        ge=0,
        description="Steps per epoch; an epoch continues through the cases where the last one "
        "ended. 0: an epoch shows each case once, or has `steps_per_epoch` with `generator`.",
    )
    oversample: Probability = Field(
        0.0,
        description="Share of the samples drawn by class, every class equally often, so that "
        "rare ones are learned.",
    )
    schedule: Literal["constant", "polynomial", "cosine"] = Field(
        "constant",
        description="Learning rate over the whole training: constant (with the reducer), or "
        "falling to 0 at its end as (1 - share)^0.9 or as a cosine (without the reducer).",
    )
    warmup: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the training (or of each of its cycles) in which the learning rate "
        "rises.",
    )
    snapshots: Positive = Field(
        1,
        description="Cycles of the `schedule`. Above 1 the weights at the end of each are saved, "
        "and evaluation and inference then average their predictions as an ensemble; `patience` "
        "is not used.",
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Validate and keep a moving average of the weights with this decay per step, "
        "e.g. 0.99; 0: the weights themselves.",
    )
    batch_size: Positive | Literal["auto"] = Field(
        4,
        description="Images per step; 'auto': as many as fit into memory, but at most 5 % of the "
        "cases, and on a CPU at most 8; halved whenever memory runs out.",
    )
    steps_per_epoch: int = Field(400, gt=0, description="Steps per epoch with `generator`.")
    patience: int = Field(
        10, description="Stop after so many epochs without a better val_loss; <= 0: never."
    )
    metrics: Names = Field([], description="The two metrics in train_metrics.csv.")
    learning_rate_reducer: bool = Field(True, description="Lower the learning rate on a plateau.")
    reducer_factor: float = Field(0.4, gt=0, lt=1, description="Factor on the learning rate.")
    reducer_patience: int = Field(
        4, gt=0, description="Epochs without a better val_loss before it is lowered."
    )
    best_model_file: str = Field("best_model.h5", description="File name of the best weights.")
    epoch_change_infer: bool = Field(True, description="Predict a few images after each epoch.")
    epoch_change_infer_dir: OutputPath = Field(
        Path("epoch_change_infer"), description="Folder for these predictions."
    )
    epoch_change_tiled_infer: bool = Field(False, description="The same with tiled inference.")
    epoch_change_tiled_infer_dir: OutputPath = Field(
        Path("epoch_change_tiled_infer"), description="Folder for the tiled predictions."
    )
    num_infer_images: int = Field(
        6, ge=0, description="Number of images predicted after each epoch."
    )
    shuffle: bool = Field(True, description="Use a new random order in each epoch.")
    seed: int = Field(137, ge=0, description="Seed of weights, dropout, data order and splits.")
    deterministic: bool = Field(
        False, description="Make results reproducible bit for bit; somewhat slower."
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Arithmetic; 'auto': bfloat16 where the device supports it."
    )
    checkpoint_minutes: float = Field(
        10.0, gt=0, description="Minutes after which the state is also saved within an epoch."
    )
    deep_supervision: bool | Literal["auto"] = Field(
        "auto",
        description="Deep supervision: losses at several resolutions of the decoder; 'auto': "
        "where the network is made for it (ResEncUNet, UNetPlusPlus).",
    )
    tensorboard: bool = Field(False, description="Write TensorBoard logs to eval_dir.")
    mlflow: str = Field(
        "",
        description="Track the run in MLflow: 'local' for mlflow.db next to the config, or the "
        "URI of a store or server; empty: no tracking.",
    )

    @model_validator(mode="after")
    def _cycles_end(self) -> TrainConfig:
        if self.snapshots > 1 and self.schedule == "constant":
            raise ValueError(
                f"snapshots = {self.snapshots} needs a learning rate that falls in cycles: set "
                "schedule = 'cosine'"
            )
        return self

    @field_serializer("mlflow", when_used="json")
    def _without_password(self, uri: str) -> str:
        # Manifests and reports are handed on; the user's part of a URI may hold a password.
        return re.sub(r"//[^/@]*@", "//***@", uri)
