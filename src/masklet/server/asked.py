"""What pages asked for, so that a command that is sent again after a lost connection is carried out once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from masklet.server.journal import Journal, entries

CLIENTS = 64
"""Pages of one session that are remembered; those that asked for nothing for longest are forgotten."""

ANSWERS = 256
"""Last answers that are remembered of each."""


@dataclass
class Client:
    """Of one page: the number of its last request, those not answered yet, and the sentences of the last answers."""

    last: int = 0
    waiting: set[int] = field(default_factory=set)
    answers: dict[int, str] = field(default_factory=dict)

    def settle(self, number: int, error: str) -> None:
        """A request got its answer."""
        self.waiting.discard(number)
        self.last = max(self.last, number)
        self.answers[number] = error
        if len(self.answers) > ANSWERS:
            del self.answers[next(iter(self.answers))]


class Asked:
    """The requests of all pages of one session. With a file, answers outlive the server."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises ValueError for a file that holds something else."""
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._journal: Journal | None = None
        if path is not None:
            for name, number, error in entries(path):
                self._client(name).settle(number, error)
            self._journal = self._rewritten(path)

    def begin(self, name: str, number: int) -> bool:
        """Whether this is a new request, whose answer is waited for from now on."""
        client = self._client(name)
        if number <= client.last:
            return False
        client.last = number
        client.waiting.add(number)
        return True

    def answer_of(self, name: str, number: int) -> str | None:
        """The sentence that answered an earlier request, "" for one of long ago; None while it is waited for."""
        client = self._client(name)
        return None if number in client.waiting else client.answers.get(number, "")

    def settle(self, name: str, number: int, error: str) -> None:
        """A request was carried out, or could not be."""
        self._client(name).settle(number, error)
        if self._journal is not None:
            self._journal.write(name, number, error)

    def close(self) -> None:
        """End the file."""
        if self._journal is not None:
            self._journal.close()

    def _client(self, name: str) -> Client:
        client = self._clients.setdefault(name, Client())
        self._clients.move_to_end(name)
        if len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)
        return client

    def _rewritten(self, path: Path) -> Journal:
        """A file of no more than what is remembered."""
        path.unlink(missing_ok=True)
        journal = Journal(path)
        for name, client in self._clients.items():
            for number, error in client.answers.items():
                journal.write(name, number, error)
        return journal
