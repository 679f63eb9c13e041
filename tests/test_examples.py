"""The configs of examples/ can be used, and say what the originals say of their networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flexseg.config import load
from support import flexseg

EXAMPLES = Path(__file__).parents[1] / "examples"
ORIGINALS = {
    "covid-19": "covid-19",
    "lung-ct": "lung-ct",
    "ms-lesions": "mri-brain-tumor-t2",
    "ovarian-tumour": "ovarian-tumor",
    "spleen": "spleen",
}
# The kept config is of an earlier project on the same data; this is what the later one says.
LATER = {"ovarian-tumour": {"dilation": (3, 3)}}
NETWORK = (
    "image_width", "image_height", "image_channels", "num_classes", "base_filters", "base_kernels",
    "num_layers", "dropout_rate", "dilation", "normalization", "activation", "clipvalue",
)  # fmt: skip


def network(path: Path) -> dict[str, object]:
    from flexseg.models.architecture import MODELS

    config = load(path, run_code=True).experiment.model
    return {key: getattr(config, key) for key in NETWORK} | {"is": MODELS.get(config.model)}


def test_all_are_known() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(ORIGINALS)


@pytest.mark.parametrize("name", ORIGINALS)
def test_example_can_be_used(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert flexseg("check", str(EXAMPLES / f"{name}.toml"), "--no-data", "--strict") == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ORIGINALS)
def test_network_is_that_of_the_original(name: str, shared: Path) -> None:
    found = network(EXAMPLES / f"{name}.toml")
    original = network(shared / "configs" / f"{ORIGINALS[name]}.config")
    assert found == original | LATER.get(name, {})


def test_addresses_are_those_of_the_sources(shared: Path) -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in (shared / "seeds").iterdir())
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    addresses = re.findall(r"<(https?://[^>]+)>", page)
    assert len(addresses) == 10
    assert [address for address in addresses if address not in known] == []
