"""The section [train]: training, its schedule and its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_serializer, model_validator

from flexseg.config.base import (
    InputPath,
    Names,
    OutputPath,
    PathRole,
    Positive,
    Probability,
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
        description="Begin with the weights of an earlier network: a model package, or the folder "
        "or config of a run. Classes, channels and size may differ.",
    )
    run_dir: Annotated[Path, PathRole("input")] = Field(
        Path(), description="Folder that all outputs are relative to."
    )
    model_dir: OutputPath = Field(Path("models"), description="Weights, checkpoint, config copy.")
    eval_dir: OutputPath = Field(Path("eval"), description="Curves of losses and metrics.")
    epochs: int = Field(100, gt=0, description="Epochs at most.")
    minutes: float = Field(
        0,
        ge=0,
        description="Time for the training in minutes, validation and saving included; `epochs` "
        "then does not count, and `schedule` follows the clock. 0: no limit.",
    )
    epoch_steps: int = Field(
        0,
        ge=0,
        description="Steps per epoch, which goes on through the cases where the last one ended; "
        "0: an epoch shows each case once, with `generator` it has `steps_per_epoch`.",
    )
    oversample: Probability = Field(
        0.0,
        description="Share of the samples that are drawn by class, every class equally often, so "
        "that rare ones are learned.",
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
        description="Share of the training (of each cycle of it) in which the learning rate rises.",
    )
    snapshots: Positive = Field(
        1,
        description="Cycles of the `schedule`. Above 1 the weights at the end of each are saved, "
        "and averaged as the ensemble that evaluation and inference then use; no `patience`.",
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
        description="Images per step; 'auto': the most that fit into memory, of 5 % of the cases, "
        "on a CPU of 8; half of it whenever memory runs out.",
    )
    steps_per_epoch: int = Field(400, gt=0, description="Steps per epoch with `generator`.")
    patience: int = Field(10, description="Epochs without better val_loss to stop; <= 0: never.")
    metrics: Names = Field([], description="The two columns of train_metrics.csv.")
    learning_rate_reducer: bool = Field(True, description="Lower the rate on a plateau.")
    reducer_factor: float = Field(0.4, gt=0, lt=1, description="Factor on the learning rate.")
    reducer_patience: int = Field(4, gt=0, description="Epochs without better val_loss before.")
    best_model_file: str = Field("best_model.h5", description="File name of the best weights.")
    epoch_change_infer: bool = Field(True, description="Predict a few images after each epoch.")
    epoch_change_infer_dir: OutputPath = Field(
        Path("epoch_change_infer"), description="Folder of these predictions."
    )
    epoch_change_tiled_infer: bool = Field(False, description="The same by tiles.")
    epoch_change_tiled_infer_dir: OutputPath = Field(
        Path("epoch_change_tiled_infer"), description="Folder of the tiled predictions."
    )
    num_infer_images: int = Field(6, ge=0, description="How many images after each epoch.")
    shuffle: bool = Field(True, description="New random order in each epoch.")
    seed: int = Field(137, ge=0, description="Seed of weights, dropout, data order and splits.")
    deterministic: bool = Field(False, description="Same result bit for bit, somewhat slower.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Arithmetic; 'auto' takes bfloat16 where the device computes in it."
    )
    checkpoint_minutes: float = Field(
        10.0, gt=0, description="Save the state within an epoch at this interval."
    )
    deep_supervision: bool | Literal["auto"] = Field(
        "auto",
        description="Losses at several resolutions of the decoder; 'auto' where the network is "
        "made for it (ResEncUNet, UNetPlusPlus).",
    )
    tensorboard: bool = Field(False, description="Write TensorBoard logs into eval_dir.")
    mlflow: str = Field(
        "",
        description="Track the run in MLflow: 'local' for mlflow.db next to the config, or the "
        "URI of a store or server; empty: not.",
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
