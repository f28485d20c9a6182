"""Commands of ``deepfake`` whose modules are imported when they are needed."""

from __future__ import annotations

import importlib.util
from typing import Any

import typer.main
from typer.core import TyperGroup

MODULES = {
    "accounts": "admin",
    "keys": "admin",
    "audit": "admin",
    "evidence": "verify",
    "clock": "clock",
    "submit": "submit",
    "verify": "verify",
}
"""The module of ``deepfake_service.cli`` by the name of the command, which is that of its Typer."""


class CommandsOnDemand(TyperGroup):
    """The group of all commands. Those of ``MODULES`` are imported when they are run or listed:
    they import what would delay the start of the others by a second."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands for which the packages are installed."""
        found = importlib.util.find_spec("structlog") is not None  # as every one of the service's
        return list(dict.fromkeys([*super().list_commands(ctx), *(MODULES if found else ())]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, after importing its module; ``None`` if there is none of this name."""
        if cmd_name in MODULES and cmd_name not in self.commands:
            module = importlib.import_module(f"deepfake_service.cli.{MODULES[cmd_name]}")
            command = typer.main.get_command(getattr(module, cmd_name))
            command.name = cmd_name
            self.add_command(command, cmd_name)
        return super().get_command(ctx, cmd_name)
