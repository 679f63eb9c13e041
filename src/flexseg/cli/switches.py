"""Options without a value, as `--help` shows them: newer Typers write `<bool>` behind each."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _Switches:
    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters, also those that Typer adds."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        return parameters


class Command(_Switches, TyperCommand):
    """A command."""


class Group(_Switches, TyperGroup):
    """A command that has others."""
