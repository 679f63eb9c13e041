"""nnU-Net on a clock: it plans, trains for so many seconds, and predicts.

`nnunet_comparison.py` runs this file with the Python that nnU-Net is installed in, and gives it a
job as a JSON file. It imports nothing of flexseg, which need not be installed there.

nnU-Net has no budget of time: its learning rate falls over 1000 epochs of 250 iterations. Here it
falls over the seconds given, (1 - t / T)^0.9 as in its own schedule, and the training ends with
them. Nothing else of what it planned is changed. Validation and checkpoints, which take time and do
not change the weights, are left out.

    python _nnunet.py JOB.json
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLD = 0


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.monotonic()
    plans = _plan(job["dataset"], job["dataset_id"], job["configuration"])
    planned = time.monotonic()
    trainer, iterations, seconds = _train(plans, job)
    trained = time.monotonic()
    _predict(trainer, Path(job["images"]), Path(job["predictions"]))
    predicted = time.monotonic()
    configuration = trainer.configuration_manager
    result = {
        "versions": {name: version(name) for name in ("nnunetv2", "torch")},
        "configuration": job["configuration"],
        "patch_size": list(map(int, configuration.patch_size)),
        "batch_size": int(configuration.batch_size),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "iterations": iterations,
        "plan_s": round(planned - started, 1),
        "train_s": round(seconds, 1),
        "start_s": round(trained - planned - seconds, 1),
        "predict_s": round(predicted - trained, 1),
    }
    Path(job["result"]).write_text(json.dumps(result, indent=2), encoding="utf-8")


def _plan(dataset: str, number: int, configuration: str) -> dict[str, Any]:
    """Fingerprint, plan and preprocessed cases, as `nnUNetv2_plan_and_preprocess` makes them."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as planning
    from nnunetv2.paths import nnUNet_preprocessed

    processes = 2
    planning.extract_fingerprints([number], num_processes=processes, verbose=False)
    identifier = planning.plan_experiments([number])
    planning.preprocess([number], identifier, (configuration,), (processes,))
    folder = Path(str(nnUNet_preprocessed)) / dataset
    plans: dict[str, Any] = json.loads((folder / f"{identifier}.json").read_text(encoding="utf-8"))
    if configuration not in plans["configurations"]:
        sys.exit(f"nnU-Net plans {', '.join(plans['configurations'])}, not {configuration}.")
    return plans


def _train(plans: dict[str, Any], job: dict[str, Any]) -> tuple[Any, int, float]:
    """A trained trainer, the iterations that fitted, and the seconds that they took."""
    import torch
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class ClockTrainer(nnUNetTrainer):
        """nnU-Net's trainer whose schedule is over seconds instead of epochs."""

        def run_for(self, budget: float) -> tuple[int, float]:
            self.on_train_start()
            self.network.train()
            iterations, started = 0, time.monotonic()
            while (passed := time.monotonic() - started) < budget:
                for group in self.optimizer.param_groups:
                    group["lr"] = self.initial_lr * (1 - passed / budget) ** 0.9
                self.train_step(next(self.dataloader_train))
                iterations += 1
            seconds = time.monotonic() - started
            for loader in (self.dataloader_train, self.dataloader_val):
                if hasattr(loader, "_finish"):
                    loader._finish()
            return iterations, seconds

    folder = Path(str(nnUNet_preprocessed)) / job["dataset"]
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    (folder / "splits_final.json").write_text(json.dumps([job["split"]]), encoding="utf-8")
    torch.manual_seed(job["seed"])
    trainer = ClockTrainer(
        plans | {"continue_training": False},
        job["configuration"],
        FOLD,
        description,
        torch.device(job["device"]),
    )
    iterations, seconds = trainer.run_for(job["seconds"])
    return trainer, iterations, seconds


def _predict(trainer: Any, images: Path, output: Path) -> None:
    """Label files of all images, by sliding window with mirroring, as nnU-Net does by default."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(use_mirroring=True, device=trainer.device, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    predictor.predict_from_files(
        str(images),
        str(output),
        num_processes_preprocessing=1,
        num_processes_segmentation_export=1,
    )


if __name__ == "__main__":
    main()
