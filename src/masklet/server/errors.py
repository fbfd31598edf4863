"""Refusals that clients get to read."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - an answer rather than a fault
    """A request that is not carried out, with its HTTP status and a sentence for the user."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
