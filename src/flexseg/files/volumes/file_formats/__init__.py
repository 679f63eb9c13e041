"""The file formats of volumes: how each is read and written.

Every module here is imported with the package, so that a format is known by being in one.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
