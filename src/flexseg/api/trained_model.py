"""`flexseg.Model`: a trained model and its predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, overload

from flexseg import backend
from flexseg.config.load import LoadedConfig
from flexseg.dataset.labels import LabelClass
from flexseg.errors import ConfigError, DataError, FlexsegError
from flexseg.inference.results.prediction import Prediction
from flexseg.storage.mirror import local_copy

if TYPE_CHECKING:
    from flexseg.inference.model_inputs import ImageInput, Source, Spacing, VolumeInput
    from flexseg.inference.source_predictor import SourcePredictor
    from flexseg.inference.volumes.volume_predictor import OnSlice

Engine = Literal["auto", "keras", "openvino", "onnx"]


class Model:
    """A trained model, ready to predict.

    Attributes
    ----------
    file : the package, the file that names the members of an ensemble, or the export.

    Examples
    --------
    >>> import flexseg
    >>> model = flexseg.Model.load("run/models/best_model.h5")    # doctest: +SKIP
    >>> model                                                     # doctest: +SKIP
    Model('best_model.h5': UNet, 256 x 256 x 1, background, tumour, keras float32)
    >>> p = model.predict("slice.png")                            # doctest: +SKIP
    >>> p.labels.shape                                            # doctest: +SKIP
    (512, 512)
    """

    def __init__(self, predictor: SourcePredictor, file: Path) -> None:
        self._sources = predictor
        self._predictor = predictor.predictor
        self.file = file

    @classmethod
    def load(
        cls, path: str | Path, *, trust: str | None = None, engine: Engine | None = None
    ) -> Model:
        """Load a model; no config is needed.

        Threshold, test-time augmentation and postprocessing are those that `flexseg
        tune-postprocessing` has chosen for the model. Of a run folder also what its config says
        of prediction counts, as for `flexseg infer`.

        Parameters
        ----------
        path : a model package (`best_model.h5`), an ensemble (`ensemble.json`), an export
            (`model.onnx`), or the folder of a run, a cross-validation or of `flexseg auto`.
        trust : the `package.module:builder` of a network of one's own, which a package may then
            import, and a run folder too.
        engine : what computes the network, see `[infer] engine`; without it what the run says, else
            the fastest that is installed.

        Raises
        ------
        DataError : there is no model, it is damaged, or it asks for code that `trust` does not
            name.
        ConfigError : the engine is not installed, or Keras runs on another backend than the
            environment variable KERAS_BACKEND says.
        """
        path = local_copy(path)
        if engine is not None and engine not in get_args(Engine):
            known = ", ".join(get_args(Engine))
            raise ConfigError(f"{engine!r} is not an engine.", f"Choose one of {known}.", "engine")
        from flexseg.inference.model_files import is_onnx
        from flexseg.runs.given import find_given

        given = find_given(path)
        export = given.model is not None and is_onnx(given.model)
        if backend.installed() and not export:
            backend.select()
        with backend.same_dtype_policy():
            if given.model is not None:
                return cls._of_file(given.model, trust, engine or "auto")
            return cls._of_run(path, trust, engine)

    @classmethod
    def _of_file(cls, file: Path, trust: str | None, engine: Engine) -> Model:
        from flexseg.inference.loading import Settings, open_predictor
        from flexseg.inference.source_predictor import SourcePredictor
        from flexseg.model_file.model_description import ModelDescription

        describe = partial(ModelDescription.read, trust=lambda code: code == trust)
        predictor = open_predictor(file, describe, Settings(engine=engine))
        return cls(SourcePredictor(predictor), file)

    @classmethod
    def _of_run(cls, folder: Path, trust: str | None, engine: Engine | None) -> Model:
        from flexseg.inference.loading import make_predictor
        from flexseg.inference.source_predictor import SourcePredictor
        from flexseg.runs.trained import config_of_run

        loaded = config_of_run(folder)
        refuse_foreign_code(loaded, trust, "flexseg.Model.load")
        e = loaded.experiment
        if engine is not None:
            e = e.model_copy(update={"infer": e.infer.model_copy(update={"engine": engine})})
        predictor = make_predictor(replace(loaded, experiment=e))
        file = e.train.model_dir / e.train.best_model_file
        return cls(SourcePredictor(predictor, e.tiledinfer, e.infer3d), file)

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes by id, the background first."""
        return self._predictor.package.labels.classes

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the network; images of other sizes are resized to it and back, or seen
        by windows where it was trained on patches."""
        preprocessing = self._predictor.package.preprocessing
        return preprocessing.height, preprocessing.width

    @property
    def channels(self) -> int:
        """Channels of the network's images: 1 grey, 3 colour, others as it was trained."""
        return self._predictor.package.preprocessing.channels

    @property
    def of_slices(self) -> bool:
        """The network was trained on slices of volumes."""
        return self._predictor.package.preprocessing.of_slices

    @property
    def neighbours(self) -> int:
        """Slices on each side that the network sees with each slice of a volume."""
        return self._predictor.package.preprocessing.neighbours

    def describe(self) -> dict[str, object]:
        """What predictions depend on beside the weights (engine, threshold, test-time augmentation,
        postprocessing, windows, how volumes are cut), plain JSON types."""
        return self._sources.describe()

    # Texts and arrays are iterables as well; the first signature counts.
    @overload
    def predict(
        self,
        source: Source,
        *,
        spacing: Spacing | None = None,
        probabilities: bool = False,
        volume: bool | None = None,
        tiled: bool = False,
        channel: int | None = None,
        series: str | None = None,
        on_progress: OnSlice | None = None,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        source: Iterable[Source],
        *,
        spacing: Spacing | None = None,
        probabilities: bool = False,
        volume: bool | None = None,
        tiled: bool = False,
        channel: int | None = None,
        series: str | None = None,
        on_progress: OnSlice | None = None,
    ) -> Iterator[Prediction]: ...

    def predict(
        self,
        source: Source | Iterable[Source],
        *,
        spacing: Spacing | None = None,
        probabilities: bool = False,
        volume: bool | None = None,
        tiled: bool = False,
        channel: int | None = None,
        series: str | None = None,
        on_progress: OnSlice | None = None,
    ) -> Prediction | Iterator[Prediction]:
        """Predict an image or a volume, or several one after the other.

        The same as `flexseg infer`, `tiled-infer` and `infer3d` write of the same files.

        Parameters
        ----------
        source : one of

            - an array (or tensor, or image of Pillow): [H, W] grey, [H, W, 1], [H, W, 3] RGB,
              [H, W, 4] whose transparency is dropped, or [H, W, channels]. uint8 counts from 0 to
              255, other unsigned types over their range, floats and signed types as they are: on
              the scale from 0 to 255, or that of `[image] window`. Grey images are shown to colour
              networks three times, colour images to grey ones as their brightness;
            - an array [z, y, x]: three axes of which the last is longer than 4 and not as long as
              the network has channels. Where the first is not longer than 4 it could be an image
              with its channels first, and `volume` must say;
            - the path of an image, of a volume, or of a folder of DICOM files;
            - a `flexseg.files.volumes.volume.Volume`, or an image of SimpleITK;
            - a list or other iterable of these. It gives an iterator that predicts in order while
              it is asked, several images at once; an error is raised in its turn and ends it.
        spacing : of rows and columns, or of z, y, x, in mm, or one number for all; of volumes that
            say it themselves not to be given. The prediction does not depend on it.
        probabilities : keep them too: 4 bytes per pixel and class.
        volume : whether arrays are volumes, where their shape does not tell.
        tiled : see the image (slices of a volume) at its own scale through overlapping windows, as
            `flexseg tiled-infer` does, not resized to the network; networks that were trained on
            patches always do.
        channel : which volume of 4-D files, or channel of several, from 0.
        series : part of the UID or description of the DICOM series to take.
        on_progress : called with (done, total) after each slice of a volume; what it raises ends
            the prediction.

        Raises
        ------
        DataError : a file is missing or damaged, or channels do not fit the network.
        ConfigError : an array can be an image as well as a volume, or an option does not fit.
        """
        from flexseg.inference.model_inputs import several

        many = several(source)
        sources: Iterable[Source] = source if many else (source,)  # type: ignore[assignment]
        predictions = self._sources.predictions(
            self._inputs(sources, volume, spacing, channel, series),
            probabilities=probabilities,
            tiled=tiled,
            channel=channel,
            series=series,
            on_progress=on_progress,
        )
        return predictions if many else next(predictions)

    def _inputs(
        self,
        sources: Iterable[Source],
        volume: bool | None,
        spacing: Spacing | None,
        channel: int | None,
        series: str | None,
    ) -> Iterator[ImageInput | VolumeInput | FlexsegError]:
        from flexseg.inference.model_inputs import ImageInput, model_input

        for source in sources:
            try:
                item = model_input(source, channels=self.channels, volume=volume, spacing=spacing)
            except FlexsegError as error:
                yield error
                continue
            options = {"channel": channel, "series": series}
            given = [name for name, value in options.items() if value is not None]
            if isinstance(item, ImageInput) and given:
                yield ConfigError(
                    f"{item} is an image, for which {given[0]} has no meaning.",
                    f"Leave {given[0]} out; it is for volumes.",
                    given[0],
                )
                continue
            yield item

    def __repr__(self) -> str:
        package, engine = self._predictor.package, self._predictor.engine
        size = " x ".join(map(str, (*self.size, self.channels)))
        names = ", ".join(c.name for c in self.classes)
        return (
            f"Model({self.file.name!r}: {package.config.model}, {size}, {names}, "
            f"{engine.name} {engine.precision})"
        )


def refuse_foreign_code(loaded: LoadedConfig, trust: str | None, function: str) -> None:
    """A folder that may have come from elsewhere may not choose which module gets imported.

    Parameters
    ----------
    loaded : the config of a run.
    trust : the code that may be imported.
    function : takes `trust`.

    Raises
    ------
    DataError : the run's network is of another code.
    """
    name, folder = loaded.experiment.model.model, loaded.experiment.train.run_dir
    if ":" in name and name != trust:
        raise DataError(
            f"The run needs the code {name!r}, which is not trusted yet.",
            f"If you trust that code, give {function}(..., trust={name!r}).",
            str(folder),
        )
