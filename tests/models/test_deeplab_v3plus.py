"""DeepLabV3+: the contract."""

from __future__ import annotations

from contract import ModelContract


class TestDeepLabV3Plus(ModelContract):
    name = "DeepLabV3Plus"
