"""A file of LiteRT has the whole graph for images of any size, and for those of the network's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("tensorflow")
interpreter = pytest.importorskip("ai_edge_litert.interpreter")

from flexseg.errors import ResourceError  # noqa: E402
from flexseg.export.artefacts import litert_file  # noqa: E402
from flexseg.export.artefacts.litert_file import FIXED, MODEL  # noqa: E402
from flexseg.export.artefacts.saved_model import SIGNATURE  # noqa: E402
from small_predictors import HEIGHT, WIDTH, blobs, predictor  # noqa: E402
from written_exports import write  # noqa: E402


def test_both_signatures(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, classes=1, members=2, threshold=0.3)
    made = made.with_postprocessing(["flips", "scale:0.8"])
    folder = write(tmp_path / "out", made, networks, kind="litert")
    model = interpreter.Interpreter(str(folder / MODEL))
    assert list(model.get_signature_list()) == [FIXED, SIGNATURE]
    # The first is what a program takes that asks for none.
    assert model.get_input_details()[0]["shape_signature"].tolist() == [1, HEIGHT, WIDTH, 3]
    for signature, size, count, channels in (
        (SIGNATURE, (61, 97), 2, 1),
        (SIGNATURE, (15, 90), 1, 3),
        (FIXED, (HEIGHT, WIDTH), 1, 3),
    ):
        images = np.stack([blobs(size, channels, seed) for seed in range(count)])
        found = model.get_signature_runner(signature)(images=images)
        expected = [p for _, _, p in made.probabilities((str(i), x) for i, x in enumerate(images))]
        assert np.abs(found["probabilities"] - expected).max() < 2e-2
        labels = np.stack([made.labels(p) for p in expected])
        assert found["labels"].dtype == np.uint8 and len(np.unique(labels)) == 2
        assert (found["labels"] == labels).mean() > 0.998
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "pip install numpy pillow ai-edge-litert" in card and FIXED in card


def test_a_network_for_which_the_memory_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litert_file, "available_memory", lambda: 50_000)
    made, networks = predictor(tmp_path)
    with pytest.raises(ResourceError, match=r"takes about .* of memory.*are free"):
        write(tmp_path / "out", made, networks, kind="litert")
    assert not (tmp_path / "out").exists()
