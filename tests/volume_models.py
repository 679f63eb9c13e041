"""Networks and volumes whose answer is known voxel by voxel."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from config_parts import labels_of, preprocessing_of
from flexseg.config.infer import Infer3dConfig
from flexseg.config.schema import Experiment
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.predictor import Predictor
from flexseg.inference.program import Outcome
from flexseg.inference.trust.signal import Members
from flexseg.inference.volumes.volume_files import Description, infer_volumes
from flexseg.inference.volumes.volume_predictor import VolumePredictor
from flexseg.inference.volumes.volume_sources import volume_cases
from flexseg.models.package import ModelPackage

ORIENTATIONS = [
    "".join(ends) for order in permutations(("LR", "PA", "SI")) for ends in product(*order)
]


class Copying(Predictor):
    """The probability of a pixel is its grey value / 255, of the middle channel."""

    def network(self, batch: NDArray, members: Members | None = None) -> NDArray[np.float32]:
        self.batches = [*getattr(self, "batches", []), batch.copy()]
        n = batch.shape[-1] // 2
        p = (batch[..., n : n + 1] / 255).astype(np.float32)
        if members is not None:
            members.see(p, own=True)
        return p


def copying(size: tuple[int, int], channels: int = 1, **volume: Any) -> Copying:
    """`Copying` as a network of `size` (height, width)."""
    experiment = Experiment.model_validate(
        {
            "model": {
                "num_classes": 1,
                "image_height": size[0],
                "image_width": size[1],
                "image_channels": channels,
                "input_normalize": False,
            },
            "volume": volume,
        }
    )
    package = ModelPackage(
        experiment.model,
        labels_of(experiment),
        preprocessing_of(experiment),
        model=None,
    )
    return Copying(package)


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int16]:
    """Voxels from -1000 to 1000; above 0 is foreground."""
    return np.random.default_rng(seed).integers(-1000, 1001, shape).astype(np.int16)


def oblique(shape: tuple[int, int, int], orientation: str = "LPS") -> Volume:
    """A volume of noise, anisotropic, tilted by some degrees, in some voxel order."""
    turned = sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.15).GetMatrix()
    volume = Volume(noise(shape), (0.5, 0.7, 7.5), (12.0, -30.0, 4.0), tuple(turned))
    return Volume.from_image(sitk.DICOMOrient(volume.image(), orientation))


# Of axial slices of the volumes here.
SIZE = (5, 6)
# Grey value 127.5 lies between voxels 0 and 1.
WINDOW = "0.5/2001"


def predict(
    source: Path, output: Path, size: tuple[int, int] = SIZE, **keys: Any
) -> Outcome[Description]:
    """A run of the network that copies voxels above 0."""
    trained = {k: keys.pop(k) for k in ("axis", "neighbours", "intensity") if k in keys}
    channels = 2 * trained.get("neighbours", 0) + 1
    config = Infer3dConfig(output_dir=output, **({"previews": []} | keys))
    predictor = copying(size, channels, **({"intensity": WINDOW} | trained))
    volumes = VolumePredictor(predictor, config)
    return infer_volumes(volumes, volume_cases(source, output), protected=[source])


def three_volumes(folder: Path) -> Path:
    """The folder, with a volume in each of three formats and orientations."""
    folder.mkdir()
    for name, orientation in (("a.nii.gz", "LPS"), ("b.mha", "RAS"), ("c.nrrd", "ASR")):
        write_volume(folder / name, oblique((4, 5, 6), orientation))
    return folder
