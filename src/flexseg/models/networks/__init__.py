"""The networks of the registry, one module each; importing the package registers them all."""

from importlib import import_module
from pkgutil import iter_modules


def register_all() -> None:
    """Import every module of this package; an error in one of them is not hidden."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")


register_all()
