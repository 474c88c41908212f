"""Name -> thing tables: one plug point is one table.

Built-ins join with `add`, exactly as third parties do; packages that declare an entry point in the table's group are
loaded the first time a name isn't found among the built-ins or the table is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from visiglot.errors import UnknownNameError, VisiglotError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of things under names.

    Args:
        kind: what the things are called in messages ("connector").
        modules: modules whose import fills the table; imported at the first look-up, so that a table costs nothing
            until it is used.
    """

    def __init__(self, kind: str, *, modules: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.group = f"visiglot.{kind.replace(' ', '_')}s"
        self._things: dict[str, T] = {}
        self._modules = modules
        self._filled = False
        self._filling = False

    def add(self, name: str, thing: T) -> T:
        """Put `thing` under `name`.

        Raises:
            VisiglotError: the name is taken by something else.
        """
        taken = self._things.get(name)
        if taken is not None and taken is not thing:
            raise VisiglotError(
                f"{self.kind} {name!r} is already {taken!r}", hint=f"Register {thing!r} under another name."
            )
        self._things[name] = thing
        return thing

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`."""
        return lambda thing: self.add(name, thing)

    def get(self, name: str) -> T:
        """The thing under `name`.

        Raises:
            UnknownNameError: with the nearest names.
        """
        self._fill()
        if name not in self._things:
            raise UnknownNameError(self.kind, name, self._things)
        return self._things[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._fill()
        return sorted(self._things)

    def items(self) -> Iterator[tuple[str, T]]:
        """All names with their things, sorted by name."""
        self._fill()
        return iter(sorted(self._things.items()))

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._things

    def _fill(self) -> None:
        """Import what belongs into the table; once that failed, the next look-up tries again.

        Raises:
            VisiglotError: another package's entry can't be loaded, or takes a name that is taken.
        """
        if self._filled or self._filling:
            return
        self._filling = True
        try:
            for module in self._modules:
                import_module(module)
            for point in entry_points(group=self.group):
                self.add(point.name, self._load(point))
            self._filled = True
        finally:
            self._filling = False

    def _load(self, point: EntryPoint) -> T:
        try:
            thing: T = point.load()
        except Exception as error:  # the code of another package
            package = point.dist.name if point.dist is not None else point.value
            raise VisiglotError(
                f"{self.kind} {point.name!r} of the package {package} can't be loaded ({point.value}): "
                f"{type(error).__name__}: {error}",
                hint=f"Update or uninstall {package}.",
            ) from error
        return thing
