"""The trained model of a config, or of a file alone, ready to predict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexseg.config.infer import InferConfig, PostprocessConfig
from flexseg.config.load import LoadedConfig
from flexseg.config.model import ModelConfig
from flexseg.config.network_options import with_options
from flexseg.dataset.labels import LabelMap
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.engines.opening import load_network, open_engine
from flexseg.inference.ensemble import EnsemblePredictor
from flexseg.inference.exported import open_export
from flexseg.inference.model_files import (
    is_ensemble,
    is_model,
    is_onnx,
    model_file,
    read_members,
)
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.predictor import Predictor
from flexseg.inference.trust.conformal import Trust
from flexseg.inference.tuned import TunedChoice, place_of, read_choice
from flexseg.model_file.model_description import ModelDescription, threshold

if TYPE_CHECKING:
    from flexseg.models.package import ModelPackage

logger = logging.getLogger(__name__)


def load_trained(loaded: LoadedConfig, file: Path | None = None) -> ModelPackage:
    """The trained network of a config, in the precision that the config asks for.

    Parameters
    ----------
    file : see `describe_trained`; without it what `[train] best_model_file` names.

    Raises
    ------
    DataError : there are no weights, or they are of another network.
    """
    train = loaded.experiment.train
    file = file or train.model_dir / train.best_model_file
    return load_network(describe_trained(loaded, file), file, train.precision, loaded.path.parent)


def describe_trained(loaded: LoadedConfig, file: Path) -> ModelDescription:
    """What the trained model of a config says of itself, as the config may change it.

    Parameters
    ----------
    loaded : of a model that lies by itself, see `trained_config`, the model says all.
    file : what `[train] best_model_file` names, or a member of an ensemble.

    Raises
    ------
    DataError : the file is missing or damaged.
    """
    e = loaded.experiment
    alone = is_model(loaded.path)
    found = ModelDescription.read(file, None if alone else e, loaded.path.parent, loaded.trust)
    if alone:
        return _with_threshold(found, loaded)
    labels = LabelMap.from_config(e.class_sections)
    # Names and codes are no part of the weights, nor is what counts, a matter of the masks.
    own = found.labels.named_as(labels).with_codes(labels)
    own = replace(own, ignored=labels.ignored)
    found = replace(found, labels=own)
    interpolation = e.dataset.resize_interpolation
    preprocessing = Preprocessing.from_config(e.model, e.image, e.volume, interpolation)
    _warn_of_differences(found, e.model, labels, preprocessing)
    return _with_threshold(found, loaded)


def _with_threshold(found: ModelDescription, loaded: LoadedConfig) -> ModelDescription:
    """The threshold may be chosen after training; all else is part of the weights."""
    if "infer.threshold" not in loaded.sources:
        return found
    return replace(found, threshold=threshold(loaded.experiment.infer.threshold))


def _warn_of_differences(
    package: ModelDescription, model: ModelConfig, labels: LabelMap, preprocessing: Preprocessing
) -> None:
    """Network, classes and preprocessing are part of the weights; the config cannot change them."""
    own = {
        "model": (_keys(package.config), _keys(with_options(model))),
        "preprocessing": (package.preprocessing.as_dict(), preprocessing.as_dict()),
        # A name that the config does not know is no difference either.
        "mask": (package.labels.as_dict(), labels.named_as(package.labels).as_dict()),
    }
    training_only = {
        "loss", "metrics", "learning_rate", "optimizer", "clipvalue", "generator", "evaluation",
        "show_summary",
    }  # fmt: skip
    changed = [
        f"{section}.{key}"
        for section, (trained, asked) in own.items()
        for key in (trained.keys() & asked.keys()) - training_only
        if trained[key] != asked[key]
    ]
    if changed:
        logger.warning(
            "The config differs in %s from the training of the weights; the values of the "
            "training are used.",
            ", ".join(sorted(changed)),
        )


def _keys(config: ModelConfig) -> dict[str, Any]:
    """[model] by its keys; options of networks that nobody has registered are read as text."""
    return config.model_dump(include=set(type(config).model_fields))


@dataclass(frozen=True)
class Settings:
    """How a trained model is applied.

    Attributes
    ----------
    tta : names of views to average over, see `[infer] tta`.
    postprocess : what is done with predicted labels.
    explicit : what the user has set himself, of "infer.threshold", "infer.tta" and "postprocess";
        of the others counts what `flexseg tune-postprocessing` has chosen for the model.
    tuned : False: nothing of that counts.
    blur : size (w, h) of a Gaussian blur of the probabilities, or None.
    engine : see `[infer] engine`.
    int8 : predict with the network of `flexseg quantize --keep`.
    precision : see `[train] precision`.
    batch_size : images per step.
    """

    tta: tuple[str, ...] = ()
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)
    explicit: frozenset[str] = frozenset()
    tuned: bool = True
    blur: tuple[int, int] | None = None
    engine: str = "auto"
    int8: bool = False
    precision: str = "auto"
    batch_size: int = 4

    @classmethod
    def of(
        cls, infer: InferConfig, postprocess: PostprocessConfig, sources: Iterable[str]
    ) -> Settings:
        """What `[infer]` and `[postprocess]` say.

        Parameters
        ----------
        sources : the "section.key"s that the user has set himself.
        """
        given = {
            key.partition(".")[0] if key.startswith("postprocess.") else key for key in sources
        }
        return cls(
            tta=tuple(infer.tta),
            postprocess=postprocess,
            explicit=frozenset(given & {"infer.threshold", "infer.tta", "postprocess"}),
            blur=infer.ksize if infer.blur else None,
            engine=infer.engine,
            int8=infer.int8,
        )


def make_predictor(loaded: LoadedConfig, *, tuned: bool = True) -> Predictor:
    """A predictor for the trained model of a config, or for its ensemble, see `open_predictor`.

    Parameters
    ----------
    tuned : False: only what the config says.
    """
    e = loaded.experiment
    settings = replace(
        Settings.of(e.infer, e.postprocess, loaded.sources),
        tuned=tuned,
        precision=e.train.precision,
        batch_size=e.eval.batch_size,
    )
    describe, search = partial(describe_trained, loaded), loaded.path.parent
    return open_predictor(model_file(loaded), describe, settings, search)


def open_predictor(
    file: Path,
    describe: Callable[[Path], ModelDescription],
    settings: Settings = Settings(),
    search: Path | None = None,
) -> Predictor:
    """A predictor for a trained model, for an ensemble, or for an export.

    Of an export views and postprocessing are its own.

    Parameters
    ----------
    file : a model package, the file that names the members of an ensemble, or an export.
    describe : reads what a package says of itself.
    search : see `build_model`.

    Raises
    ------
    ConfigError : a view of test-time augmentation or a class of `[postprocess]` does not fit the
        model, or the engine is not installed.
    DataError : there are no weights, or files are damaged.
    """
    if is_onnx(file):
        return open_export(file, describe(file))
    ensemble = is_ensemble(file)
    files = read_members(file) if ensemble else [file]
    packages = [describe(f) for f in files]
    choice = chosen_for(file, packages[0].labels, settings)
    if choice.threshold is not None:
        packages = [replace(package, threshold=choice.threshold) for package in packages]
    engines = [
        open_engine(
            package,
            f,
            search=search,
            setting=settings.engine,
            precision=settings.precision,
            int8=settings.int8,
        )
        for package, f in zip(packages, files, strict=True)
    ]
    size, blur = settings.batch_size, settings.blur
    predictor = (
        EnsemblePredictor(packages, size, blur, engines)
        if ensemble
        else Predictor(packages[0], size, blur, engines[0])
    )
    predictor = predictor.with_postprocessing(choice.tta, choice.postprocessing, choice.evidence)
    trust, threshold = choice.trust, packages[0].threshold
    if packages[0].labels.binary and threshold != trust.threshold:
        trust = replace(trust, quality={})
    return predictor.with_trust(trust)


def chosen_for(file: Path, labels: LabelMap, settings: Settings) -> TunedChoice:
    """Threshold, views and postprocessing of a trained model, and a line in the log on them.

    Raises
    ------
    ConfigError : `[postprocess]` names a class that does not exist.
    DataError : the file of the tuned choice is damaged.
    """
    own = Postprocessing.from_config(settings.postprocess, labels)
    choice = TunedChoice(None, settings.tta, {2: own, 3: own} if own.steps else {})
    found = read_choice(file, labels) if settings.tuned else None
    if found is None:
        return choice
    used = []
    if found.threshold is not None and "infer.threshold" not in settings.explicit:
        choice = replace(choice, threshold=found.threshold)
        used.append(f"threshold {found.threshold:g}")
    if found.tta and "infer.tta" not in settings.explicit:
        choice = replace(choice, tta=found.tta)
        used.append(f"tta {', '.join(found.tta)}")
    chosen = any(p.steps for p in found.postprocessing.values())
    if chosen and "postprocess" not in settings.explicit:
        choice = replace(choice, postprocessing=found.postprocessing)
        used.append("postprocessing")
    if used:
        choice = replace(choice, evidence=found.evidence)
    choice = replace(choice, trust=_trust_in(choice, found))
    if not (chosen or found.tta or found.threshold is not None):
        return choice
    offered = {
        "infer.threshold": found.threshold is not None,
        "infer.tta": found.tta != settings.tta,
        "postprocess": chosen,
    }
    overruled = sorted(key for key in settings.explicit if offered[key])
    split = "folds" if found.evidence.get("split") == "folds" else "validation set"
    logger.info(
        "%s: %s%s.",
        place_of(file).name,
        f"{', '.join(used)} chosen on the {split}" if used else "no postprocessing",
        f"; the config sets {', '.join(overruled)} itself" if overruled else "",
    )
    return choice


def _trust_in(used: TunedChoice, found: TunedChoice) -> Trust:
    """What is known of predictions; their quality only where they are made as it was found out."""
    steps = {d: p for d, p in used.postprocessing.items() if p.steps}
    calibrated = {d: p for d, p in found.postprocessing.items() if p.steps}
    if used.tta == found.tta and steps == calibrated:
        return found.trust
    logger.info("The expected quality was learned with other settings and is left out.")
    return replace(found.trust, quality={})
