"""What one running server holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from masklet.server.disk import Disk
from masklet.server.limits import Limits
from masklet.server.security import Allowances
from masklet.server.uploads import Uploads
from masklet.server.workspaces import Workspaces


@dataclass(frozen=True)
class State:
    """Everything that requests share."""

    limits: Limits
    disk: Disk
    uploads: Uploads
    workspaces: Workspaces
    opened: Allowances
    pictures: asyncio.Semaphore
    """Held while a picture is taken in."""


def state_of(connection: HTTPConnection) -> State:
    """The state of the server that a request came to."""
    return connection.app.state.masklet
