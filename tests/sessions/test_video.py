from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from masklet.model import sam2
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points
from masklet.sessions.results import FrameResult
from masklet.sessions.video import VideoSession
from masklet.video.read import VideoError

CLICK = Points((15, 20))
OTHER_CLICK = Points((60, 40))
LAST = 9
EXACT: dict[str, Any] = {"compact": False, "objects_per_batch": 1}


@pytest.fixture
def start(network: SegmentationNetwork, clip: list[np.ndarray]):
    """Open a session on the clip with exact settings, others as given."""

    def open_session(frames: Any = clip, **options: Any) -> VideoSession:
        return VideoSession(network, frames, **{**EXACT, **options})

    return open_session


def low_res(results: Iterable[FrameResult], obj: int) -> dict[int, torch.Tensor]:
    return {result.frame: result.low_res_ohw[result.objects.index(obj)] for result in results}


def assert_same(first: dict[int, torch.Tensor], second: dict[int, torch.Tensor], tolerance: float = 0) -> None:
    assert list(first) == list(second)
    for frame in first:
        torch.testing.assert_close(first[frame], second[frame], atol=tolerance, rtol=tolerance, msg=f"frame {frame}")


def differ(first: torch.Tensor, second: torch.Tensor) -> bool:
    return bool((first - second).abs().max() > 1e-3)


def test_a_click_is_answered_at_once_and_followed_to_the_end(start):
    session = start()
    answer = session.prompt(0, 1, CLICK)
    assert answer[1].mask.shape == (48, 80)
    assert answer[1].mask.dtype == bool
    assert answer[1].mask.any()
    assert answer[1].prompted
    assert answer[1].presence > 0.5
    assert answer[1].rle()["size"] == [48, 80]
    results = list(session.propagate())
    assert [result.frame for result in results] == list(range(LAST + 1))
    assert [result[1].prompted for result in results] == [True] + [False] * LAST
    assert np.array_equal(results[0][1].mask, answer[1].mask)
    assert 0 <= results[5][1].iou <= 1


@pytest.mark.parametrize("told", [None, True, False])
@pytest.mark.parametrize("tracks_with_candidates", [True, False])
def test_frames_without_clicks_take_candidates_if_told_so_or_else_as_the_network_does(
    network, clip, monkeypatch: pytest.MonkeyPatch, told: bool | None, tracks_with_candidates: bool
):
    asked = []
    decode = network.decode

    def counted(*arguments, candidates: bool, **options):
        asked.append(candidates)
        return decode(*arguments, candidates=candidates, **options)

    monkeypatch.setattr(network, "config", replace(network.config, tracks_with_candidates=tracks_with_candidates))
    monkeypatch.setattr(network, "decode", counted)
    with VideoSession(network, clip, candidates_while_tracking=told) as session:
        session.prompt(0, 1, Points((20, 20)))
        asked.clear()
        list(session.propagate())
    assert set(asked) == {tracks_with_candidates if told is None else told}


def test_objects_do_not_depend_on_the_order_in_which_they_were_prompted(start):
    first, second = start(), start()
    first.prompt(0, 1, CLICK)
    first.prompt(3, 2, OTHER_CLICK)
    second.prompt(3, 2, OTHER_CLICK)
    second.prompt(0, 1, CLICK)
    runs = [list(session.propagate(0)) for session in (first, second)]
    for obj in (1, 2):
        assert_same(low_res(runs[0], obj), low_res(runs[1], obj))


def test_removing_an_object_leaves_the_others_unchanged(start):
    alone, thinned = start(), start()
    alone.prompt(0, 1, CLICK)
    thinned.prompt(0, 2, OTHER_CLICK)
    thinned.prompt(0, 1, CLICK)
    kept = list(thinned.propagate(end=5))
    thinned.remove(2)
    kept += list(thinned.propagate(start=6))
    assert kept[-1].objects == (1,)
    assert_same(low_res(alone.propagate(), 1), low_res(kept, 1))


def test_objects_tracked_together_are_what_they_are_alone(start):
    together, alone = start(objects_per_batch=8), start()
    for session in (together, alone):
        for obj in (1, 2, 3):
            session.prompt(0, obj, Points((10 * obj, 20)))
    runs = [list(session.propagate()) for session in (together, alone)]
    for obj in (1, 2, 3):
        assert_same(low_res(runs[0], obj), low_res(runs[1], obj), tolerance=1e-3)


def test_on_a_processor_some_objects_follow_the_others_after_one_look_around(
    start, network: SegmentationNetwork, monkeypatch: pytest.MonkeyPatch
):
    def followed() -> tuple[list[FrameResult], int, list[int]]:
        looks, asked = [], []
        look, recall = type(network).look_around, type(network).recall
        with monkeypatch.context() as patch:
            patch.setattr(type(network), "look_around", lambda *given: looks.append(given) or look(*given))
            patch.setattr(
                type(network), "recall", lambda self, *given: asked.append(given[1].objects) or recall(self, *given)
            )
            session = start(objects_per_batch=8)
            for obj in (1, 2, 3):
                session.prompt(0, obj, Points((10 * obj, 20)))
            return list(session.propagate(0, 2)), len(looks), asked

    together, looks, asked = followed()
    assert (looks, asked) == (2, [3, 3])
    monkeypatch.setattr(sam2, "GRID_NUMBERS", 1)
    in_turns, looks, asked = followed()
    assert (looks, asked) == (2, [1] * 6)
    for obj in (1, 2, 3):
        assert_same(low_res(together, obj), low_res(in_turns, obj), tolerance=1e-3)


def test_an_object_added_between_two_steps_joins_and_disturbs_nobody(start):
    plain, joined = start(), start()
    plain.prompt(0, 1, CLICK)
    joined.prompt(0, 1, CLICK)
    results = []
    for result in joined.propagate():
        results.append(result)
        if result.frame == 4:
            joined.prompt(4, 2, OTHER_CLICK)
    assert [result.objects for result in results] == [(1,)] * 5 + [(1, 2)] * 5
    assert results[-1][2].presence > 0.5
    assert_same(low_res(plain.propagate(), 1), low_res(results, 1))


def test_an_object_removed_between_two_steps_is_gone_from_the_next_on(start):
    session = start()
    session.prompt(0, 1, CLICK)
    session.prompt(0, 2, OTHER_CLICK)
    objects = []
    for result in session.propagate():
        objects.append(result.objects)
        if result.frame == 4:
            session.remove(1)
    assert objects == [(1, 2)] * 5 + [(2,)] * 5


def test_only_chosen_objects_are_followed_and_the_others_keep_their_results(start):
    session = start()
    session.prompt(0, 1, CLICK)
    session.prompt(0, 2, OTHER_CLICK)
    before = low_res(session.propagate(), 2)
    session.prompt(5, 1, Points((40, 40), [0]))
    session.prompt(5, 2, Points((40, 40), [0]))
    corrected = session.result(5)
    after = list(session.propagate(5, LAST, objects=[1]))
    assert [result.frame for result in after] == list(range(5, LAST + 1))
    assert_same({t: before[t] for t in range(6, LAST + 1)}, low_res(after[1:], 2))
    assert_same(low_res([corrected], 2), low_res([session.result(5)], 2))
    with pytest.raises(ValueError, match="no object 3"):
        session.propagate(objects=[3])


def test_a_preview_is_what_a_prompt_would_answer_and_leaves_no_trace(start):
    session = start()
    session.encode_ahead(3)
    assert np.array_equal(session.preview(3, 1, CLICK).logits, start().prompt(3, 1, CLICK)[1].logits)
    assert session.objects == ()
    first = session.prompt(0, 1, CLICK)
    more = session.preview(0, 1, OTHER_CLICK)
    assert np.array_equal(session.result(0)[1].logits, first[1].logits)
    assert np.array_equal(more.logits, session.prompt(0, 1, OTHER_CLICK)[1].logits)
    with pytest.raises(IndexError, match="does not exist"):
        session.encode_ahead(99)


def test_a_propagation_ends_when_no_object_is_left(start):
    session = start()
    session.prompt(0, 1, CLICK)
    frames = []
    for result in session.propagate():
        frames.append(result.frame)
        if result.frame == 2:
            session.reset()
    assert frames == [0, 1, 2]


@pytest.mark.parametrize("reverse", [False, True])
def test_stopping_and_resuming_is_the_same_as_going_through(start, reverse: bool):
    through, stopped = start(), start()
    for session in (through, stopped):
        session.prompt(6, 1, CLICK)
    results = []
    for result in stopped.propagate(reverse=reverse):
        results.append(result)
        if len(results) == 3:
            break
    results += list(stopped.resume())
    assert_same(low_res(through.propagate(reverse=reverse), 1), low_res(results, 1))
    assert list(stopped.resume()) == []


def test_results_on_disk_are_the_same_as_in_ram(start, keyed_network, clip):
    for open_session in (start, lambda **options: VideoSession(keyed_network, clip, **EXACT, **options)):
        in_ram, on_disk = open_session(ram_bytes=1 << 30), open_session(ram_bytes=0)
        runs = []
        for session in (in_ram, on_disk):
            session.prompt(0, 1, CLICK)
            session.prompt(2, 2, OTHER_CLICK)
            runs.append([*session.propagate(end=5), *session.propagate(4, 3, reverse=True)])
        for obj in (1, 2):
            assert_same(low_res(runs[0], obj), low_res(runs[1], obj))
        assert in_ram._spill.file_bytes == 0
        assert on_disk._spill.file_bytes > 0


def test_ram_for_results_stays_within_its_bound(start):
    session = start(ram_bytes=40_000)
    session.prompt(0, 1, CLICK)
    for _ in session.propagate():
        assert session._spill.used_bytes <= 40_000


def test_tracking_backward_reaches_the_first_frame(start):
    session = start()
    session.prompt(5, 1, CLICK)
    assert [result.frame for result in session.propagate(reverse=True)] == [5, 4, 3, 2, 1, 0]
    assert [result.frame for result in session.propagate(0, reverse=True)] == [0]


def test_backward_tracking_mirrors_forward_tracking(start, clip):
    forward, backward = start(), start(clip[::-1])
    forward.prompt(0, 1, CLICK)
    backward.prompt(LAST, 1, CLICK)
    mirrored = low_res(backward.propagate(reverse=True), 1)
    assert_same(low_res(forward.propagate(), 1), {LAST - frame: logits for frame, logits in mirrored.items()}, 1e-4)


def test_propagation_goes_from_anywhere_to_anywhere(start):
    session = start()
    session.prompt(4, 1, CLICK)
    assert [result.frame for result in session.propagate(2, 6)] == [2, 3, 4, 5, 6]
    assert [result.frame for result in session.propagate(3, max_frames=2)] == [3, 4, 5]
    assert [result.frame for result in session.propagate(7, 5, reverse=True)] == [7, 6, 5]
    assert [result.frame for result in session.propagate(max_frames=100)] == list(range(4, LAST + 1))


def test_an_object_is_followed_on_frames_before_its_first_prompt(start):
    session = start()
    session.prompt(0, 1, CLICK)
    session.prompt(5, 2, OTHER_CLICK)
    results = list(session.propagate(end=3))
    assert results[0].objects == (1, 2)
    assert results[1][2].presence > 0.5


def test_a_camera_gives_the_same_as_a_video(network, clip):
    def endless():
        yield from clip

    video = VideoSession(network, endless(), **EXACT)
    video.prompt(0, 1, CLICK)
    camera = VideoSession(network, **EXACT)
    seen = [camera.step(clip[0])]
    seen[0] = camera.prompt(0, 1, CLICK)
    seen += [camera.step(frame) for frame in clip[1:]]
    assert_same(low_res(video.propagate(), 1), low_res(seen, 1))
    assert camera.frame_count == len(clip)


def test_earlier_frames_of_a_camera_can_be_corrected_and_passed_again(network, clip):
    camera = VideoSession(network, **EXACT)
    camera.step(clip[0])
    camera.prompt(0, 1, CLICK)
    for frame in clip[1:9]:
        camera.step(frame)
    before = camera.result(3).low_res_ohw
    assert differ(camera.prompt(3, 1, OTHER_CLICK).low_res_ohw, before)
    assert [result.frame for result in camera.propagate(3)] == list(range(3, 9))
    assert [result.frame for result in camera.propagate(2, reverse=True)] == [2, 1, 0]


def test_a_stepped_frame_that_does_not_fit_is_refused_and_the_next_one_taken(network, clip):
    camera = VideoSession(network)
    camera.step(clip[0])
    with pytest.raises(VideoError, match="80x48"):
        camera.step(np.zeros((10, 10, 3), dtype=np.uint8))
    assert camera.step(clip[1]).frame == 1


def test_an_iterator_of_unknown_length_is_followed_to_its_end(start, clip):
    session = start(frame for frame in clip)
    session.prompt(2, 1, CLICK)
    assert [result.frame for result in session.propagate()] == list(range(2, LAST + 1))


def test_more_clicks_add_to_those_before_unless_they_replace_them(start):
    added, at_once, replaced = start(), start(), start()
    for session in (added, replaced):
        session.prompt(0, 1, CLICK)
    at_once.prompt(0, 1, CLICK)
    both = Points([(15, 20), (60, 40)], [1, 0])
    result = added.prompt(0, 1, Points((60, 40), 0)).low_res_ohw
    assert torch.equal(result, at_once.prompt(0, 1, both, replace=True).low_res_ohw)
    assert differ(result, replaced.prompt(0, 1, OTHER_CLICK, replace=True).low_res_ohw)


def test_earlier_logits_of_the_frame_are_fed_back_with_new_clicks(start):
    fresh, refined = start(), start()
    refined.prompt(0, 1, CLICK)
    both = Points([(15, 20), (60, 40)], [1, 0])
    assert differ(fresh.prompt(0, 1, both).low_res_ohw, refined.prompt(0, 1, both, replace=True).low_res_ohw)


def test_a_box_takes_clicks_after_it_but_not_before(start):
    session = start()
    session.prompt(0, 1, Box(5, 10, 25, 30))
    session.prompt(0, 1, Points((60, 40), 0))
    with pytest.raises(ValueError, match="box must come before"):
        session.prompt(0, 1, Box(5, 10, 25, 30))
    session.prompt(0, 1, Box(5, 10, 25, 30), replace=True)


def test_a_mask_is_taken_as_it_is_and_replaces_clicks(start):
    session = start()
    drawn = np.zeros((48, 80), dtype=bool)
    drawn[12:36, 20:60] = True
    session.prompt(0, 1, CLICK)
    answer = session.prompt(0, 1, Mask(drawn))[1].mask
    assert (answer & drawn).sum() / (answer | drawn).sum() > 0.9
    clicked = session.prompt(0, 1, CLICK)[1].mask
    assert not np.array_equal(clicked, answer)


def test_a_correction_stands_when_propagation_passes_again(start):
    session = start()
    session.prompt(0, 1, CLICK)
    tracked = low_res(session.propagate(), 1)
    corrected = session.prompt(5, 1, OTHER_CLICK).low_res_ohw[0]
    assert differ(corrected, tracked[5])
    again = low_res(session.propagate(), 1)
    assert torch.equal(again[5], corrected)
    assert torch.equal(again[4], tracked[4])
    assert differ(again[6], tracked[6])
    assert session.prompted_frames(1) == (0, 5)


def test_weights_without_memory_are_refused_at_once(network, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network, "has_memory", False)
    with pytest.raises(ValueError, match="use ImageSession"):
        VideoSession(network)


def test_a_correction_uses_memory(start):
    tracked, untracked = start(), start()
    for session in (tracked, untracked):
        session.prompt(0, 1, CLICK)
    list(tracked.propagate(end=8))
    assert differ(tracked.prompt(5, 1, OTHER_CLICK).low_res_ohw, untracked.prompt(5, 1, OTHER_CLICK).low_res_ohw)


def test_corrections_may_become_conditioning_frames_that_far_frames_attend_to(start):
    far = {}
    for corrections in ("keep", "condition"):
        session = start(corrections=corrections)
        session.prompt(0, 1, CLICK)
        list(session.propagate(end=6))
        session.prompt(2, 1, OTHER_CLICK)
        far[corrections] = low_res(session.propagate(6), 1)
    assert differ(far["keep"][LAST], far["condition"][LAST])


def test_published_corrections_are_lost_when_propagation_passes(start):
    session = start(corrections="published")
    session.prompt(0, 1, CLICK)
    tracked = low_res(session.propagate(), 1)
    assert differ(session.prompt(5, 1, OTHER_CLICK).low_res_ohw[0], tracked[5])
    assert_same(low_res(session.propagate(), 1), tracked)


def test_published_answers_do_not_show_corrections_beside_a_new_object(start):
    shown = {}
    for corrections in ("keep", "published"):
        session = start(corrections=corrections)
        session.prompt(0, 1, CLICK)
        tracked = low_res(session.propagate(end=5), 1)
        session.prompt(5, 1, OTHER_CLICK)
        shown[corrections] = session.prompt(5, 2, CLICK).low_res_ohw[0]
    assert torch.equal(shown["published"], tracked[5])
    assert differ(shown["keep"], tracked[5])


def test_a_first_frame_clicked_again_after_tracking_stays_the_one_all_others_attend_to(start):
    clicked_late, clicked_early = start(), start()
    for session in (clicked_late, clicked_early):
        session.prompt(0, 1, CLICK)
    list(clicked_late.propagate())
    for session in (clicked_late, clicked_early):
        session.prompt(0, 1, Points((60, 40), 0))
    assert_same(low_res(clicked_early.propagate(), 1), low_res(clicked_late.propagate(), 1))


def test_clearing_a_correction_brings_the_tracked_result_back(start):
    session = start()
    session.prompt(0, 1, CLICK)
    tracked = low_res(session.propagate(), 1)
    session.prompt(5, 1, OTHER_CLICK)
    cleared = session.clear(5, 1)
    assert torch.equal(cleared.low_res_ohw[0], tracked[5])
    assert not cleared[1].prompted
    assert_same(low_res(session.propagate(), 1), tracked)


def test_clearing_the_only_prompt_forgets_what_came_of_it(start):
    session = start()
    session.prompt(0, 1, CLICK)
    list(session.propagate(end=5))
    assert not session.clear(0, 1)[1].mask.any()
    assert not session.result(4)[1].mask.any()
    with pytest.raises(ValueError, match="prompt an object first"):
        session.propagate()


def test_what_remains_conditions_when_the_first_prompt_is_cleared(start):
    session = start()
    session.prompt(0, 1, CLICK)
    list(session.propagate(end=6))
    session.prompt(5, 1, OTHER_CLICK)
    session.clear(0, 1)
    assert [result.frame for result in session.propagate()] == list(range(5, LAST + 1))
    session.prompt(5, 1, Points((15, 20), 0))


def test_results_without_overlap_give_every_pixel_to_one_object(start):
    overlapping, apart = start(), start(non_overlap=True)
    for session in (overlapping, apart):
        session.prompt(0, 1, CLICK)
        session.prompt(0, 2, Points((17, 22)))
    shared = [result.masks_ohw.all(axis=0).sum() for result in overlapping.propagate()]
    assert sum(shared) > 0
    assert all(result.masks_ohw.sum(axis=0).max() <= 1 for result in apart.propagate())


def test_memories_without_overlap_change_what_is_tracked(start):
    plain, apart = start(), start(non_overlap_in_memory=True)
    for session in (plain, apart):
        session.prompt(0, 1, CLICK)
        session.prompt(0, 2, Points((17, 22)))
    plain_run, apart_run = list(plain.propagate(end=3)), list(apart.propagate(end=3))
    assert any(differ(a.low_res_ohw, b.low_res_ohw) for a, b in zip(plain_run, apart_run, strict=True))


def test_frames_behind_the_kept_ones_are_forgotten_but_prompts_are_not(network, clip):
    camera = VideoSession(network, keep_frames=4)
    camera.step(clip[0])
    camera.prompt(0, 1, CLICK)
    for frame in clip[1:9]:
        camera.step(frame)
    assert camera.result(0)[1].mask.any()
    assert camera.result(8)[1].mask.any()
    assert not camera.result(3)[1].mask.any()
    with pytest.raises(VideoError, match="only the newest 5 are"):
        camera.prompt(3, 2, CLICK)


def test_forgetting_results_changes_nothing_of_what_follows(network, clip):
    runs = []
    for keep_frames in (None, 1):
        camera = VideoSession(network, keep_frames=keep_frames, **EXACT)
        camera.step(clip[0])
        camera.prompt(0, 1, CLICK)
        runs.append([camera.step(frame).low_res_ohw[0] for frame in clip[1:]])
    assert all(torch.equal(kept, forgotten) for kept, forgotten in zip(*runs, strict=True))


def test_memories_that_no_frame_attends_to_any_more_are_forgotten_but_corrections_are_not(network, clip):
    long = (clip * 4)[:40]
    with VideoSession(network, long, keep_frames=4) as session:
        session.prompt(0, 1, CLICK)
        list(session.propagate(end=5))
        session.prompt(5, 1, OTHER_CLICK)
        list(session.propagate(6))
        bank = session._objects[1].bank
        assert len(bank.tracked) < 30
        assert 5 in bank.tracked
        session.clear(0, 1)
        assert list(bank.conditioning) == [5]


def test_pictures_given_to_step_lie_in_the_named_folder_within_their_bound(network, clip, tmp_path):
    camera = VideoSession(network, spill_folder=tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="missing"):
        camera.step(clip[0])
    camera = VideoSession(network, step_disk_bytes=3 * clip[0].nbytes)
    for frame in clip[:5]:
        camera.step(frame)
    assert camera.prompt(2, 1, CLICK).frame == 2
    with pytest.raises(VideoError, match="frame 1 is no longer kept"):
        camera.prompt(1, 1, CLICK)


def test_holes_of_a_few_pixels_are_filled(start):
    drawn = np.ones((64, 64), dtype=bool)
    drawn[28:36, 28:36] = False
    frames = [np.zeros((64, 64, 3), dtype=np.uint8)]
    filled = start(frames, max_hole_area=8).prompt(0, 1, Mask(drawn))[1].mask
    kept = start(frames, max_hole_area=0).prompt(0, 1, Mask(drawn))[1].mask
    assert filled.all()
    assert not kept[32, 32]


def test_compact_memories_track_nearly_the_same(start):
    exact, compact = start(), start(compact=True)
    for session in (exact, compact):
        session.prompt(0, 1, CLICK)
    runs = [low_res(session.propagate(), 1) for session in (exact, compact)]
    scale = runs[0][LAST].std()
    assert max(float((runs[0][t] - runs[1][t]).abs().max() / scale) for t in runs[0]) < 0.2


def test_clearing_memory_around_prompts_forgets_tracked_neighbours(start):
    plain, cleared = start(), start(clear_memory_around_prompts=True)
    for session in (plain, cleared):
        session.prompt(0, 1, CLICK)
        list(session.propagate(end=6))
        session.prompt(4, 1, OTHER_CLICK)
    runs = [low_res(session.propagate(7, 8), 1) for session in (plain, cleared)]
    assert differ(runs[0][7], runs[1][7])
    assert list(cleared._objects[1].bank.tracked) == [4, 7, 8]


def test_a_correction_outlives_the_first_prompt_whose_neighbours_were_cleared(start):
    session = start(clear_memory_around_prompts=True)
    session.prompt(0, 1, CLICK)
    list(session.propagate(end=6))
    session.prompt(4, 1, OTHER_CLICK)
    list(session.propagate(5, 6))
    session.clear(0, 1)
    assert [result.frame for result in session.propagate(7, 8)] == [7, 8]
    assert session.prompted_frames(1) == (4,)


def test_nothing_is_followed_backward_from_frame_0_as_published(start):
    session = start(corrections="published")
    session.prompt(0, 1, CLICK)
    assert list(session.propagate(reverse=True)) == []
    assert [result.frame for result in session.propagate(end=1)] == [0, 1]
    assert session.prompt(0, 1, OTHER_CLICK).frame == 0


@pytest.mark.parametrize(
    ("frame", "prompts", "message"),
    [
        (0, [Points((100, 20))], "outside the picture"),
        (0, [Box(0, 0, 200, 20)], "outside the picture"),
        (0, [Mask(np.ones((10, 10), dtype=bool))], "10x10 but the picture is 48x80"),
        (0, [Points((10, 10), 0)], "first prompt of an object must say where it is"),
        (0, [Mask(np.zeros((48, 80), dtype=bool))], "first prompt of an object must say where it is"),
        (0, [], "got nothing"),
        (0, [(10, 10)], "expected Points, a Box or a Mask"),
        (0, [Box(0, 0, 9, 9), Box(0, 0, 8, 8)], "at most one Box"),
    ],
)
def test_prompts_that_do_not_fit_are_refused_and_leave_no_trace(start, frame, prompts, message):
    session = start()
    with pytest.raises(ValueError, match=message):
        session.prompt(frame, 1, *prompts)
    assert session.objects == ()


@pytest.mark.parametrize("frame", [-1, 10, 1000])
def test_frames_that_do_not_exist_are_refused(start, frame: int):
    session = start()
    with pytest.raises(IndexError, match="0 to 9"):
        session.prompt(frame, 1, CLICK)


def test_negative_clicks_alone_do_not_make_a_new_frame_stand_for_itself(start):
    session = start()
    session.prompt(0, 1, CLICK)
    with pytest.raises(ValueError, match="only negative clicks"):
        session.prompt(5, 1, Points((60, 40), 0))
    list(session.propagate(end=6))
    session.prompt(5, 1, Points((60, 40), 0))


def test_an_empty_mask_says_that_a_known_object_is_absent(start):
    session = start()
    session.prompt(0, 1, CLICK)
    answer = session.prompt(5, 1, Mask(np.zeros((48, 80), dtype=bool)))
    assert not answer[1].mask.any()
    assert answer[1].presence < 0.5


def test_mistakes_about_objects_and_ranges_say_what_is_there(start):
    session = start()
    with pytest.raises(ValueError, match="prompt an object first"):
        session.propagate()
    with pytest.raises(ValueError, match="call propagate first"):
        session.resume()
    session.prompt(3, 4, CLICK)
    with pytest.raises(ValueError, match=r"no object 9; the objects are \[4\]"):
        session.remove(9)
    with pytest.raises(ValueError, match=r"no prompts on frame 0, but on \[3\]"):
        session.clear(0, 4)
    with pytest.raises(ValueError, match="reverse=True"):
        session.propagate(5, 2)
    with pytest.raises(ValueError, match="reverse=False"):
        session.propagate(5, 9, reverse=True)
    with pytest.raises(ValueError, match="either end or max_frames"):
        session.propagate(5, 9, max_frames=2)
    with pytest.raises(IndexError, match="0 to 9"):
        session.propagate(99)
    with pytest.raises(KeyError, match="no object 5"):
        session.result(3)[5]


def test_a_session_without_frames_and_one_with_its_own_say_which_call_to_use(network, start, clip):
    with pytest.raises(ValueError, match="no frames yet"):
        VideoSession(network).prompt(0, 1, CLICK)
    with pytest.raises(ValueError, match="use propagate"):
        start().step(clip[0])


def test_settings_that_make_no_sense_are_refused(network):
    with pytest.raises(ValueError, match="memory_stride"):
        VideoSession(network, memory_stride=0)
    with pytest.raises(ValueError, match="corrections"):
        VideoSession(network, corrections="drop")


def test_tracking_goes_on_after_a_broken_picture(network, clip, tmp_path):
    from PIL import Image

    for t, frame in enumerate(clip[:5]):
        Image.fromarray(frame).save(tmp_path / f"{t}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:400])
    with VideoSession(network, tmp_path) as session:
        session.prompt(0, 1, CLICK)
        assert [result.frame for result in session.propagate()] == [0, 1, 2, 3, 4]
        assert len(session.problems) == 1
        assert "2.png cannot be read" in session.problems[0]


def test_a_frame_result_without_objects_is_empty(network, clip):
    result = VideoSession(network).step(clip[0])
    assert len(result) == 0
    assert result.masks_ohw.shape == (0, 48, 80)
