"""Commands as a shell and the command lines of this project read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer
from typer.models import TyperPath

KEYWORDS = frozenset({"do", "done", "then", "else", "fi", "{", "}", "!"})
ASSIGNMENT = re.compile(r"\w+=")
UsageError: Any = typer.BadParameter.__base__
"""The error of the click that Typer contains, which has no public name there."""


def simple_commands(script: str) -> Iterator[list[str]]:
    """Yield the words of each simple command, without assignments and redirections.

    Expansions are not made, and a command within quotation marks is part of a word.
    """
    joined = re.sub(r"\\\n\s*", "", script)
    for line in joined.splitlines():
        # Only a word that begins with "#" is a comment; shlex takes any "#" for one.
        lexer = shlex.shlex(re.sub(r"(^|\s)#.*", "", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        words: list[str] = []
        redirected = False
        for token in [*lexer, ";"]:
            if set(token) <= set("<>"):
                redirected = True
            elif set(token) <= set("();<>|&"):
                words = _without_prefixes(words)
                if words:
                    yield words
                words, redirected = [], False
            elif redirected:
                redirected = False
            else:
                words.append(token)


def _without_prefixes(words: list[str]) -> list[str]:
    while words and (words[0] in KEYWORDS or ASSIGNMENT.match(words[0])):
        words = words[1:]
    return [] if words[:1] == ["for"] else words


def check_arguments(command: Any, words: list[str], parent: Any = None) -> None:
    """Check that a command line of Typer takes ``words``, without running anything.

    Paths need not exist; other values are converted.

    Raises:
        UsageError: an option or a command does not exist, a value is not what the option takes, or
            a required argument is missing.
    """
    context = command.context_class(command, info_name=command.name, parent=parent)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    if values.get("help"):
        return
    for parameter in command.params:
        value = values.get(parameter.name)
        if parameter.required and value is None:
            raise UsageError(f"{parameter.name} is missing", context)
        if value is not None and not isinstance(parameter.type, TyperPath):
            parameter.type_cast_value(context, value)
    if not hasattr(command, "get_command"):
        if rest:
            raise UsageError(f"{command.name} does not take {rest}", context)
        return
    found = command.get_command(context, rest[0]) if rest else None
    if found is None:
        raise UsageError(f"{rest[:1]} is no command of {command.name}", context)
    check_arguments(found, rest[1:], context)


def unknown_words(command: Any, words: list[str]) -> list[str]:
    """Return what does not exist of the commands and options in a mention of a command line.

    A mention may lack arguments and values.
    """
    context = command.context_class(command, info_name=command.name)
    while words and not words[0].startswith("-") and hasattr(command, "get_command"):
        found = command.get_command(context, words[0])
        if found is None:
            return words[:1]
        command, words = found, words[1:]
    options = {"--help"}.union(*(p.opts + p.secondary_opts for p in command.params))
    return [word for word in words if word.startswith("--") and word not in options]
