"""What can be asked for over HTTP. docs/server.md lists it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket
from fastapi.responses import FileResponse

from masklet.server.errors import Refusal
from masklet.server.exports import MEDIA_TYPES, Export
from masklet.server.live import CODES, Live
from masklet.server.schemas import ExportWanted, SessionWanted, UploadWanted
from masklet.server.state import State, state_of
from masklet.server.workspaces import Workspace

api = APIRouter(prefix="/api")
Server = Annotated[State, Depends(state_of)]
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0)]


def opened_here(request: Request, state: Server) -> Workspace:
    """The session in the path."""
    return state.workspaces.get(request.path_params["session"])


def exported_here(request: Request, workspace: Here) -> Export:
    """The export in the path."""
    export = workspace.exports.get(request.path_params["export"])
    if export is None:
        raise Refusal(404, "there is no such export, or a later one took its place")
    return export


Here = Annotated[Workspace, Depends(opened_here)]
ExportHere = Annotated[Export, Depends(exported_here)]


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


@api.get("/limits")
def limits(state: Server) -> dict[str, float]:
    """What a page has to know before it uploads."""
    known = state.limits
    return {
        "upload_bytes": known.upload_bytes,
        "chunk_bytes": known.chunk_bytes,
        "pictures": known.pictures,
        "seconds": known.seconds,
    }


@api.post("/uploads", status_code=201)
async def begin_upload(wanted: UploadWanted, request: Request, state: Server) -> dict[str, Any]:
    """Announce a file."""
    upload = state.uploads.begin(wanted.size, wanted.name, _address(request))
    return {"id": upload.id, "offset": upload.offset, "size": upload.size}


@api.head("/uploads/{upload}")
async def upload_offset(upload: str, state: Server) -> Response:
    """How much has arrived."""
    return Response(headers={"Upload-Offset": str(state.uploads.get(upload).offset), "Cache-Control": "no-store"})


@api.patch("/uploads/{upload}", status_code=204)
async def append_to_upload(upload: str, request: Request, state: Server, offset: Offset) -> Response:
    """Send a part."""
    if request.headers.get("content-type") != "application/offset+octet-stream":
        raise Refusal(415, "expected the content type application/offset+octet-stream")
    grown = await state.uploads.append(upload, offset, request.stream())
    return Response(status_code=204, headers={"Upload-Offset": str(grown.offset)})


@api.post("/sessions", status_code=201)
async def open_session(wanted: SessionWanted, request: Request, state: Server) -> dict[str, Any]:
    """Open the sample or what was uploaded."""
    if not state.opened.take(_address(request)):
        raise Refusal(429, "too much was opened in a short time; wait a minute")
    return state.workspaces.open(wanted, _address(request)).described()


@api.get("/sessions/{session}")
async def session(workspace: Here) -> dict[str, Any]:
    """Whether it is ready, and about its video."""
    return workspace.described()


@api.delete("/sessions/{session}", status_code=204)
async def close_session(workspace: Here, state: Server) -> None:
    """End it and remove its files."""
    await state.workspaces.close(workspace)


@api.get("/sessions/{session}/video.mp4")
async def video(workspace: Here) -> FileResponse:
    """The video; parts of it on demand."""
    workspace.ready()
    return FileResponse(
        workspace.video_path, media_type="video/mp4", headers={"Cache-Control": "private, max-age=3600"}
    )


@api.get("/sessions/{session}/thumbnails.jpg")
async def thumbnails(workspace: Here) -> FileResponse:
    """The strip of thumbnails."""
    workspace.ready()
    return FileResponse(workspace.thumbnails_path, media_type="image/jpeg")


@api.post("/sessions/{session}/pictures", status_code=201)
async def add_picture(workspace: Here, request: Request, state: Server) -> dict[str, str]:
    """Bring a picture that lies between background and objects."""
    workspace.ready()
    if request.headers.get("content-type") != "image/png":
        raise Refusal(415, "expected the content type image/png")
    assert workspace.video is not None
    video_hw = (workspace.video.height, workspace.video.width)
    state.disk.check(state.limits.picture_bytes)
    async with state.pictures:
        try:
            data = await asyncio.wait_for(request.body(), state.limits.picture_seconds)
        except asyncio.TimeoutError as error:
            raise Refusal(408, "the picture came too slowly; send it again") from error
        return {"id": await asyncio.to_thread(workspace.pictures.add, data, video_hw)}


@api.get("/sessions/{session}/pictures/{picture}")
async def picture(workspace: Here, picture: str) -> FileResponse:
    """Such a picture."""
    return FileResponse(workspace.pictures.path(picture), media_type="image/png")


@api.post("/sessions/{session}/exports", status_code=202)
async def begin_export(workspace: Here, wanted: ExportWanted, state: Server) -> dict[str, Any]:
    """Write the masks as they are now."""
    return state.workspaces.export(workspace, wanted.format).described()


@api.get("/sessions/{session}/exports/{export}")
async def export_state(export: ExportHere) -> dict[str, Any]:
    """How far an export is."""
    return export.described()


@api.get("/sessions/{session}/exports/{export}/file")
async def export_file(export: ExportHere) -> FileResponse:
    """The file."""
    if export.path is None:
        raise Refusal(409, export.error or "the file is still being written; wait for it")
    return FileResponse(export.path, media_type=MEDIA_TYPES[export.path.suffix], filename=export.name)


@api.websocket("/sessions/{session}/live")
async def live(
    socket: WebSocket,
    session: str,
    client: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{8,64}$")],
    since: Annotated[int, Query(ge=0)] = 0,
) -> None:
    """Edit."""
    state = state_of(socket)
    await socket.accept()
    try:
        workspace = state.workspaces.get(session)
        workspace.ready()
        if client not in workspace.sockets and len(workspace.sockets) >= state.limits.sockets:
            raise Refusal(429, "too many pages show this session; close one")
    except Refusal as refusal:
        await socket.close(CODES[refusal.status], str(refusal)[:120])
        return
    await Live(socket, state.workspaces, workspace, client).run(since)
