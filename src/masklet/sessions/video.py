"""Follow objects through a video, from prompts on any of its frames.

    session = VideoSession(network, "clip.mp4")
    session.prompt(0, 1, Points((480, 270)))
    for frame in session.propagate():
        print(frame.frame, frame[1].mask.sum())

A camera gives its frames one by one:

    session = VideoSession(network)
    session.step(first)
    session.prompt(0, 1, Box(100, 80, 300, 260))
    result = session.step(second)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masklet import masks
from masklet.closing import Closing
from masklet.memory import MemoryBank
from masklet.model.outputs import FrameMemory, ImageFeatures, ObjectMask
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import ABSENT_LOGIT, SegmentationNetwork
from masklet.prompts import Prompt, as_points, require_positive
from masklet.sessions.batches import batches
from masklet.sessions.carrying import Carrier
from masklet.sessions.frames import EncodedFrames
from masklet.sessions.inputs import drawn_tensor, prompt_batch
from masklet.sessions.results import FrameResult, ObjectResult, probabilities
from masklet.sessions.settings import VideoSettings
from masklet.sessions.store import Spill, SpillingStore
from masklet.sessions.tracks import FrameKeys, FramePrompts, SharedKeys, TrackedObject, drop
from masklet.video.read import FrameSource, IteratorFrames, open_frames

HOLE_LOGIT = 0.1
"""What filled holes get, as published."""


class VideoSession(Closing):
    """One video with the objects that are followed in it.

    ``frames`` is anything that ``video.read.open_frames`` takes; without it the frames come one by one through
    ``step``. Objects are known by a number of the caller's choice. Masks at the video's size are made when asked for.
    """

    def __init__(
        self, network: SegmentationNetwork, frames: Any = None, settings: VideoSettings | None = None, **options: Any
    ):
        """``options`` are single settings by name, as in ``VideoSession(network, "clip.mp4", non_overlap=True)``.

        Raises ValueError for a network without memory.
        """
        if not network.has_memory:
            raise ValueError(
                "these weights were made for pictures and lack the memory that follows objects; load those of a video "
                "model, or use ImageSession"
            )
        self.network = network.eval()
        self.settings = replace(settings or VideoSettings(), **options)
        self._spill = Spill(self.settings.ram_bytes, self.settings.spill_folder)
        self._keys = self._store(FrameKeys, keys_olhnd=torch.bfloat16)
        self._objects: dict[int, TrackedObject] = {}
        self._run: _Run | None = None
        self._steps = _Steps()
        self._owns_source = not isinstance(frames, FrameSource)
        self._source: FrameSource | None = None
        if frames is not None:
            self._use(open_frames(frames))

    @property
    def objects(self) -> tuple[int, ...]:
        """Numbers of the objects, in the order in which they were first prompted."""
        return tuple(self._objects)

    @property
    def video_hw(self) -> tuple[int, int]:
        """Height and width of the frames. Raises ValueError before the first ``step`` of a camera."""
        return self._frames().video_hw

    @property
    def frame_count(self) -> int | None:
        """Number of frames; None while it is not known. With ``step``: the frames so far."""
        if self._source is None or self._steps.count:
            return self._steps.count
        return self._source.frame_count

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong so far with a video that can be followed all the same: broken frames, an early end."""
        source = self._frames()
        return (*source.problems, *source.damaged.values())

    def prompted_frames(self, obj: int) -> tuple[int, ...]:
        """Frames on which the object has prompts, in order."""
        return tuple(sorted(self._object(obj).prompts))

    def prompt(self, frame: int, obj: int, *prompts: Prompt, replace: bool = False) -> FrameResult:
        """Show an object on a frame, and see the answer for all objects there.

        ``Points`` add to earlier clicks and box of that frame and object; ``replace`` puts the prompts in their place.
        A ``Box`` comes before clicks. A ``Mask`` is taken as it is; mask and clicks replace each other. Earlier
        answers of the frame are fed back with new clicks. On a frame that was not tracked yet the prompt stands for
        itself and all tracking attends to it; on a tracked one it is answered with memory, see
        ``VideoSettings.corrections``.

        Raises ValueError for prompts that do not fit, IndexError for a frame that does not exist.
        """
        frame, obj = self._existing(frame), index(obj)
        track = self._objects.get(obj) or self._new_object()
        wanted = self._checked(track, frame, prompts, replaces=replace)
        track.drafts[frame] = self._answer(track, frame, wanted)
        track.prompts[frame] = wanted.without_mask()
        self._objects[obj] = track
        return self._result(frame, corrects=wanted.with_memory if self._is_published else None)

    def encode_ahead(self, frame: int) -> None:
        """Encode a frame before it is prompted, so that the next prompts on it are answered quickly."""
        self._features(self._existing(frame))

    def preview(self, frame: int, obj: int, *prompts: Prompt) -> ObjectResult:
        """What ``prompt`` would answer for this object, known or new. Nothing is kept of it."""
        frame = self._existing(frame)
        track = self._objects.get(obj) or self._new_object()
        mask = self._answer(track, frame, self._checked(track, frame, prompts, replaces=False))
        return self._shown(frame, {obj: mask}, np.ones(1, dtype=bool))[obj]

    def clear(self, frame: int, obj: int) -> FrameResult:
        """Take back all prompts of an object on a frame. A tracked frame gets the tracked result again."""
        track = self._object(obj)
        if frame not in track.prompts:
            raise ValueError(f"object {obj} has no prompts on frame {frame}, but on {list(self.prompted_frames(obj))}")
        track.clear(frame)
        if frame in track.passed:
            self._commit()
            self._track(frame, {obj: track}, reverse=track.passed[frame])
        return self.result(frame)

    def remove(self, obj: int) -> None:
        """Forget an object. The others are not touched."""
        self._object(obj).forget_all()
        del self._objects[obj]

    def reset(self) -> None:
        """Forget all objects, results and memories. The frames stay."""
        for obj in self.objects:
            self.remove(obj)
        self._keys.clear()
        self._run = None

    def propagate(
        self,
        start: int | None = None,
        end: int | None = None,
        *,
        max_frames: int | None = None,
        reverse: bool = False,
        objects: Collection[int] | None = None,
    ) -> Iterator[FrameResult]:
        """Follow all objects from frame ``start`` to ``end``, both included, or over ``max_frames`` more frames.

        By default from the earliest conditioning frame to the end of the video, or with ``reverse`` to its beginning.
        ``objects`` are the only ones that are followed; the results of all others stay as they are.
        Prompts, new objects and removals between two frames take effect with the next one. Leave the loop to stop;
        ``resume`` goes on.
        """
        self._commit()
        conditioning = [frame for track in self._objects.values() for frame in track.bank.conditioning]
        if not conditioning:
            raise ValueError("there is nothing to follow yet; prompt an object first")
        first = min(conditioning) if start is None else self._existing(start)
        for obj in objects or ():
            self._object(obj)
        last = self._last_frame(first, end, max_frames, reverse)
        if self._is_published and reverse and first == 0:
            return iter(())  # frame 0 itself is followed only on the way forward
        self._run = _Run(first, last, reverse, None if objects is None else frozenset(objects))
        return self._follow(self._run)

    def resume(self) -> Iterator[FrameResult]:
        """Go on where the last propagation was left, in its direction and to its end."""
        if self._run is None:
            raise ValueError("there is no propagation to go on with; call propagate first")
        return self._follow(self._run)

    def step(self, picture: Any) -> FrameResult:
        """Take the next frame of a camera, RGB uint8 (h, w, 3) or a PIL picture, and follow all objects into it."""
        if self._source is not None and not self._steps.count:
            raise ValueError("this session has its own frames, use propagate; step is for VideoSession(network)")
        self._steps.waiting.append(picture)
        if self._source is None:
            settings = self.settings
            keep = None if settings.keep_frames is None else settings.keep_frames + 1
            self._use(
                IteratorFrames(
                    self._steps, disk_bytes=settings.step_disk_bytes, keep=keep, folder=settings.spill_folder
                )
            )
        frame = self._steps.count
        self._frames()[frame]
        self._steps.count += 1
        return self._advance(frame, reverse=False)

    def result(self, frame: int) -> FrameResult:
        """What is known of all objects on a frame. Where nothing is, masks are empty."""
        return self._result(self._existing(frame))

    def close(self) -> None:
        """Give back memory, the temporary file, and the frames if the session opened them."""
        self._objects.clear()
        self._spill.close()
        if self._source is not None:
            self._features.close()
            if self._owns_source:
                self._source.close()

    def _result(self, frame: int, corrects: bool | None = None) -> FrameResult:
        """The published predictor shows corrections and other prompts of one frame apart, as ``corrects`` says."""
        found = {obj: track.latest(frame, corrects) or self._nothing() for obj, track in self._objects.items()}
        return self._shown(
            frame, found, np.array([frame in track.prompts for track in self._objects.values()], dtype=bool)
        )

    def _shown(self, frame: int, found: dict[int, ObjectMask], prompted_o: np.ndarray) -> FrameResult:
        h, w = self.network.config.low_res_hw(self.video_hw)
        low_res = [mask.logits_o1hw[:, 0] for mask in found.values()]
        return FrameResult(
            frame=frame,
            objects=tuple(found),
            video_hw=self.video_hw,
            low_res_ohw=torch.cat(low_res) if low_res else torch.zeros(0, h, w),
            iou_o=np.array([float(mask.iou_o) for mask in found.values()], dtype=np.float32),
            presence_o=probabilities([mask.presence_o for mask in found.values()]),
            prompted_o=prompted_o,
            non_overlap=self.settings.non_overlap,
        )

    def _follow(self, run: _Run) -> Iterator[FrameResult]:
        while not run.is_over and self._has_frame(run.frame) and any(t.prompts for t in self._objects.values()):
            result = self._advance(run.frame, run.reverse, run.objects)
            run.frame += -1 if run.reverse else 1
            yield result

    def _advance(self, frame: int, reverse: bool, objects: Collection[int] | None = None) -> FrameResult:
        """One frame further for all objects that can be followed, or for some of them."""
        self._commit()
        chosen = {obj: track for obj, track in self._objects.items() if objects is None or obj in objects}
        followed = {obj: track for obj, track in chosen.items() if track.bank.conditioning}
        self._track(frame, {obj: t for obj, t in followed.items() if not self._stands(t, frame)}, reverse)
        for track in followed.values():
            track.passed[frame] = reverse
            if frame in track.bank.conditioning:
                self._clear_around(track, frame)
        self._forget_behind(frame, reverse)
        return self._result(frame)

    @torch.inference_mode()
    def _track(self, frame: int, tracks: dict[int, TrackedObject], reverse: bool) -> None:
        """Find objects on a frame by what is remembered of them, and remember what was found."""
        if not tracks or self._carry(frame, tracks, reverse):
            return
        features = self._features(frame, then=frame - 1 if reverse else frame + 1)
        memories = {obj: t.bank.select(frame, reverse=reverse, frames=self._length()) for obj, t in tracks.items()}
        found: dict[int, ObjectMask] = {}
        at_once, most = self.network.objects_at_once(features), self.settings.objects_per_batch
        around_bnc = None if at_once is None else self.network.look_around(features)
        for batch in batches(memories, min(most, at_once or most)):
            conditioned_ochw = self.network.recall(features, batch.recollection, around_bnc)
            nothing = PromptBatch.nothing(len(batch.objects), self.network.device)
            mask = self._decode(features, conditioned_ochw, nothing, candidates=self._tracks_with_candidates)
            found |= {obj: mask.rows(torch.tensor([row])) for row, obj in enumerate(batch.objects)}
        for obj, mask in self._apart(frame, found).items():
            memory = self.network.remember(features, mask, prompted=False)
            tracks[obj].keep(frame, self._filled(found[obj]), memory, conditions=False)

    def _carry(self, frame: int, tracks: dict[int, TrackedObject], reverse: bool) -> bool:
        """Give objects their masks without the network, where that may be. False: the network has to look."""
        if self._carrier is None:
            return False
        behind = {obj: track.latest(frame + 1 if reverse else frame - 1) for obj, track in tracks.items()}
        known = {obj: mask for obj, mask in behind.items() if mask is not None}
        move = self._carrier.move(frame, reverse) if len(known) == len(tracks) else None
        if move is None:
            self._carrier.looked(frame, reverse)
            return False
        logits_o1hw = move(torch.cat([mask.logits_o1hw for mask in known.values()]))
        for row, (obj, mask) in enumerate(known.items()):
            tracks[obj].carry(frame, replace(mask, logits_o1hw=logits_o1hw[row][None]))
        return True

    @torch.inference_mode()
    def _answer(self, track: TrackedObject, frame: int, wanted: FramePrompts) -> ObjectMask:
        """The mask that prompts ask for."""
        if wanted.with_memory and not self._is_published:
            self._commit(but=frame)
        features = self._features(frame)
        if wanted.mask is not None:
            drawn_11hw = drawn_tensor(wanted.mask.array, features.canvas_hw, self.network.device)
            return self._filled(self.network.adopt(features, drawn_11hw, self.settings.stability))
        points = as_points(wanted.points, wanted.box, self.video_hw)
        earlier = track.latest(frame)
        batch = prompt_batch([points], None if earlier is None else earlier.logits_o1hw, self.network.device)
        conditioned_1chw = self._conditioned(track, frame, features, with_memory=wanted.with_memory)
        is_ambiguous = len(points.labels_p) <= 1
        candidates = is_ambiguous and (not wanted.with_memory or self._tracks_with_candidates)
        return self._filled(self._decode(features, conditioned_1chw, batch, candidates=candidates))

    @property
    def _tracks_with_candidates(self) -> bool:
        told = self.settings.candidates_while_tracking
        return self.network.config.tracks_with_candidates if told is None else told

    def _conditioned(self, track: TrackedObject, frame: int, features: ImageFeatures, *, with_memory: bool) -> Tensor:
        """The map that prompts are decoded on. Corrections look in the direction in which the frame was tracked."""
        if not with_memory:
            return self.network.without_memory(features)
        memories = track.bank.select(
            frame, reverse=track.passed.get(frame, False), frames=self._length(), own=self._is_published
        )
        return self.network.recall(features, memories)

    def _decode(
        self, features: ImageFeatures, conditioned_ochw: Tensor, prompts: PromptBatch, *, candidates: bool
    ) -> ObjectMask:
        prediction = self.network.decode(
            features, conditioned_ochw, prompts, candidates=candidates, stability=self.settings.stability
        )
        return self.network.choose(prediction)

    @torch.inference_mode()
    def _commit(self, but: int | None = None) -> None:
        """Encode the memories of prompted frames (``but`` one), so that tracking attends to them."""
        for obj, track in self._objects.items():
            for frame in [frame for frame in track.drafts if frame != but]:
                corrects = track.prompts[frame].with_memory and self.settings.corrections != "condition"
                if not (corrects and frame in track.bank.conditioning):
                    self._remember_draft(obj, frame, conditions=not corrects)
                del track.drafts[frame]

    def _remember_draft(self, obj: int, frame: int, *, conditions: bool) -> None:
        track = self._objects[obj]
        mask = track.drafts[frame]
        belief = self._apart(frame, {obj: mask})[obj]
        memory = self.network.remember(self._features(frame), belief, prompted=self.settings.binarise_prompted)
        track.keep(frame, mask, memory, conditions=conditions)
        self._clear_around(track, frame)

    def _apart(self, frame: int, found: dict[int, ObjectMask]) -> dict[int, ObjectMask]:
        """Masks for the memory, where wanted without overlap with any object of the frame."""
        if not self.settings.non_overlap_in_memory:
            return found
        others = {obj: mask for obj, track in self._objects.items() if (mask := track.latest(frame)) is not None}
        everyone = {**others, **found}
        logits_ohw = masks.without_overlap(torch.cat([mask.logits_o1hw for mask in everyone.values()]))
        apart = {obj: logits_ohw[row][None] for row, obj in enumerate(everyone)}
        return {obj: replace(mask, logits_o1hw=apart[obj]) for obj, mask in found.items()}

    def _filled(self, mask: ObjectMask) -> ObjectMask:
        """Without small holes."""
        if not self.settings.max_hole_area:
            return mask
        inside_hw = mask.logits_o1hw[0, 0] > 0
        filled_hw = masks.fill_small_holes(inside_hw.cpu().numpy(), self.settings.max_hole_area + 1)
        is_hole_hw = torch.from_numpy(filled_hw).to(inside_hw.device) & ~inside_hw
        return replace(mask, logits_o1hw=mask.logits_o1hw.masked_fill(is_hole_hw, HOLE_LOGIT))

    def _checked(
        self, track: TrackedObject, frame: int, prompts: tuple[Prompt, ...], *, replaces: bool
    ) -> FramePrompts:
        """All prompts of the frame, with whether they are answered with memory."""
        wanted = track.prompts.get(frame, FramePrompts()).updated(prompts, replaces)
        wanted = replace(wanted, with_memory=frame in track.passed if self._is_published else track.corrects(frame))
        if self.settings.checks_prompts:
            wanted.check_inside(self.video_hw)
            shows_absence = wanted.mask is not None and bool(track.prompts)
            if not (wanted.with_memory or shows_absence or track.latest(frame)):
                require_positive(wanted.points, wanted.box, wanted.mask)
        return wanted

    @property
    def _is_published(self) -> bool:
        return self.settings.corrections == "published"

    def _stands(self, track: TrackedObject, frame: int) -> bool:
        """Whether the user's word on a frame holds when propagation passes."""
        return frame in track.bank.conditioning or (self.settings.corrections == "keep" and frame in track.prompts)

    def _clear_around(self, track: TrackedObject, frame: int) -> None:
        if self.settings.clear_memory_around_prompts:
            reach = self.settings.memory_stride * self.network.config.memory.slots
            track.forget_memories(frame - reach, frame + reach)

    def _forget_behind(self, frame: int, reverse: bool) -> None:
        """Results beyond ``keep_frames``, and memories once no frame attends to them any more."""
        kept = self.settings.keep_frames
        if kept is None or not self._objects:
            return
        direction = -1 if reverse else 1
        reach = max(track.bank.reach for track in self._objects.values()) * self.settings.keyframes
        unattended = frame - direction * max(kept, reach + 1)
        for track in self._objects.values():
            track.forget_result(frame - direction * kept)
            track.forget_memories(unattended, unattended)
        if not any(unattended in track.prompts for track in self._objects.values()):
            drop(self._keys, unattended)

    def _new_object(self) -> TrackedObject:
        bank = MemoryBank(
            self.network.config.memory,
            conditioning=self._memories(),
            tracked=self._memories(),
            max_conditioning=self.settings.max_conditioning,
            stride=self.settings.memory_stride,
            sparse=self.settings.skips_frames,
        )
        results = [self._store(ObjectMask, logits_o1hw=torch.float16) for _ in range(2)]
        return TrackedObject(bank, masks=results[0], drafts=results[1])

    def _memories(self) -> SharedKeys:
        return SharedKeys(self._store(FrameMemory, features_ochw=torch.bfloat16), self._keys)

    def _store(self, kind: type, **compact: torch.dtype) -> SpillingStore:
        return SpillingStore(
            self._spill,
            kind,
            dtypes=compact if self.settings.compact else None,
            held_on="cpu" if self.settings.offload else None,
            device=self.network.device,
            dtype=None if kind is FrameKeys else self.network.no_memory.dtype,
        )

    def _nothing(self) -> ObjectMask:
        absent_o = torch.full((1,), ABSENT_LOGIT, device=self.network.device)
        logits_11hw = absent_o.expand(1, 1, *self.network.config.low_res_hw(self.video_hw))
        return ObjectMask(logits_11hw, torch.zeros(1), torch.zeros(1, 0), absent_o)

    def _object(self, obj: int) -> TrackedObject:
        if obj not in self._objects:
            raise ValueError(f"there is no object {obj}; the objects are {list(self.objects) or 'none yet'}")
        return self._objects[obj]

    def _use(self, source: FrameSource) -> None:
        self._source = source
        self._features = EncodedFrames(self.network, source, self.settings.cached_frames)
        self._carrier = Carrier(source, self.settings) if self.settings.skips_frames else None

    def _frames(self) -> FrameSource:
        if self._source is None:
            raise ValueError("there are no frames yet; pass them to VideoSession, or one by one to step")
        return self._source

    def _length(self) -> int | None:
        """The video's length where it is known before its end."""
        return self._frames().frame_count

    def _existing(self, frame: int) -> int:
        self._frames()
        frame, count = index(frame), self.frame_count
        if frame < 0 or (count is not None and frame >= count):
            known = f"the frames are 0 to {count - 1}" if count else "frames count from 0"
            raise IndexError(f"frame {frame} does not exist; {known}")
        return frame

    def _has_frame(self, frame: int) -> bool:
        count = self.frame_count
        if count is not None or frame < 0:
            return count is None or 0 <= frame < count
        try:
            self._frames()[frame]
        except IndexError:
            return False
        return True

    def _last_frame(self, first: int, end: int | None, max_frames: int | None, reverse: bool) -> int | None:
        """The last frame to be followed; None: as far as the video goes."""
        if end is not None and max_frames is not None:
            raise ValueError("expected either end or max_frames, got both")
        if max_frames is not None:
            if max_frames < 0:
                raise ValueError(f"max_frames counts the frames after the first, so it is at least 0, got {max_frames}")
            return first + (-max_frames if reverse else max_frames)
        if end is not None and (end > first if reverse else end < first):
            side = "before" if reverse else "after"
            raise ValueError(f"expected an end {side} frame {first}, got {end}; pass reverse={not reverse}")
        return None if end is None else self._existing(end)


@dataclass
class _Run:
    """How far a propagation has come."""

    frame: int
    """The next frame."""
    last: int | None
    reverse: bool
    objects: frozenset[int] | None = None
    """Those that are followed; None: all."""

    @property
    def is_over(self) -> bool:
        if self.reverse:
            return self.frame < max(self.last or 0, 0)
        return self.last is not None and self.frame > self.last


class _Steps:
    """The frames of a camera as an iterator that never says it has ended."""

    def __init__(self) -> None:
        self.waiting: deque[Any] = deque()
        self.count = 0

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self.waiting.popleft()
