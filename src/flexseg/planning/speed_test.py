"""How fast a usual network is on this machine, and what that means for a training."""

from __future__ import annotations

from dataclasses import dataclass

from flexseg.config.schema import Experiment
from flexseg.planning.timing import StepTime, time_step

# The network of the seeds' size class for small images, as a first config has it.
_SIDE = 128
_BATCH = 8
_FILTERS = 16
_LEVELS = 4


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes
    ----------
    step : of a training, and of a validation, whose images a second are those of a prediction.
    """

    step: StepTime

    @property
    def trained(self) -> float:
        """Images a second."""
        return self.step.batch / self.step.seconds

    @property
    def predicted(self) -> float:
        """Images a second."""
        return self.step.batch / self.step.validation

    def facts(self) -> dict[str, str]:
        """Name -> text for people."""
        times = 600 * self.trained / 200
        return {
            "training": f"{self.trained:.0f} images a second of {_SIDE} x {_SIDE} pixels "
            f"({self.step.parameters:,} parameters); the time of larger ones grows "
            "with their number of pixels",
            "prediction": f"{self.predicted:.0f} such images a second with Keras; OpenVINO and "
            "ONNX Runtime are faster on a CPU",
            "starting": f"{self.step.starting:.0f} s until the first step of a training",
            "to expect": f"`flexseg auto --time 10m` shows each of 200 images {_times(times)}; "
            f"{_advice(times)}",
        }


def measure_speed() -> Speed:
    """Train a few steps on random images, which takes some seconds."""
    model = {
        "model": "TensorFlowFlexUNet",
        "image_width": _SIDE,
        "image_height": _SIDE,
        "num_layers": _LEVELS,
        "base_filters": _FILTERS,
        "base_kernels": [3, 3],
        "normalization": True,
        "num_classes": 2,
        "loss": "dice_ce_loss",
    }
    content = {"model": model, "train": {"batch_size": _BATCH}}
    return Speed(time_step(Experiment.model_validate(content)))


def _times(number: float) -> str:
    return f"{number:,.0f} times" if number >= 2 else "once or twice at this size"


def _advice(times: float) -> str:
    """What a time of ten minutes is good for: 100 passes are a usual training of small data."""
    if times >= 100:
        return "ten minutes are enough for small datasets."
    if times >= 20:
        return "plan half an hour or more for small datasets."
    return "plan hours, smaller images, or a machine with a GPU."
