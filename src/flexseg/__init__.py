"""flexseg: medical image segmentation from one config file."""

__version__ = "0.1.0"
__all__ = ["__version__"]
