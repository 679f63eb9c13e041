"""EncoderUNet: the contract."""

from __future__ import annotations

from contract import ModelContract


class TestEncoderUNet(ModelContract):
    name = "EncoderUNet"
