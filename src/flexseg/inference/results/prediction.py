"""What a model says of one image or volume."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import ConfigError
from flexseg.files.images import encode_png, write_png
from flexseg.files.npy import write_npy
from flexseg.files.volumes.paths import volume_suffix
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import WRITABLE_SUFFIXES, write_volume
from flexseg.inference.results.prediction_table import Judgement
from flexseg.inference.trust.conformal import ClassQuality, Flag
from flexseg.outputs import explain_os_errors, make_folder, set_aside, whole


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(NDArrayOperatorsMixin):
    """The class of every pixel or voxel.

    NumPy's functions, operators and indices take it as the array `labels`; methods of arrays
    (`sum`, `astype`, ...) are those of `labels`, or of `np.asarray(prediction)`.

    Attributes
    ----------
    labels : class ids uint8 in the input's size and geometry, [H, W] or [z, y, x], after
        postprocessing.
    label_map : the classes with their colours.
    spacing : distances of pixels (voxels) in mm along the axes of `labels`; None: not known.
    probabilities : where asked for, [H, W, C] or [z, y, x, C] float32 from 0 to 1 in the input's
        size. C is the number of classes; 1 if there is one class against the background.
    source : the name of the input.
    geometry : the volume's place in the patient, of images None.
    judgement : how far the prediction can be trusted; `quality`, `flag`, `strangeness`,
        `foreign` and `why_foreign` say it.

    Examples
    --------
    >>> p = model.predict("slice.png")               # doctest: +SKIP
    >>> p.shape, p.classes[1].name                    # doctest: +SKIP
    ((512, 512), 'tumour')
    >>> (p == 1).sum()                                # doctest: +SKIP
    2093
    >>> p.save("slice_mask.png")                      # doctest: +SKIP
    """

    labels: NDArray[np.uint8]
    label_map: LabelMap
    spacing: tuple[float, ...] | None = None
    probabilities: NDArray[np.float32] | None = None
    source: str = "array"
    geometry: Volume | None = field(default=None)
    judgement: Judgement = field(default=Judgement())

    @property
    def quality(self) -> dict[str, ClassQuality]:
        """Class name -> expected `dice`, the ends `low` and `high` of its 90 % interval, and
        `flag`; empty where the model has no calibration, which `flexseg tune-postprocessing`
        makes."""
        known = self.judgement.quality
        return {c.name: known[c.id] for c in self.label_map.foreground if c.id in known}

    @property
    def strangeness(self) -> float | None:
        """How unlike the images of the training the input is, foreign above 1; None: the model
        does not know."""
        return self.judgement.input.strangeness

    @property
    def foreign(self) -> bool:
        """Whether the input is of another kind than those of the training, as about 5 % of images
        of the same kind seem to be."""
        return self.judgement.foreign

    @property
    def why_foreign(self) -> tuple[str, ...]:
        """In what it differs: "looks" (colours, contrast, sharpness, ...), "values" (their scale),
        "size", "spacing", "modality"; empty where it does not."""
        return self.judgement.input.reasons

    @property
    def flag(self) -> Flag | None:
        """The worst of all classes, "green", "yellow" or "red"; never green for a foreign input;
        None where nothing is known."""
        return self.judgement.flag

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes by id, the background first."""
        return self.label_map.classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Of `labels`."""
        return self.labels.shape

    @property
    def ndim(self) -> int:
        """2 for images, 3 for volumes."""
        return self.labels.ndim

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Of `labels`: uint8."""
        return self.labels.dtype

    @property
    def pixels_per_class(self) -> dict[str, int]:
        """Class name -> pixels (voxels)."""
        # Plane by plane, as counting makes 8 bytes of each pixel.
        counts = np.zeros(256, np.int64)
        for plane in self.labels:
            counts += np.bincount(plane.reshape(-1), minlength=256)
        return {c.name: int(counts[c.id]) for c in self.classes}

    def save(self, path: str | Path) -> Path:
        """Write the labels; an earlier file of the name moves aside.

        Parameters
        ----------
        path : its suffix is the format. Images: `.png`, whose palette has the colours of the
            classes, or `.npy`. Volumes: `.nii.gz`, `.nii`, `.mha`, `.mhd`, `.nrrd`, `.nhdr`, `.h5`
            with the geometry of the input, or `.npy` without it.

        Raises
        ------
        ConfigError : another suffix.
        ResourceError : the place cannot be written to.
        """
        path = Path(path).absolute()
        suffix = volume_suffix(path) or path.suffix.lower()
        allowed = (".png", ".npy") if self.geometry is None else WRITABLE_SUFFIXES
        if suffix not in allowed:
            kind = "images" if self.geometry is None else "volumes"
            raise ConfigError(
                f"Labels of {kind} cannot be written as {suffix or 'a file without suffix'}.",
                f"Choose {', '.join(allowed)}.",
                str(path),
            )
        make_folder(path.parent)
        set_aside(path)
        with explain_os_errors(path):
            if self.geometry is not None:
                write_volume(path, self.geometry.with_array(self.labels))
            elif suffix == ".png":
                write_png(path, self.labels, self.label_map.palette)
            else:
                with whole(path) as part:
                    write_npy(part, self.labels)
        return path

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.labels, dtype=dtype) if copy else np.asarray(self.labels, dtype=dtype)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, **options: object
    ) -> object:
        arrays = (x.labels if isinstance(x, Prediction) else x for x in inputs)
        return getattr(ufunc, method)(*arrays, **options)

    def __getitem__(self, index: Any) -> Any:
        return self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        counts = self.pixels_per_class
        shares = (f"{c.name} {counts[c.name] / self.labels.size:.1%}" for c in self.classes[1:])
        size = " x ".join(map(str, self.shape))
        return f"Prediction({self.source!r}, {size}: {', '.join(shares)})"

    def _repr_png_(self) -> bytes:
        """For notebooks: the labels in colours; of a volume the slice with most foreground."""
        plane = self.labels
        if plane.ndim == 3:
            plane = plane[int(np.argmax([np.count_nonzero(part) for part in plane]))]
        return encode_png(self.label_map.colorize(plane))
