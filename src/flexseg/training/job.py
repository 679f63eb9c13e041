"""All that one training needs, resolved from a config once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flexseg.augment.policy import refuse_unscaled
from flexseg.batches.store import CaseReader
from flexseg.config.findings import Finding
from flexseg.config.legacy import family_of_network
from flexseg.config.load import LoadedConfig
from flexseg.config.model import ModelConfig
from flexseg.config.schema import DatasetConfig, ImageConfig
from flexseg.config.train import TrainConfig
from flexseg.dataset.division.splits import Splits
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.guard import require_counted, require_marks
from flexseg.files.preprocess import Preprocessing
from flexseg.losses import DICE
from flexseg.model_file.model_description import threshold
from flexseg.model_file.onnx_file import onnx_file
from flexseg.model_file.seen_images import SeenImages
from flexseg.models.build import build_model
from flexseg.models.package import ModelPackage
from flexseg.runs.given import HISTORY
from flexseg.training import checkpoint
from flexseg.training.augmenting import Augmentation
from flexseg.training.callbacks.epoch_change import WatchedFolder, watched_folders
from flexseg.training.case_dice import CaseDice, owners_of


@dataclass(frozen=True)
class TrainingJob:
    """One training, described by the sections of a config and what they mean together.

    Attributes
    ----------
    config_file : its folder is where own networks are searched.
    reader : decodes images and masks as the network wants them.
    threshold : probability above which a pixel is foreground (one class only).
    volumes : an evaluation scores volumes, whose slices the cases are.
    watched : images that are predicted after every epoch, `watched_batch` at a time.
    findings : about the config.
    """

    config_file: Path
    model: ModelConfig
    train: TrainConfig
    dataset: DatasetConfig
    image: ImageConfig
    reader: CaseReader
    threshold: float
    volumes: bool
    augmentation: Augmentation
    watched: tuple[WatchedFolder, ...]
    watched_batch: int
    findings: tuple[Finding, ...]

    @classmethod
    def from_config(cls, loaded: LoadedConfig) -> TrainingJob:
        """Resolve a config.

        Raises
        ------
        ConfigError : values of it do not fit together.
        """
        e = loaded.experiment
        labels = LabelMap.from_config(e.class_sections)
        preprocessing = Preprocessing.from_config(
            e.model, e.image, e.volume, e.dataset.resize_interpolation
        )
        multiclass = family_of_network(e.model.model, e.model.num_classes) == "multiclass"
        return cls(
            loaded.path,
            e.model,
            e.train,
            e.dataset,
            e.image,
            CaseReader(preprocessing, labels, e.mask.unknown_colors),
            threshold(e.infer.threshold),
            e.volume.images_dir is not None,
            Augmentation.from_config(
                e.augmentation, e.trained_variants, e.generator, labels, e.image.color_order
            ),
            tuple(
                watched_folders(e.train, e.infer, e.tiledinfer, flex=loaded.legacy and multiclass)
            ),
            e.eval.batch_size,
            loaded.findings,
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's images."""
        return self.model.image_height, self.model.image_width

    @property
    def ignoring(self) -> bool:
        """Some pixels may count in nothing."""
        return self.reader.labels.ignored is not None

    @property
    def weights_file(self) -> Path:
        """Where the best weights go."""
        return self.train.model_dir / self.train.best_model_file

    def files(self) -> list[tuple[str, Path]]:
        """What a training writes, each with the key of the config that names it."""
        train, model_dir = self.train, self.train.model_dir
        files = [
            ("[train] best_model_file", self.weights_file),
            ("[train] best_model_file", onnx_file(self.weights_file)),
            ("[train] model_dir", model_dir / checkpoint.FILE_NAME),
            ("[train] eval_dir", train.eval_dir / "train_losses.csv"),
            ("[train] run_dir", train.run_dir / HISTORY),
        ]
        if self.config_file.parent != model_dir:
            files.append(("[train] model_dir", model_dir / self.config_file.name))
        return files

    def folders(self) -> list[tuple[str, Path]]:
        """The folders of a training's further results, likewise."""
        train = self.train
        folders = [("[train] eval_dir", train.eval_dir)]
        if train.epoch_change_infer:
            folders.append(("[train] epoch_change_infer_dir", train.epoch_change_infer_dir))
        if train.epoch_change_tiled_infer:
            folder = train.epoch_change_tiled_infer_dir
            folders.append(("[train] epoch_change_tiled_infer_dir", folder))
        return folders

    def places(self) -> list[Path]:
        """The folders that a training has for itself."""
        writer = self.augmentation.writer
        pairs = [] if writer is None else [writer.images_dir, writer.masks_dir]
        models = [self.train.model_dir, self.weights_file.parent]
        return [self.train.run_dir, *models, *(folder for _, folder in self.folders()), *pairs]

    def package(self, splits: Splits) -> ModelPackage:
        """The network with fresh weights, which will be trained on these cases."""
        seen = ([case.image for case in splits.cases.get(s, ())] for s in ("train", "valid"))
        return ModelPackage(
            self.model,
            self.reader.labels,
            self.reader.preprocessing,
            self.threshold,
            seen=SeenImages.of(*seen),
            model=build_model(self.model, self.config_file.parent),
        )

    def check(self, splits: Splits) -> None:
        """Raise the first error that was found in the splits, and log what else was found.

        Raises
        ------
        DataError : the cases cannot be used.
        """
        splits.raise_errors()
        require_marks(splits.need("train"), self.reader.labels)
        require_counted(splits.cases.get("valid", ()), self.reader.labels)
        refuse_unscaled(self.augmentation.policy, self.image, self.size, splits.need("train"))
        splits.log()

    def case_dice(self, splits: Splits) -> CaseDice | None:
        """The metric `dice` over the validation's cases, if it is wanted and there are any."""
        cases = splits.cases.get("valid", ())
        if DICE not in self.model.metrics or not cases:
            return None
        owners, classes = owners_of(cases, volumes=self.volumes), max(1, self.model.num_classes - 1)
        return CaseDice(owners, classes, self.threshold, ignoring=self.ignoring)

    def csv_metrics(self) -> list[str]:
        """The two columns of train_metrics.csv."""
        given, names = self.train.metrics[:2], self.model.metrics
        if len(given) == 2:
            return given
        return [names[0], f"val_{names[0]}"] if names else ["loss", "val_loss"]
