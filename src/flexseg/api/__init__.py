"""What a notebook writes: a config, train, look at the run, predict.

Nothing is printed; what is worth knowing goes to the logger `flexseg`. All errors are
`FlexsegError`s. Keras and the engines are imported as soon as something is trained or loaded.
"""

from flexseg.api.new_config import init
from flexseg.api.trained_model import Model
from flexseg.api.training_run import Run, train

__all__ = ["Model", "Run", "init", "train"]
