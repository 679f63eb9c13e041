"""EfficientNetB7UNet: the contract."""

from __future__ import annotations

import pytest
from contract import ModelContract

from flexseg.models import efficientnet_b7_unet


class TestEfficientNetB7UNet(ModelContract):
    """On the smallest encoder of the family, whose blocks have the same names."""

    name = "EfficientNetB7UNet"

    @pytest.fixture(autouse=True)
    def small_encoder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(efficientnet_b7_unet, "BACKBONE", "EfficientNetB0")
