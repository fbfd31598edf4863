from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masklet.masks import decode_rle, encode_rle
from masklet.model.sam2 import SegmentationNetwork
from masklet.server import proposals
from masklet.server.document import Document, MaskValue
from masklet.server.editor import Editor
from masklet.server.schemas import MESSAGE, Preview, Request
from masklet.sessions.everything import Search
from masklet.sessions.video import VideoSession
from masklet.video.file import VideoFile

LAST = 9
PICTURE = "0" * 32


@pytest.fixture
def editor(network: SegmentationNetwork, clip: Path) -> Iterator[Editor]:
    made = Editor(
        network, lambda: VideoFile(clip), lambda: None, max_objects=3, is_picture=lambda name: name == PICTURE
    )
    yield made
    made.close()


def do(editor: Editor, op: str, steps: int | None = None, **values: Any) -> int:
    """Carries out a command and, of tracking, so many steps or all: how many there were."""
    message = MESSAGE.validate_python({"id": 1, "command": {"op": op, **values}})
    assert isinstance(message, Request)
    running = editor.do(message.command)
    done = 0
    while running is not None and done != steps and next(running, "end") is None:
        done += 1
    return done


def add(editor: Editor, obj: int = 1) -> None:
    do(editor, "add_object", obj=obj, name=f"Object {obj}", colour="#ff0000")


def click(editor: Editor, obj: int = 1, frame: int = 0, x: float = 40, y: float = 30, positive: bool = True) -> None:
    do(editor, "click", obj=obj, frame=frame, x=x, y=y, positive=positive)


def followed(editor: Editor) -> None:
    """One object, clicked on the first frame and tracked to the last."""
    add(editor)
    click(editor)
    assert do(editor, "track", start=0, forward_to=LAST) == LAST + 1


def masks(editor: Editor, obj: int = 1) -> list[MaskValue | None]:
    return [mask(editor, frame, obj) for frame in range(LAST + 1)]


def mask(editor: Editor, frame: int, obj: int = 1) -> MaskValue | None:
    return editor.document.get("mask", obj, frame)


def state(editor: Editor) -> dict[Any, Any]:
    kinds = ("object", "prompts", "mask")
    return {key: value for kind in kinds for key, value in editor.document.items(kind)}


def test_a_click_gives_a_mask_on_its_frame_and_tracking_one_on_every_frame(editor: Editor):
    add(editor)
    click(editor)
    found = mask(editor, 0)
    assert found is not None
    assert not found.tracked
    assert decode_rle({"size": [64, 96], "counts": found.counts}).sum() == found.area > 0
    do(editor, "track", start=0, forward_to=LAST)
    assert [mask(editor, frame) is not None for frame in range(LAST + 1)] == [True] * (LAST + 1)
    assert mask(editor, 0) == found
    assert editor.document.get("status")["tracking"] is None


def test_tracking_goes_both_ways_and_keeps_to_a_range(editor: Editor):
    add(editor)
    click(editor, frame=5)
    assert do(editor, "track", start=5, forward_to=7, backward_to=3) == 6
    assert [frame for frame in range(LAST + 1) if mask(editor, frame)] == [3, 4, 5, 6, 7]


def test_tracking_tells_how_far_it_is_and_stops_at_once(editor: Editor):
    add(editor)
    click(editor)
    assert do(editor, "track", steps=2, start=0, forward_to=LAST) == 2
    assert editor.document.get("status")["tracking"] == {
        "frame": 1,
        "done": 2,
        "total": LAST + 1,
        "obj": None,
    }
    editor.stop()
    assert editor._running is not None
    assert next(editor._running, "end") == "end"
    assert editor.document.get("status")["tracking"] is None
    assert mask(editor, 2) is None


def test_every_step_can_be_undone_and_done_again(editor: Editor):
    states = [state(editor)]
    for command in (
        lambda: add(editor),
        lambda: click(editor),
        lambda: click(editor, x=70, y=50, positive=False),
        lambda: do(editor, "track", start=0, forward_to=LAST),
        lambda: click(editor, frame=5, x=20, y=20),
        lambda: do(editor, "delete_point", obj=1, frame=0, index=1),
        lambda: do(editor, "box", obj=1, frame=7, x0=10, y0=10, x1=50, y1=60),
        lambda: do(editor, "change_object", obj=1, name="Bottle", visible=False),
        lambda: do(editor, "clear", obj=1, frame=7),
        lambda: do(editor, "remove_object", obj=1),
    ):
        command()
        states.append(state(editor))
        assert states[-1] != states[-2]
    for expected in states[-2::-1]:
        do(editor, "undo")
        assert state(editor) == expected
    assert not editor.document.get("status")["can_undo"]
    for expected in states[1:]:
        do(editor, "redo")
        assert state(editor) == expected


def test_after_an_undo_the_network_knows_what_the_user_sees(editor: Editor):
    followed(editor)
    click(editor, x=70, y=50, positive=False)
    do(editor, "undo")
    click(editor, frame=5, x=20, y=20, positive=False)
    assert editor.document.get("prompts", 1, 5)["points"] == [[20.0, 20.0, 0]]
    assert editor.document.get("prompts", 1, 5)["mask"] == mask_before(editor, 5)


def mask_before(editor: Editor, frame: int) -> str:
    do(editor, "undo")
    found = mask(editor, frame)
    assert found is not None
    do(editor, "redo")
    return found.counts.decode()


def test_a_click_taken_back_leaves_the_answer_to_the_others(editor: Editor):
    add(editor)
    click(editor)
    alone = mask(editor, 0)
    click(editor, x=70, y=50, positive=False)
    do(editor, "delete_point", obj=1, frame=0, index=1)
    assert mask(editor, 0) == alone
    do(editor, "delete_point", obj=1, frame=0, index=0)
    assert mask(editor, 0) is None
    assert editor.document.get("prompts", 1, 0) is None


def test_a_click_beside_the_object_may_stay_alone_where_the_object_was_tracked(editor: Editor):
    followed(editor)
    click(editor, frame=5, x=70, y=50, positive=False)
    alone = mask(editor, 5)
    click(editor, frame=5)
    do(editor, "delete_point", obj=1, frame=5, index=1)
    assert editor.document.get("prompts", 1, 5)["points"] == [[70, 50, 0]]
    assert mask(editor, 5) == alone


def test_a_click_beside_the_object_may_not_stay_alone_elsewhere(editor: Editor):
    add(editor)
    click(editor)
    click(editor, x=70, y=50, positive=False)
    before = state(editor)
    with pytest.raises(ValueError, match="only where the object is not"):
        do(editor, "delete_point", obj=1, frame=0, index=0)
    assert state(editor) == before
    do(editor, "delete_point", obj=1, frame=0, index=1)
    do(editor, "track", start=0, forward_to=LAST)
    assert mask(editor, LAST) is not None


def test_only_what_a_correction_reaches_is_followed_again_and_one_undo_takes_both_back(editor: Editor):
    followed(editor)
    click(editor, frame=7, x=60, y=40)
    add(editor, 2)
    click(editor, 2, x=80, y=10)
    do(editor, "track", start=0, forward_to=LAST)
    before, others = masks(editor), masks(editor, 2)
    click(editor, frame=3, x=70, y=50, positive=False)
    assert do(editor, "retrack", obj=1, frame=3) == 4 + 3
    after = masks(editor)
    assert [new != old for new, old in zip(after, before, strict=True)][:3] != [False] * 3
    assert [after[frame] == before[frame] for frame in (0, 7, 8, 9)] == [True] * 4
    assert masks(editor, 2) == others
    do(editor, "undo")
    assert masks(editor) == before
    do(editor, "redo")
    assert masks(editor) == after


def test_a_correction_waits_for_the_tracking_that_runs_and_needs_neighbours(editor: Editor):
    add(editor)
    click(editor)
    assert do(editor, "retrack", obj=1, frame=0) == 0
    do(editor, "track", steps=3, start=0, forward_to=LAST)
    click(editor, frame=1, x=20, y=20)
    assert do(editor, "retrack", obj=1, frame=1) == 0
    assert editor.document.get("status")["tracking"]["obj"] is None
    with pytest.raises(ValueError, match="no prompts on frame 5"):
        do(editor, "retrack", obj=1, frame=5)


def test_corrections_wait_for_what_runs_and_are_followed_one_after_the_other(editor: Editor):
    followed(editor)
    add(editor, 2)
    click(editor, 2, x=80, y=10)
    do(editor, "track", steps=3, start=0, forward_to=LAST)
    click(editor, frame=1, x=20, y=20)
    assert do(editor, "retrack", obj=1, frame=1) == 0
    click(editor, 2, frame=5, x=70, y=20)
    assert [do(editor, "retrack", obj=2, frame=5) for _ in range(2)] == [0, 0]
    seen = [editor.document.get("status")["tracking"]["obj"] for _ in editor._running or ()]
    assert [obj for place, obj in enumerate(seen) if seen[place - 1 : place] != [obj]] == [None, 1, 2]
    assert editor.document.get("status")["tracking"] is None


def test_tracking_that_is_asked_for_meanwhile_puts_a_correction_off(editor: Editor):
    followed(editor)
    click(editor, frame=3, x=70, y=50, positive=False)
    before = masks(editor)
    do(editor, "retrack", steps=2, obj=1, frame=3)
    assert do(editor, "track", start=8, forward_to=LAST) == 2 + 7 + 3
    after = masks(editor)
    assert [after[frame] != before[frame] for frame in range(4)] == [False, True, True, False]


@pytest.mark.parametrize("op", ["stop", "undo"])
def test_after_a_stop_or_an_undo_no_correction_follows(editor: Editor, op: str):
    followed(editor)
    do(editor, "track", steps=3, start=0, forward_to=LAST)
    click(editor, frame=1, x=20, y=20)
    do(editor, "retrack", obj=1, frame=1)
    do(editor, op)
    assert list(editor._running or ()) == []
    assert not editor.is_tracking


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("/srv/x is full"), "tracking ended early: the server has no room left"),
        (RuntimeError("/srv/x"), "tracking ended early: this is a fault of the server"),
    ],
)
def test_the_page_is_told_why_tracking_ended_early(
    editor: Editor, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
):
    def fail(*_: object) -> None:
        raise error

    add(editor)
    click(editor)
    with monkeypatch.context() as patch:
        patch.setattr(VideoSession, "_advance", fail)
        assert do(editor, "track", start=0, forward_to=LAST) == 0
    status = editor.document.get("status")
    assert (status["tracking"], status["error"]) == (None, message)
    do(editor, "track", start=0, forward_to=LAST)
    assert editor.document.get("status")["error"] == ""


def test_a_search_that_fails_leaves_no_progress_bar(editor: Editor, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Search, "__iter__", fail)
    assert do(editor, "find", frame=4) == 0
    status = editor.document.get("status")
    assert status["proposing"] is None
    assert status["error"].startswith("looking for objects ended early")


def test_after_a_rest_everything_goes_on(editor: Editor):
    followed(editor)
    click(editor, frame=5, x=20, y=20, positive=False)
    before = state(editor)
    editor.rest()
    assert not editor.is_awake
    assert state(editor) == before
    click(editor, frame=5, x=70, y=50)
    assert editor.is_awake
    assert do(editor, "track", start=5, forward_to=LAST) == 5
    do(editor, "clear", obj=1, frame=5)
    assert mask(editor, 0) == before["mask", 1, 0]


def test_a_preview_is_the_mask_of_a_click_and_changes_nothing(editor: Editor):
    message = MESSAGE.validate_python(
        {"id": 1, "command": {"op": "preview", "obj": 1, "frame": 2, "x": 40, "y": 30}},
    )
    assert isinstance(message, Request)
    assert isinstance(message.command, Preview)
    editor.attend(2)
    counts = editor.preview(message.command)
    assert state(editor) == {}
    add(editor)
    click(editor, frame=2)
    found = mask(editor, 2)
    assert found is not None
    assert found.counts.decode() == counts


def test_everything_on_a_frame_is_proposed_and_what_is_picked_becomes_objects(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
):
    lenient = replace(proposals.SETTINGS, points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
    monkeypatch.setattr(proposals, "SETTINGS", lenient)
    assert do(editor, "find", frame=4) == 1
    found = editor.document.items("proposal")
    assert editor.document.get("status")["proposing"] == {"frame": 4, "done": 4, "total": 4}
    pick = {"proposal": found[0][0][1], "obj": 1, "name": "A", "colour": "#ff0000"}
    with pytest.raises(ValueError, match="no proposal 99"):
        do(editor, "pick", picks=[pick, {**pick, "proposal": 99, "obj": 2}])
    do(editor, "pick", picks=[pick])
    picked = mask(editor, 4)
    assert picked is not None
    assert picked.counts == found[0][1].counts
    assert len(editor.document.items("proposal")) == len(found) - 1
    do(editor, "undo")
    assert state(editor) == {}
    editor.rest()
    assert len(editor.document.items("proposal")) == len(found) - 1
    do(editor, "dismiss")
    assert (editor.document.items("proposal"), editor.document.get("status")["proposing"]) == ([], None)
    with pytest.raises(ValueError, match="look for objects"):
        do(editor, "pick", picks=[pick])


def test_the_look_is_part_of_what_is_undone(editor: Editor):
    do(editor, "look", background="blur", effect="outline", behind=PICTURE)
    assert editor.document.get("look") == {"background": "blur", "effect": "outline", "behind": PICTURE}
    with pytest.raises(ValueError, match="no such picture"):
        do(editor, "look", behind="1" * 32)
    do(editor, "undo")
    assert editor.document.get("look") is None


def test_a_painted_mask_stays_as_it_was_painted(editor: Editor):
    painted = np.zeros((64, 96), dtype=bool)
    painted[10:31, 20:41] = True
    counts = encode_rle(painted)["counts"]
    add(editor)
    do(editor, "mask", obj=1, frame=2, counts=counts)
    do(editor, "track", start=2, forward_to=4, backward_to=0)
    found = mask(editor, 2)
    assert found == MaskValue(counts.encode(), 1.0, 441, tracked=False)


def test_other_objects_keep_their_masks_when_one_is_added_or_removed(editor: Editor):
    followed(editor)
    before = {frame: mask(editor, frame) for frame in range(LAST + 1)}
    add(editor, 2)
    click(editor, 2, frame=3, x=80, y=10)
    do(editor, "track", start=3, forward_to=5)
    do(editor, "remove_object", obj=2)
    assert {frame: mask(editor, frame) for frame in range(LAST + 1)} == before
    assert editor.document.keys("mask", 2) == []


def test_an_edit_while_tracking_is_a_step_of_its_own(editor: Editor):
    add(editor)
    click(editor)
    do(editor, "track", steps=3, start=0, forward_to=LAST)
    click(editor, frame=6, x=20, y=20)
    assert editor._running is not None
    for _ in editor._running:
        pass
    do(editor, "undo")
    assert [mask(editor, frame) is not None for frame in range(LAST + 1)] == [True] * 3 + [False] * 3 + [True] + [
        False
    ] * 3
    do(editor, "undo")
    assert mask(editor, 6) is None
    assert mask(editor, 2) is not None


@pytest.mark.parametrize(
    ("op", "values", "message"),
    [
        ("click", {"obj": 1, "frame": 0, "x": 40, "y": 30, "positive": False}, "must say where it is"),
        ("click", {"obj": 1, "frame": 0, "x": 400, "y": 30}, "outside the picture"),
        ("click", {"obj": 1, "frame": 99, "x": 40, "y": 30}, "the frames are 0 to 9"),
        ("click", {"obj": 2, "frame": 0, "x": 40, "y": 30}, "no object 2"),
        ("box", {"obj": 1, "frame": 0, "x0": 9, "y0": 9, "x1": 9, "y1": 20}, "empty"),
        ("mask", {"obj": 1, "frame": 0, "counts": "zz"}, "RLE"),
        ("clear", {"obj": 1, "frame": 0}, "no prompts"),
        ("delete_point", {"obj": 1, "frame": 0, "index": 0}, "no prompts"),
        ("add_object", {"obj": 1, "name": "", "colour": "#000000"}, "already"),
        ("track", {"start": 0, "forward_to": 9}, "nothing to follow"),
        ("track", {"start": 0}, "expected a frame"),
        ("remove_object", {"obj": 7}, "no object 7"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(editor: Editor, op: str, values: Any, message: str):
    add(editor)
    before = state(editor)
    with pytest.raises((ValueError, IndexError), match=message):
        do(editor, op, **values)
    assert state(editor) == before


@pytest.mark.parametrize("ends", [{"forward_to": 2}, {"backward_to": 7}, {"forward_to": 99}])
def test_a_stretch_that_does_not_fit_is_refused(editor: Editor, ends: dict[str, int]):
    followed(editor)
    with pytest.raises(ValueError, match="within frames 0 to 9"):
        do(editor, "track", start=5, **ends)


def test_the_number_of_objects_is_bounded(editor: Editor):
    for obj in (1, 2, 3):
        add(editor, obj)
    with pytest.raises(ValueError, match="more than 3 objects"):
        add(editor, 4)


def test_a_full_document_takes_no_more_but_lets_go(network: SegmentationNetwork, clip: Path):
    small = Editor(network, lambda: VideoFile(clip), lambda: None, document=Document(budget_bytes=2000))
    add(small)
    click(small)
    with pytest.raises(ValueError, match="as many masks as this server can hold"):
        click(small, frame=1)
    do(small, "remove_object", obj=1)
    assert state(small) == {}
    small.close()
