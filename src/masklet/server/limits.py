"""What a server takes from those who use it, at most."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Limits:
    """Bounds on what clients can ask of a server. Raises ValueError for bounds that are not positive."""

    upload_bytes: int = 2 << 30
    """Of one file."""
    chunk_bytes: int = 16 << 20
    """Of one request that brings a part of a file."""
    stored_bytes: int = 20 << 30
    """Of all files of the server, together."""
    free_bytes: int = 512 << 20
    """Of the disk, which are left to others."""
    video_bytes: int = 8 << 30
    """Of one video that is made ready."""
    uploads_per_address: int = 1200
    """Files of one address that are not opened yet."""
    pictures: int = 300
    """Files of one video that is made of pictures."""
    seconds: float = 900
    """Length of a video."""
    frames: int = 54_000
    """Number of frames of a video."""
    input_side: int = 4320
    """Longer side of a picture that comes in, in pixels."""
    side: int = 1920
    """Longer side of the pictures that are worked with; larger ones are scaled down."""
    prepare_seconds: float = 3600
    """Time that making a video ready may take."""
    stall_seconds: float = 120
    """Time without a sign of progress after which it is given up."""
    memory_bytes: int = 4 << 30
    """Address space of the process that decodes what was uploaded."""
    picture_bytes: int = 16 << 20
    """Of one picture that lies between background and objects."""
    sessions: int = 40
    """Editing sessions at once."""
    sessions_per_address: int = 20
    """Of these, opened by one address."""
    failed_minutes: float = 5
    """After so long a session that could not be made ready is forgotten."""
    sockets: int = 4
    """Pages that show one session at once."""
    objects: int = 100
    """Objects of one session."""
    json_bytes: int = 64 << 10
    """Of one request other than parts of files and pictures."""
    silence_seconds: float = 20
    """Time without a byte of a request that has begun, after which it is given up."""
    pictures_at_once: int = 4
    """Pictures between background and objects that are taken in at once."""
    picture_seconds: float = 60
    """Time in which such a picture has to come."""
    connections: int = 500
    """At once, of all pages together."""
    document_bytes: int = 256 << 20
    """Of all masks of one session in memory, with those that undo brings back."""
    message_bytes: int = 1 << 20
    """Of one message of a page."""
    waiting_commands: int = 200
    """Of one session, not yet worked on."""
    requests_per_minute: int = 1200
    """Of one address."""
    opened_per_minute: int = 60
    """Sessions begun by one address."""
    idle_minutes: float = 60
    """After so long without a page a session ends and its files are removed."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(f"{field.name} must be more than 0, got {getattr(self, field.name)}")
