"""What clients send and get, checked on the way in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Number = Annotated[int, Field(ge=1, le=1_000_000)]
Frame = Annotated[int, Field(ge=0, le=1_000_000)]
Pixel = Annotated[float, Field(ge=-1e5, le=1e5, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=200)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]
Background = Literal["original", "erase", "blur", "pixelate", "desaturate", "gradient", "spotlight", "cut-out"]
Effect = Literal["overlay", "outline", "original", "erase", "blur", "pixelate", "desaturate", "gradient"]
ExportFormat = Literal["video", "cutout-webm", "png", "png-objects", "coco", "sav", "rle"]


class Strict(BaseModel):
    """Fields that are not known are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class UploadWanted(Strict):
    """A file is to come."""

    size: Annotated[int, Field(gt=0)]
    name: Name = ""


class SessionWanted(Strict):
    """Open the clip that ships with masklet, or what was uploaded: a video, or pictures in order."""

    sample: bool = False
    uploads: Annotated[list[Identifier], Field(max_length=10_000)] = []


class ExportWanted(Strict):
    """Write the session's masks."""

    format: ExportFormat


class VideoInfo(Strict):
    """The video as the browser gets it. Frame n is shown from n / fps seconds on."""

    name: str
    width: int
    height: int
    frames: int
    fps: float
    sound: bool = False
    thumbnails: int
    """Pictures in the strip of thumbnails, evenly spread over the video."""


class Click(Strict):
    """A point on the object, or beside it."""

    op: Literal["click"]
    obj: Number
    frame: Frame
    x: Pixel
    y: Pixel
    positive: bool = True


class DrawBox(Strict):
    """A box around the object, which replaces earlier clicks of the frame."""

    op: Literal["box"]
    obj: Number
    frame: Frame
    x0: Pixel
    y0: Pixel
    x1: Pixel
    y1: Pixel


class DrawMask(Strict):
    """The object's mask as COCO run lengths at the video's size."""

    op: Literal["mask"]
    obj: Number
    frame: Frame
    counts: Annotated[str, Field(max_length=1 << 20)]


class DeletePoint(Strict):
    """Take back one click of a frame."""

    op: Literal["delete_point"]
    obj: Number
    frame: Frame
    index: Annotated[int, Field(ge=0, le=10_000)]


class Clear(Strict):
    """Take back all prompts of an object on a frame."""

    op: Literal["clear"]
    obj: Number
    frame: Frame


class AddObject(Strict):
    """A further object, of a number that is free."""

    op: Literal["add_object"]
    obj: Number
    name: Name
    colour: Colour


class RemoveObject(Strict):
    """An object with all its prompts and masks."""

    op: Literal["remove_object"]
    obj: Number


class ChangeObject(Strict):
    """Rename, colour, show or hide an object."""

    op: Literal["change_object"]
    obj: Number
    name: Name | None = None
    colour: Colour | None = None
    visible: bool | None = None


class Track(Strict):
    """Follow all objects from a frame, forward to one, backward to one, or both; None: not that way."""

    op: Literal["track"]
    start: Frame
    forward_to: Frame | None = None
    backward_to: Frame | None = None


class Retrack(Strict):
    """Follow one object again around a frame that was corrected, as far as that correction counts."""

    op: Literal["retrack"]
    obj: Number
    frame: Frame


class Attend(Strict):
    """The user stays on a frame: make clicks on it quick."""

    op: Literal["attend"]
    frame: Frame


class Preview(Strict):
    """What a click would give. It is answered with a mask, and nothing changes."""

    op: Literal["preview"]
    obj: Number
    frame: Frame
    x: Pixel
    y: Pixel
    positive: bool = True


class Find(Strict):
    """Propose everything that is on a frame."""

    op: Literal["find"]
    frame: Frame


class Picked(Strict):
    """A proposal that becomes an object."""

    proposal: Annotated[int, Field(ge=0, le=10_000)]
    obj: Number
    name: Name
    colour: Colour


class Pick(Strict):
    """Make objects of proposals."""

    op: Literal["pick"]
    picks: Annotated[list[Picked], Field(min_length=1, max_length=1000)]


class Dismiss(Strict):
    """Forget the proposals, or stop looking for them."""

    op: Literal["dismiss"]


class SetLook(Strict):
    """How background and objects look, and the picture between them: its identifier, or None."""

    op: Literal["look"]
    background: Background = "original"
    effect: Effect = "overlay"
    behind: Identifier | None = None


class Stop(Strict):
    """Stop tracking after the frame that is being worked on."""

    op: Literal["stop"]


class Undo(Strict):
    """Take back the last step."""

    op: Literal["undo"]


class Redo(Strict):
    """Do the step again that was taken back last."""

    op: Literal["redo"]


AnyCommand = (
    Click
    | DrawBox
    | DrawMask
    | DeletePoint
    | Clear
    | AddObject
    | RemoveObject
    | ChangeObject
    | Track
    | Retrack
    | Attend
    | Preview
    | Find
    | Pick
    | Dismiss
    | SetLook
    | Stop
    | Undo
    | Redo
)


class Request(Strict):
    """A command with its number, which the answer repeats. Numbers of one client rise."""

    id: Annotated[int, Field(ge=1)]
    command: Annotated[AnyCommand, Field(discriminator="op")]


class Ack(Strict):
    """All changes up to a version have arrived."""

    ack: Annotated[int, Field(ge=0)]


MESSAGE: TypeAdapter[Request | Ack] = TypeAdapter(Request | Ack)
"""Anything that a page sends over its socket."""
