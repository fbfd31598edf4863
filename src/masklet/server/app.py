"""The application: `make_app(network)` is all of it, `serve` runs it."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from masklet.model.sam2 import SegmentationNetwork
from masklet.server.disk import Disk
from masklet.server.errors import Refusal
from masklet.server.kept import owned
from masklet.server.limits import Limits
from masklet.server.routes import api
from masklet.server.security import Allowances, Guard
from masklet.server.state import State
from masklet.server.uploads import Uploads
from masklet.server.workspaces import Workspaces

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
LOOK_EVERY_SECONDS = 30.0
log = logging.getLogger(__name__)
STATIC = Path(str(resources.files("masklet.server") / "static"))


def make_app(
    network: SegmentationNetwork,
    *,
    limits: Limits | None = None,
    hosts: Iterable[str] = LOCAL_NAMES,
    token: str | None = None,
    folder: Path | None = None,
    keep: Path | None = None,
) -> FastAPI:
    """The web application.

    ``hosts`` are the names by which browsers may call it ("*": any), ``token`` what they have to know, ``folder`` where
    videos lie while they are worked on (by default in the system's temporary folder). With ``keep`` sessions lie in
    that folder and outlive the server; starting fails with ValueError where another server uses it.
    """
    bounds = limits or Limits()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with owned(keep) if keep else _temporary(folder) as place:
            disk = Disk(place, bounds.stored_bytes, bounds.free_bytes)
            uploads = Uploads(place / "uploads", bounds, disk)
            workspaces = Workspaces(network, place / "sessions", bounds, uploads, disk, keeps=keep is not None)
            app.state.masklet = State(
                bounds,
                disk,
                uploads,
                workspaces,
                Allowances(bounds.opened_per_minute),
                asyncio.Semaphore(bounds.pictures_at_once),
            )
            looking = asyncio.create_task(_expire(workspaces))
            try:
                yield
            finally:
                looking.cancel()
                await asyncio.wait([looking])
                await workspaces.close_all()

    app = FastAPI(title="masklet", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, hosts=tuple(hosts), token=token, limits=bounds)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _not_done)
    app.include_router(api)
    app.mount("/", PageFiles(directory=STATIC, html=True))
    return app


class PageFiles(StaticFiles):
    """The page. What it names bears its content in its name; the page itself is asked for again each time."""

    def file_response(self, full_path: Any, *rest: Any, **options: Any) -> Response:
        """With a header for the page itself."""
        response = super().file_response(full_path, *rest, **options)
        if str(full_path).endswith(".html"):
            response.headers["Cache-Control"] = "no-cache"
        return response


def serve(app: FastAPI, host: str, port: int, limits: Limits) -> None:
    """Runs the application until it is interrupted."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        ws_max_size=limits.message_bytes,
        ws_max_queue=8,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=5,
        server_header=False,
    )


@contextmanager
def _temporary(folder: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="masklet-serve-", dir=folder) as name:
        yield Path(name)


async def _expire(workspaces: Workspaces) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        try:
            await workspaces.expire()
        except Exception:
            log.exception("looking for idle sessions failed; it is done again")


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return JSONResponse({"error": str(error)}, error.status)


def _not_done(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _not_valid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)
