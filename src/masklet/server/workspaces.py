"""Editing sessions: a folder with a video, an editor of it, and those who watch."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Coroutine, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from masklet.model.sam2 import SegmentationNetwork
from masklet.server import kept
from masklet.server.asked import Asked
from masklet.server.disk import Disk
from masklet.server.document import Document
from masklet.server.editor import Editor
from masklet.server.errors import Refusal
from masklet.server.exports import Export, Taken
from masklet.server.limits import Limits
from masklet.server.pictures import Pictures
from masklet.server.preparing import PreparationError, prepare
from masklet.server.schemas import (
    AnyCommand,
    Attend,
    ExportFormat,
    Find,
    Preview,
    SessionWanted,
    Stop,
    VideoInfo,
)
from masklet.server.turns import Turns
from masklet.server.uploads import Uploads
from masklet.video.file import VideoFile

SAMPLE_NAME = "Sample"
REST_SECONDS = 120.0
"""After so long without a command a session gives its memory back, and takes it again with the next one."""

DECODER_BYTES = 32 << 20
IDENTIFIER_LENGTH = 22
JOURNAL, ASKED = "journal.jsonl", "asked.jsonl"
FILES = (*kept.FILES, JOURNAL, ASKED)
"""What stays in a session's folder once it is ready."""

Answer = Callable[[str, str], object]
"""Gets a sentence on what was wrong, or "", and a mask where one was asked for."""

log = logging.getLogger(__name__)


class Page(Protocol):
    """One socket of a page."""

    def answer(self, number: int | None, error: str, mask: str = "") -> None:
        """Answer a request."""
        ...

    def give_way(self) -> None:
        """The page has come back over another socket."""
        ...


@dataclass(eq=False)
class Workspace:
    """One editing session. ``editor`` and ``video`` are there once it is ready; ``error`` says why it never will be."""

    id: str
    name: str
    folder: Path
    address: str = ""
    """Who opened it."""
    uploads: tuple[str, ...] = ()
    """What it was made of, unless that was before the server started."""
    progress: tuple[int, int] = (0, 0)
    error: str = ""
    video: VideoInfo | None = None
    editor: Editor | None = None
    last_used: float = field(default_factory=time.monotonic)
    last_command: float = field(default_factory=time.monotonic)
    sockets: dict[str, Page] = field(default_factory=dict)
    """The pages that show it, by the name that each has for itself."""
    asked: Asked = field(default_factory=Asked)
    watchers: set[Callable[[], None]] = field(default_factory=set)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    exports: dict[str, Export] = field(default_factory=dict)

    @property
    def video_path(self) -> Path:
        """The video as the browser gets it."""
        return self.folder / "video.mp4"

    @property
    def thumbnails_path(self) -> Path:
        """The strip of thumbnails."""
        return self.folder / "thumbnails.jpg"

    @property
    def pictures(self) -> Pictures:
        """What may lie between background and objects."""
        return Pictures(self.folder / "pictures")

    def described(self) -> dict[str, Any]:
        """What clients are told."""
        state = "failed" if self.error else "ready" if self.editor else "preparing"
        done, total = self.progress
        video = self.video.model_dump() if self.video else None
        return {"id": self.id, "state": state, "done": done, "total": total, "error": self.error, "video": video}

    def ready(self) -> Editor:
        """Raises Refusal while there is no editor."""
        if self.error:
            raise Refusal(410, self.error)
        if self.editor is None:
            raise Refusal(409, "the video is still being made ready; wait for it")
        return self.editor

    @property
    def is_awake(self) -> bool:
        """Whether it holds memory for the network's work."""
        return self.editor is not None and self.editor.is_awake

    def touch(self) -> None:
        """Somebody is there."""
        self.last_used = time.monotonic()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs something that ends with the session."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Workspaces:
    """All editing sessions. Belongs to the thread of the event loop; the network's work goes through ``turns``.

    With ``keeps``, sessions stay in the folder when the server ends, and those that are there are opened again.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        folder: Path,
        limits: Limits,
        uploads: Uploads,
        disk: Disk,
        *,
        keeps: bool = False,
    ) -> None:
        self.turns = Turns()
        self._keeps = keeps
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._folder = folder
        self._limits = limits
        self._uploads = uploads
        self._disk = disk
        self._all: dict[str, Workspace] = {}
        self._preparing = asyncio.Semaphore(2)
        self._exporting = asyncio.Semaphore(2)
        for earlier in sorted(folder.glob("?" * IDENTIFIER_LENGTH)) if keeps else ():
            self._reopen(earlier)

    def __len__(self) -> int:
        return len(self._all)

    def get(self, identifier: str) -> Workspace:
        """Raises Refusal when there is none."""
        if identifier not in self._all:
            raise Refusal(404, "there is no such session, or it has expired; open the video again")
        workspace = self._all[identifier]
        workspace.touch()
        return workspace

    def open(self, wanted: SessionWanted, address: str = "") -> Workspace:
        """Begins a session; it becomes ready in the background. Raises Refusal when there are too many, or no room.

        A client that asks for the same uploads again has lost the answer: the session is there already.
        """
        if wanted.uploads:
            for workspace in self._all.values():
                if workspace.uploads == tuple(wanted.uploads):
                    return workspace
        open_ones = [workspace for workspace in self._all.values() if not workspace.error]
        if len(open_ones) >= self._limits.sessions:
            raise Refusal(503, f"{self._limits.sessions} sessions are open, more than that this server does not take")
        if sum(workspace.address == address for workspace in open_ones) >= self._limits.sessions_per_address:
            raise Refusal(429, f"{self._limits.sessions_per_address} sessions of yours are open; close one of them")
        self._disk.check()
        if wanted.sample == bool(wanted.uploads) or len(wanted.uploads) > self._limits.pictures:
            raise Refusal(422, f"expected the sample, or uploads: one video or 1 to {self._limits.pictures} pictures")
        identifier = secrets.token_urlsafe(16)
        folder = self._folder / identifier
        folder.mkdir(parents=True)
        assert len(identifier) == IDENTIFIER_LENGTH
        workspace = Workspace(identifier, self._name_of(wanted), folder, address, tuple(wanted.uploads))
        try:
            paths = self._sources(wanted, folder)
        except Refusal:
            shutil.rmtree(folder)
            raise
        self._all[identifier] = workspace
        workspace.start(self._make_ready(workspace, paths))
        return workspace

    async def close(self, workspace: Workspace) -> None:
        """Ends a session and removes its files."""
        try:
            await self._leave(workspace)
        finally:
            shutil.rmtree(workspace.folder, ignore_errors=True)

    async def close_all(self) -> None:
        """Ends everything. Sessions that are to be kept leave their files, but for those that were never ready."""
        for workspace in list(self._all.values()):
            try:
                await (self._leave if self._keeps and workspace.editor is not None else self.close)(workspace)
            except Exception:
                log.exception("a session could not be ended")
        await asyncio.to_thread(self.turns.close)

    async def expire(self) -> None:
        """Ends sessions that nobody has looked at for long; lets those rest in which nothing is done."""
        self._uploads.expire(self._limits.idle_minutes * 60)
        for workspace in list(self._all.values()):
            try:
                await self._expire(workspace, time.monotonic())
            except Exception:
                log.exception("an idle session could not be ended as it should")

    async def _expire(self, workspace: Workspace, now: float) -> None:
        idle_minutes = self._limits.failed_minutes if workspace.error else self._limits.idle_minutes
        if not workspace.sockets and now - workspace.last_used > idle_minutes * 60:
            await self.close(workspace)
        elif workspace.editor is not None and workspace.editor.is_busy:
            workspace.last_command = now
        elif workspace.is_awake and now - workspace.last_command > REST_SECONDS:
            self.turns.submit(workspace, workspace.ready().rest)

    async def _leave(self, workspace: Workspace) -> None:
        self._all.pop(workspace.id, None)
        for export in workspace.exports.values():
            export.cancelled.set()
        for task in list(workspace.tasks):
            task.cancel()
        await asyncio.gather(*workspace.tasks, return_exceptions=True)
        for owner in (workspace, *_side_owners(workspace)):
            self.turns.forget(owner)
        if workspace.editor is not None:
            editor, workspace.editor = workspace.editor, None
            editor.stop()
            await self._in_turn(workspace, editor.close)
            workspace.asked.close()
        for export in workspace.exports.values():
            export.remove()
        self._notify(workspace)

    def export(self, workspace: Workspace, format: ExportFormat) -> Export:  # noqa: A002
        """Begins to write the masks as they are now. Raises Refusal while another export runs."""
        taken = Taken.of(workspace.ready().document, workspace.described()["video"], workspace.pictures)
        self._disk.check()
        if any(export.is_running for export in workspace.exports.values()):
            raise Refusal(429, "another export of this session is running; wait for it")
        for old in workspace.exports.values():
            old.remove()
        export = Export(secrets.token_urlsafe(16), format, workspace.folder, self._disk)
        workspace.exports = {export.id: export}
        workspace.start(self._write(export, taken, workspace.video_path))
        return export

    def command(self, workspace: Workspace, command: AnyCommand, answer: Answer) -> None:
        """Has a command carried out in turn. ``answer`` is called in the event loop."""
        editor = workspace.ready()
        workspace.last_command = time.monotonic()
        if isinstance(command, Stop):
            editor.stop()
        if self.turns.waiting(workspace) >= self._limits.waiting_commands:
            answer("too much is waiting to be done; slow down", "")
            return
        tell = partial(self._loop.call_soon_threadsafe, answer)
        attends, finds = _side_owners(workspace)
        if isinstance(command, Attend):
            answer("", "")
            self.turns.follow(attends, _once(lambda: editor.attend(command.frame), lambda *_: None))
        elif isinstance(command, Preview):
            self.turns.submit(workspace, _once(lambda: editor.preview(command), tell))
        else:
            owner = finds if isinstance(command, Find) else workspace
            self.turns.submit(workspace, _once(lambda: self._begin(owner, editor.do(command)), tell))

    def _begin(self, owner: Hashable, steps: Iterator[None] | None) -> None:
        if steps is not None:
            self.turns.follow(owner, partial(_step, steps))

    async def _write(self, export: Export, taken: Taken, video_path: Path) -> None:
        async with self._exporting:
            writing = asyncio.ensure_future(asyncio.to_thread(export.write, taken, video_path))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing  # which ends soon, and until then would make files anew that are removed
                raise

    async def _make_ready(self, workspace: Workspace, paths: list[Path]) -> None:
        def tell(done: int, total: int) -> None:
            workspace.progress = (done, total)

        try:
            async with self._preparing:
                found = await prepare(paths, workspace.folder, self._limits, tell)
            workspace.video = VideoInfo(name=workspace.name, **found)
            kept.save(workspace.folder, workspace.video)
            workspace.editor = self._editor(workspace)
        except PreparationError as error:
            workspace.error = str(error)
        except Exception:
            log.exception("a session could not be made ready")
            workspace.error = "the video could not be made ready, which is a fault of this server"
        finally:
            for path in workspace.folder.glob("*"):
                if path.name not in FILES:
                    path.unlink(missing_ok=True)

    def _reopen(self, folder: Path) -> None:
        """Opens a session of an earlier server again; removes what is none."""
        workspace = Workspace(folder.name, "", folder)
        try:
            workspace.video = kept.load(folder)
            workspace.name = workspace.video.name
            workspace.editor = self._editor(workspace)
        except ValueError:
            log.exception("a session of an earlier server cannot be opened")
            shutil.rmtree(folder, ignore_errors=True)
            return
        for unfinished in folder.glob("export-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        self._all[workspace.id] = workspace

    def _editor(self, workspace: Workspace) -> Editor:
        def notify() -> None:
            self._loop.call_soon_threadsafe(self._notify, workspace)

        path, pictures = workspace.video_path, workspace.pictures
        budget = self._limits.document_bytes
        document = Document(budget_bytes=budget)
        if self._keeps:
            document = Document.replayed(workspace.folder / JOURNAL, budget)
            workspace.asked = Asked(workspace.folder / ASKED)
        return Editor(
            self._network,
            lambda: VideoFile(path, cache_bytes=DECODER_BYTES),
            notify,
            max_objects=self._limits.objects,
            document=document,
            is_picture=pictures.__contains__,
            check_disk=self._disk.check,
            spill_folder=workspace.folder,
        )

    async def _in_turn(self, workspace: Workspace, work: Callable[[], Any]) -> Any:
        """The result of work that belongs to the network's thread."""
        done: asyncio.Future[Any] = self._loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)

        def job() -> None:
            try:
                result, error = work(), None
            except Exception as raised:  # noqa: BLE001 - it is raised again where it is waited for
                result, error = None, raised
            self._loop.call_soon_threadsafe(settle, result, error)

        self.turns.submit(workspace, job)
        return await done

    def _sources(self, wanted: SessionWanted, folder: Path) -> list[Path]:
        if wanted.sample:
            return [Path(str(resources.files("masklet") / "assets" / "demo.mp4"))]
        return self._uploads.take(wanted.uploads, folder)

    def _name_of(self, wanted: SessionWanted) -> str:
        if wanted.sample:
            return SAMPLE_NAME
        return self._uploads.get(wanted.uploads[0]).name or "Video"

    def _notify(self, workspace: Workspace) -> None:
        for watcher in list(workspace.watchers):
            watcher()


def _side_owners(workspace: Workspace) -> tuple[Hashable, Hashable]:
    """Under whose names frames are encoded ahead and objects are looked for, beside what the session tracks."""
    return (workspace, "attend"), (workspace, "find")


def _once(work: Callable[[], str | None], answer: Answer) -> Callable[[], bool]:
    """Work of one turn whose errors are for the user."""

    def turn() -> bool:
        try:
            found = work()
        except (ValueError, IndexError, Refusal) as error:
            answer(str(error), "")
        except Exception:
            log.exception("a command failed")
            answer("this could not be done, which is a fault of the server", "")
        else:
            answer("", found or "")
        return False

    return turn


def _step(steps: Iterator[None]) -> bool:
    """Whether there is more to do."""
    for _ in steps:
        return True
    return False
