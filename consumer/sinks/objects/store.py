"""The port to a store of objects that are created whole and never overwritten."""

from collections.abc import Callable, Iterator
from typing import IO, Protocol

Fill = Callable[[IO[bytes]], None]


class Store(Protocol):
    """A bucket and a prefix, or a directory. Names are relative paths. Thread-safe."""

    def check(self) -> None:
        """Check that objects can be created, and that the store does not overwrite them.

        Raises:
            ConfigurationError: an operator has to change something.
            SinkUnavailable: the store does not respond now.
        """
        ...

    def create(self, name: str, fill: Fill) -> bool:
        """Create an object from what `fill` writes. Return False if there is one of this name already.

        Raises:
            SinkUnavailable: the object is created or not; the caller tries again.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is an object of this name.

        Raises:
            SinkUnavailable: the store cannot tell now.
        """
        ...

    # For commands that read dead letters, and delete them

    def names(self) -> Iterator[str]:
        """Iterate over the names of all objects, in any order.

        Raises:
            SinkUnavailable: the store cannot tell now.
        """
        ...

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if there is none of this name.

        Raises:
            SinkUnavailable: it cannot be read now.
        """
        ...

    def replace(self, name: str, content: bytes) -> None:
        """Replace an object at once, or delete it if `content` is empty.

        Raises:
            SinkUnavailable: it is replaced or not.
        """
        ...
