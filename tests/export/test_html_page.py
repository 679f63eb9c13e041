"""The page that segments images in a browser holds all that it needs and lets nothing else in.

What it does in a browser is tested there, see tests/browser.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flexseg.config.infer import PostprocessConfig
from flexseg.errors import ConfigError
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.trust.conformal import ClassCalibration, Trust
from small_predictors import predictor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from flexseg.export.about import About  # noqa: E402
from flexseg.export.artefact import write_export  # noqa: E402
from flexseg.export.artefacts import html_page  # noqa: E402
from flexseg.export.proof.proof_cases import generated_cases  # noqa: E402

pytestmark = pytest.mark.usefixtures("engines_on")
needs_runtime = pytest.mark.skipif(
    not html_page._ASSETS.joinpath("onnxruntime-web.wasm.gz").is_file(),
    reason="ONNX Runtime Web is missing: python tools/browser_libraries.py",
)
TITLE = "cells </script><b>"


def write(folder: Path, **options: Any) -> str:
    """The text of the page of a small network."""
    made, (network,) = predictor(folder, **options)
    steps = Postprocessing.from_config(PostprocessConfig(min_size=7), made.package.labels)
    calibration = ClassCalibration(0.5, 0.4, 0.2, 30, 0, 0)
    made = made.with_postprocessing((), {2: steps}).with_trust(Trust({2: {1: calibration}}))
    onnx.save(network, folder / "network.onnx")
    proof = generated_cases(made.package, "uint8")
    write_export(
        made, [folder / "network.onnx"], folder / "out", proof, About(TITLE), "uint8", kind="html"
    )
    return (folder / "out/index.html").read_text(encoding="utf-8")


@needs_runtime
def test_one_file_holds_all(tmp_path: Path) -> None:
    page = write(tmp_path)
    parts = dict(re.findall(r'<script type="[^"]+" id="([\w-]+)">(.*?)</script>', page, re.DOTALL))
    settings = json.loads(parts.pop("settings"))
    assert settings["steps"] == {"1": {"min_size": 7}, "2": {"min_size": 7}}
    assert settings["quality"]["1"]["slope"] == 0.5 and settings["limits"]["fewest"] == 9
    contents = {name: gzip.decompress(base64.b64decode(text)) for name, text in parts.items()}
    assert contents["model"] == (tmp_path / "out/model.onnx").read_bytes()
    assert contents["wasm"].startswith(b"\0asm")
    labels = (tmp_path / "out/test_labels.npy").read_bytes()
    assert labels.endswith(contents["test-labels"])
    program = contents["worker"].decode("utf-8")
    assert not re.search(r"^(import|export)\b|import\.meta|\bexport\{", program, re.MULTILINE)
    assert "Eigen (MPL-2.0)" in contents["licences"].decode("utf-8")
    assert TITLE not in page and "cells &lt;/script&gt;" in page


@needs_runtime
def test_only_its_own_program_may_run(tmp_path: Path) -> None:
    page = write(tmp_path)
    found = re.search(r'Security-Policy" content="([^"]+)"', page)
    assert found is not None
    policy = dict(part.strip().split(" ", 1) for part in found[1].split(";"))
    assert policy["default-src"] == policy["connect-src"] == policy["form-action"] == "'none'"
    assert "unsafe-inline" not in found[1] and "http" not in found[1]
    for tag, key in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        assert f"'sha256-{digest}'" in policy[key]
    assert not re.search(r"(src|href)=", page)


@needs_runtime
def test_what_browsers_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 channels at once.*--to onnx"):
        write(tmp_path, channels=3, neighbours=1)
    with pytest.raises(ConfigError, match=r"from -160 on.*--to onnx"):
        write(tmp_path, channels=1, window=(-160.0, 240.0))


def test_without_the_runtime_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html_page, "_ASSETS", tmp_path)
    with pytest.raises(ConfigError, match=r"tools/browser_libraries\.py"):
        write(tmp_path)
    assert not (tmp_path / "out").exists()
