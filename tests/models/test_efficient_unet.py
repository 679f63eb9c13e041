"""EfficientUNet: the contract."""

from __future__ import annotations

from contract import ModelContract


class TestEfficientUNet(ModelContract):
    name = "EfficientUNet"
