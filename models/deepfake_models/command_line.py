"""Command-line options in groups, for the commands of all rooms."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

_Command = TypeVar("_Command", bound=Callable[..., None])


def flatten_options(command: _Command) -> _Command:
    """Give Typer one option for each field of the dataclasses that ``command`` takes. Typer reads
    options from the signature of a function. This lets a command take them in groups."""
    groups: dict[str, type[Any]] = {}
    options: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = parameter.annotation
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            groups[parameter.name] = group
            options += inspect.signature(group, eval_str=True).parameters.values()
        else:
            options.append(parameter)

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        for name, group in groups.items():
            fields = {f.name: values.pop(f.name) for f in dataclasses.fields(group)}
            values[name] = group(**fields)
        command(**values)

    flat.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]
    )
    flat.__annotations__ = {option.name: option.annotation for option in options}
    return flat  # type: ignore[return-value]
