"""`flexseg list`: every registry, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from flexseg.augment.geometric import GEOMETRIC
from flexseg.augment.photometric import PHOTOMETRIC
from flexseg.catalogue import CATALOGUE
from flexseg.cli import main
from flexseg.config.augmentation import AugmentationConfig, AugmentorConfig
from flexseg.losses import LOSSES, METRICS
from flexseg.models.architecture import MODELS


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["list", *arguments])
    assert not caught.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "registry"),
    [
        ("models", MODELS),
        ("losses", LOSSES),
        ("metrics", METRICS),
        ("augmentations", [*GEOMETRIC, *PHOTOMETRIC]),
    ],
)
def test_every_entry_is_shown(
    kind: str, registry: Iterable[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = listed(capsys, kind)
    entries = json.loads(listed(capsys, kind, "--json"))
    assert [entry["name"] for entry in entries] == sorted(registry)
    for entry in entries:
        assert entry["name"] in text
        assert entry["summary"]


def test_models_have_source_and_options_with_default_and_meaning() -> None:
    by_name = {entry["name"]: entry for entry in CATALOGUE["models"]()}
    assert by_name["UNet"]["paper"].startswith("Ronneberger 2015")
    assert "TensorFlowFlexUNet" in by_name["UNet"]["aliases"]
    assert by_name["UNet"]["options"]["num_layers"]["default"] == 6
    assert by_name["SwinUNet"]["options"]["num_heads"]["default"] == [4, 8, 8, 8]
    assert by_name["TransUNet"]["options"]["num_heads"]["default"] == 12
    assert by_name["EncoderUNet"]["options"]["backbone"]["default"] == "EfficientNetV2B0"
    for entry in by_name.values():
        assert entry["options"]
        assert all(option["meaning"] for option in entry["options"].values())


def test_every_key_that_switches_a_transform_on_is_listed() -> None:
    entries = CATALOGUE["augmentations"]()
    assert all(entry["keys"] for entry in entries)
    listed_keys = {key for entry in entries for key in entry["keys"]}
    probabilities = {
        f"[augmentation] {key}"
        for key in AugmentationConfig.model_fields
        if not key.startswith(("enabled", "augment_on", "border", "interpolation"))
        and "_" not in key
    }
    switches = {f"[augmentor] {key}" for key in AugmentorConfig.model_fields if key != "angles"}
    assert listed_keys == probabilities | switches | {"[augmentation] low_resolution"}


def test_aliases_resolve_to_their_entry() -> None:
    for entry in CATALOGUE["models"]():
        assert {MODELS.canonical(alias) for alias in entry["aliases"]} <= {entry["name"]}


def test_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["list", "nets"])
    assert caught.value.code == 2
    assert "models" in capsys.readouterr().err
