"""Find data sets, heads and detectors in packages that are installed beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from deepfake_models.errors import DeepfakeError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """What is ``built_in``, and what other packages bring as entry points of ``group``, by name.

    A package is imported once something of it is looked up, and not to list names.
    """

    def __init__(
        self,
        group: str,
        built_in: Mapping[str, T],
        error: type[DeepfakeError],
        accepts: Callable[[object], bool],
    ) -> None:
        self.group, self.built_in, self.error, self.accepts = group, built_in, error, accepts

    def __iter__(self) -> Iterator[str]:
        brought = entry_points(group=self.group).names
        return iter(dict.fromkeys([*self.built_in, *sorted(brought)]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def __getitem__(self, name: str) -> T:
        """Return what has this name.

        Raises:
            KeyError: nothing has.
            DeepfakeError: ``error``, if several things have this name, or what a package brings
                cannot be imported or is of another type; the message names the package.
        """
        brought = list(entry_points(group=self.group, name=name))
        by = " and ".join(map(_distribution, brought))
        if len(brought) > 1 or (brought and name in self.built_in):
            others = "another" if len(brought) > 1 else "one that is built in"
            raise self.error(
                f"{self.group}: {name!r} of {by} has the name of {others}. Rename or uninstall it."
            )
        if not brought:
            return self.built_in[name]
        try:
            found: T = brought[0].load()
        except Exception as error:  # code of others may raise anything
            raise self.error(
                f"{self.group}: {name!r} of {by} cannot be imported ({type(error).__name__}: "
                f"{error}). Correct {brought[0].value}, or uninstall it."
            ) from error
        if not self.accepts(found):
            raise self.error(
                f"{self.group}: {name!r} of {by} is of the wrong type, {type(found).__name__}. "
                f"Correct {brought[0].value}."
            )
        return found


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
