"""Networks by name, and their weights.

Importing the package registers every network, and with Keras all layers, activations, losses,
metrics and optimizers, so that `keras.saving.load_model` reads a `.keras` file of a network.
"""

from flexseg import losses  # noqa: F401 - registers
from flexseg.models import networks, optimizers, own_network  # noqa: F401 - register
from flexseg.models.build import build_model

__all__ = ["build_model"]
