"""What is used in a `with` block and closed at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Closing:
    """Something with a `close`, which a `with` block calls however it ends."""

    def close(self) -> None:
        """Finishes. Closing again does nothing."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
