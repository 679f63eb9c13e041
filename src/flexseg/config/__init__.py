"""Configuration: schema, the two syntaxes, and what a check of them found."""

from flexseg.config.findings import Finding, Severity
from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import Experiment

__all__ = ["Experiment", "Finding", "LoadedConfig", "Severity", "load"]
