"""Every command in the documentation is one that exists, or is known to belong to another program.

``e2e/test_docs`` and others run the commands that need little. Here, options are parsed as the
commands do it, and nothing runs.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

import deepfake_eval.cli.app
import deepfake_service.cli.app
import deepfake_training.cli
from tests.support.documents import DOCS, PAGES, ROOT, code_blocks, text_of, without_fenced

KEYWORDS = frozenset({"do", "done", "then", "else", "fi", "{", "}", "!"})
ASSIGNMENT = re.compile(r"\w+=")
UsageError: Any = typer.BadParameter.__base__
"""The error of the click that Typer contains, which has no public name there."""
TOOLS = {
    name: typer.main.get_command(app)
    for name, app in {
        "deepfake": deepfake_service.cli.app.app,
        "deepfake-eval": deepfake_eval.cli.app.app,
        "deepfake-train": deepfake_training.cli.app,
    }.items()
}
OTHERS = {
    "e2e/test_verify_by_hand runs them": (
        ". base64 cat diff find grep jq openssl pdfsig printf sha256sum sort stat unzip"
    ),
    "they change the machine": (
        "apt-get cp export git install sudo systemctl systemd-run umask useradd"
    ),
    "they need a container engine or a cluster; unit/deploy checks their files": (
        "docker kubectl make-secrets.sh"
    ),
    "they install packages from a network": "pip",
    "they are of other projects": "cd python python3 python3.13",
}
"""Commands that are not parsed here, by the reason."""
LISTED = frozenset(" ".join(OTHERS.values()).split())

FENCE = re.compile(r" *```(\w*)\n(.*?) *```$", re.DOTALL)
MENTION = re.compile(r"`(deepfake(?:-eval|-train)? [^`]+)`")
URL = re.compile(r"https?://[^/\s]+(/v1/[^\s?]*)")


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


def _takes_path(parameter: Any) -> bool:
    """Return whether a parameter is a path. Typer describes types since 0.29; before, click did."""
    return "Path" in repr(getattr(parameter, "type_descriptor", None) or parameter.type)


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
        if value is not None and not _takes_path(parameter):
            parameter.process_value(context, value)
    if not hasattr(command, "get_command"):
        if rest:
            raise UsageError(f"{command.name} does not take {rest}", context)
        return
    found = None
    with contextlib.suppress(UsageError):
        _, found, words = command.resolve_command(context, rest or [""])
    if found is None:
        raise UsageError(f"{rest[:1]} is no command of {command.name}", context)
    check_arguments(found, words, context)


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


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yield the blocks of a page in these languages; indented ones are in ``sh``."""
    for block in code_blocks(text_of(page)):
        fence = FENCE.match(block)
        if (fence[1] if fence else "sh") in languages:
            yield fence[2] if fence else block


def commands() -> list[Any]:
    found = {}
    for page in PAGES:
        if page.name == "ten-calls.md":  # integration/test_client runs them
            continue
        scripts = list(blocks(page, "sh"))
        for text in blocks(page, "text"):  # examples of commands, of their output, of formats
            scripts += re.findall(r"^deepfake(?:-\w+)? (?:[^\n\\]|\\\n)+", text, re.MULTILINE)
        for script in scripts:
            for words in simple_commands(script):
                found.setdefault(tuple(words), page.relative_to(ROOT))
    return [pytest.param(list(w), id=f"{page}: {' '.join(w)}") for w, page in found.items()]


def paths_of_api() -> list[re.Pattern[str]]:
    """Return the paths of the description, which another test compares with the API."""
    paths = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))["paths"]
    return [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in sorted(paths)]


def test_commands_of_every_kind_are_found() -> None:
    lines = [param.id for param in commands()]
    assert len(lines) > 80
    for expected in (
        "docs/training.md: deepfake-train run",
        "docs/training.md: deepfake-train weights",
        "docs/performance.md: .venv/bin/deepfake-eval bench",
        "docs/incidents.md: deepfake restore",
        "docs/jobs.md: curl",
        "README.ko.md: make serve",
    ):
        assert [line for line in lines if line.startswith(expected)], expected


@pytest.mark.parametrize("words", commands())
def test_a_command_exists(words: list[str]) -> None:
    name = Path(words[0]).name or words[0]
    if name in TOOLS:
        check_arguments(TOOLS[name], words[1:])
    elif name == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in words[1:] if "=" not in word and word not in targets] == []
    elif name == "curl":
        (path,) = [match[1] for word in words if (match := URL.match(word))]
        assert [known for known in paths_of_api() if known.fullmatch(path)], path
    else:
        assert name in LISTED, "check it here, or add it to OTHERS with the reason"


def mentions() -> list[str]:
    """Return the command lines within sentences of pages that describe this version."""
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]
    texts = [" ".join(without_fenced(text_of(page)).split()) for page in pages]
    return sorted({span for text in texts for span in MENTION.findall(text)})


def test_commands_and_options_within_sentences_exist() -> None:
    found = mentions()
    assert len(found) > 30
    for line in found:
        for name, *words in simple_commands(line):
            assert unknown_words(TOOLS[name], words) == [], line


class Namespace(ast.NodeVisitor):
    """The names that code imports, and the calls of them that do not fit their signatures."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}
        self.checked = 0

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.names[alias.asname or alias.name] = importlib.import_module(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.module
        for alias in node.names:
            try:
                value = importlib.import_module(f"{node.module}.{alias.name}")
            except ModuleNotFoundError:
                value = getattr(importlib.import_module(node.module), alias.name)
            self.names[alias.asname or alias.name] = value

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        self._value(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        function = self._value(node.func)
        if inspect.isclass(function) or inspect.isfunction(function):
            named = {keyword.arg: None for keyword in node.keywords if keyword.arg}
            inspect.signature(function).bind(*node.args, **named)
            self.checked += 1

    def _value(self, node: ast.expr) -> Any:
        """Return what an expression such as ``get_job.sync`` is, if it begins with an import."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._value(node.value)
            return None if owner is None else getattr(owner, node.attr)
        return None


@pytest.mark.parametrize("page", [page for page in PAGES if list(blocks(page, "python"))], ids=str)
def test_python_code_uses_what_exists(page: Path) -> None:
    for code in blocks(page, "python"):
        namespace = Namespace()
        namespace.visit(ast.parse(code, page.name))
        assert namespace.checked
