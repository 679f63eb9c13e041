"""The figures of an evaluation: how they are computed, and what a reader must know of them.

Every module here is imported with the package, so that a metric is known by being in one.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
