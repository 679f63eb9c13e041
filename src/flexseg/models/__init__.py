"""Networks by name, and their weights. Importing the package registers every network."""

from flexseg.models import networks  # noqa: F401 - registers them
