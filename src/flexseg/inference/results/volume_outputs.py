"""Where the results of volumes go, and the pictures of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.infer import Infer3dConfig
from flexseg.dataset.labels import LabelMap
from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.intensity import GreyValues, Intensity
from flexseg.files.volumes.paths import volume_suffix
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import WRITABLE_SUFFIXES
from flexseg.inference.pictures.slice_pictures import SlicePictures
from flexseg.inference.results.prediction_table import PREDICTION_SUMMARY, PREDICTION_TABLE
from flexseg.inference.results.volume_table import VOLUME_TABLE
from flexseg.inference.volumes.volume_predictor import Cut, Grey
from flexseg.outputs import make_folder, set_aside
from flexseg.own_results import is_ours

logger = logging.getLogger(__name__)

_SAME = {".nhdr": ".nrrd", ".hdf5": ".h5"}


class VolumeTargets:
    """The files that a run writes into `[infer3d] output_dir`."""

    def __init__(self, config: Infer3dConfig) -> None:
        self.config = config
        self.output = config.output_dir

    def by_key(self) -> dict[str, Path]:
        """All folders that are written to, by the key of the config that names them."""
        folders = {"[infer3d] output_dir": self.output}
        if self.config.video_dir is not None:
            folders["[infer3d] video_dir"] = self.config.video_dir
        return folders

    def set_aside(self, cases: Sequence[tuple[str, str]]) -> None:
        """Move earlier results of the same names (and folders of slices) out of the way."""
        make_folder(self.output)
        names, ours = {name for name, _ in cases}, is_ours(self.output)
        for kind in ("labels", "probabilities", "previews"):
            folder = self.output / kind
            results = [p for p in folder.rglob("*") if _result_of(p, folder) in names]
            for path in [folder] if ours and results else results:
                set_aside(path)
        for _, folder_name in cases:
            if self.config.slices:
                set_aside(self.output / folder_name)
            if self.config.video_dir is not None:
                set_aside(self.video(folder_name))
        for file in (VOLUME_TABLE, PREDICTION_TABLE, PREDICTION_SUMMARY):
            set_aside(self.output / file)

    def labels(self, name: str, source: Path) -> Path:
        """The label volume of a source, in its format or in the one that the config names."""
        suffix = label_suffix(source, self.config.label_format)
        return self._file("labels", f"{name}{suffix}")

    def segmentation(self, name: str) -> Path:
        """The DICOM segmentation of a series."""
        return self._file("labels", f"{name}.seg.dcm")

    def probabilities(self, name: str) -> Path:
        """The volume of class probabilities."""
        return self._file("probabilities", f"{name}.nii.gz")

    def preview(self, name: str, kind: str) -> Path:
        """A preview; `kind` is its suffix without the dot."""
        return self._file("previews", f"{name}.{kind}")

    def _file(self, kind: str, name: str) -> Path:
        path = self.output / kind / name
        make_folder(path.parent)
        return path

    def video(self, folder_name: str) -> Path:
        """The video of the originals' kind."""
        c = self.config
        path = (c.video_dir or self.output) / f"{folder_name}_{c.video_type}{c.video_fileformat}"
        make_folder(path.parent)
        return path

    def pictures(self, folder_name: str, label_map: LabelMap) -> SlicePictures | None:
        """What writes slices, masks and overlays, if the config wants them."""
        if not self.config.slices:
            return None
        return SlicePictures(self.output / folder_name, self.config, label_map)


def label_suffix(source: Path, label_format: str) -> str:
    """The suffix of a source's label volume; `label_format` is that of `[infer3d]`."""
    if label_format != "same":
        return label_format
    own = "" if source.is_dir() or is_dicom(source) else volume_suffix(source)
    return _SAME.get(own, own) if own in WRITABLE_SUFFIXES else ".nii.gz"


def _result_of(file: Path, folder: Path) -> str:
    """The name of the volume that a file below a folder of results is of."""
    suffix = ".seg.dcm" if file.name.endswith(".seg.dcm") else volume_suffix(file) or file.suffix
    return file.relative_to(folder).as_posix().removesuffix(suffix)


def write_slices(
    pictures: SlicePictures, volume: Volume, labels: NDArray[np.uint8], grey: Grey, cut: Cut
) -> None:
    """Write the pictures of all slices, with the grey values that the network saw where 8 bits
    hold them, else from the 0.5th to the 99.5th percentile of the volume."""
    slices = cut.slice_view(volume.array, volume.orientation)
    masks = cut.slice_view(labels, volume.orientation)
    if grey(slices[0]).dtype != np.uint8:
        grey = GreyValues.of(
            volume.array, Intensity("percentile", 0.5, 99.5), 8, "volume", quiet=True
        )
    for i, (pixels, mask) in enumerate(zip(slices, masks, strict=True)):
        shown = grey(pixels)
        if shown.ndim == 3 and shown.shape[-1] != 3:
            shown = shown[..., 0]
        pictures.slice(i, shown, np.ascontiguousarray(mask))


@cache  # it is told once
def has_viewer() -> bool:
    from flexseg.inference.pictures.viewer import niivue_problem

    if problem := niivue_problem():
        logger.warning("%s", problem)
    return problem is None


def write_previews(
    targets: VolumeTargets,
    name: str,
    volume: Volume,
    labels: NDArray[np.uint8],
    label_map: LabelMap,
    intensity: str | None,
) -> None:
    """Write the montage, videos and viewer that `[infer3d] previews` names.

    Parameters
    ----------
    intensity : that of the trained network, see `[volume]`.
    """
    from flexseg.inference.pictures.volume_preview import (
        montage,
        overlay_frames,
        preview_grey,
        preview_volume,
    )

    config = targets.config
    if not config.previews:
        return
    window = None if intensity is None else Intensity.parse(intensity, "[volume] intensity")
    grey = preview_grey(preview_volume(volume), window, name, quiet=True)
    for kind in config.previews:
        path = targets.preview(name, kind)
        if kind == "png":
            montage(volume, labels, label_map, path, grey=grey)
        elif kind == "html":
            from flexseg.inference.pictures.viewer import write_viewer

            if has_viewer():
                write_viewer(path, volume, labels, label_map, grey=grey)
        else:
            from flexseg.inference.pictures.video import write_video

            weights = (config.overlay_alpha, config.overlay_beta, config.overlay_gamma)
            frames = overlay_frames(volume, labels, label_map, *weights, grey=grey)
            write_video(path, frames, config.video_fps)
