"""``masklet everything``: all objects of a picture or a video, without showing any."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masklet.cli import INTERRUPTED
from masklet.cli.options import AT_THE_END_HELP, FILE, takes_network, takes_outputs
from masklet.cli.outputs import named_outputs

if TYPE_CHECKING:
    from masklet.model.sam2 import SegmentationNetwork
    from masklet.sessions.everything.settings import OutputMode

FRAME = click.IntRange(min=0)
COUNT = click.IntRange(min=0)
SOME = click.IntRange(min=1)
SHARE = click.FloatRange(0, 1)
MODES = ("coco_rle", "uncompressed_rle", "binary_mask")
MAX_GRID_BYTES = 16 << 20

SEARCH_OPTIONS: dict[str, tuple[str, Any, str]] = {
    "points_per_side": (
        "--points-per-side",
        SOME,
        "Points along a side; crops in videos have fewer.  [32]",
    ),
    "points_per_batch": ("--points-per-batch", SOME, "Points that are decoded in one go.  [64]"),
    "pred_iou_thresh": ("--iou-threshold", SHARE, "Keep masks of a higher predicted IoU.  [0.8]"),
    "stability_score_thresh": ("--stability-threshold", SHARE, "Keep masks that are as stable.  [0.95]"),
    "stability_score_offset": ("--stability-offset", float, "Stability looks so far around the threshold.  [1.0]"),
    "mask_threshold": ("--mask-threshold", float, "Pixels with higher logits belong to the mask.  [0.0]"),
    "box_nms_thresh": ("--box-nms", SHARE, "Masks whose boxes overlap more are duplicates.  [0.7]"),
    "crop_n_layers": ("--crop-layers", COUNT, "Search 2x2, 4x4 ... crops too.  [picture: 0, video: 2]"),
    "crop_nms_thresh": ("--crop-nms", SHARE, "As --box-nms, for masks of different crops.  [0.7]"),
    "crop_overlap_ratio": ("--crop-overlap", SHARE, "Overlap of crops, as a part of the short side.  [0.341]"),
    "crop_n_points_downscale_factor": ("--points-downscale", SOME, "Divides the points in each layer of crops.  [1]"),
    "min_mask_region_area": ("--min-region-area", COUNT, "Remove smaller holes, parts.  [picture: 0, video: 200]"),
}
FOLLOW_OPTIONS: dict[str, tuple[str, Any, str]] = {
    "discover_every": ("--discover-every", COUNT, "Frames between searches for new objects; 0: none.  [8]"),
    "max_points": ("--max-points", SOME, "Points of such a search.  [256]"),
    "max_objects": ("--max-objects", SOME, "Objects that are followed at the same time.  [64]"),
    "max_covered": ("--max-covered", SHARE, "Part of a new object that may be known already.  [0.5]"),
    "duplicate_iou": ("--duplicate-iou", SHARE, "Objects that overlap more become one.  [0.8]"),
    "fragment_share": ("--fragment-share", SHARE, "Later objects that lie in another by more join it.  [0.9]"),
    "merge_after": ("--merge-after", SOME, "Frames in a row that must show either.  [3]"),
    "retire_after": ("--retire-after", COUNT, "Frames out of sight before one makes room.  [24]"),
}


def takes_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Passes each setting by its own name; None where it is not given."""
    options = [(name, flag, kind, text) for name, (flag, kind, text) in SEARCH_OPTIONS.items()]
    options += [(name, flag, kind, f"Video: {text}") for name, (flag, kind, text) in FOLLOW_OPTIONS.items()]
    for name, flag, kind, text in reversed(options):
        command = click.option(flag, name, type=kind, help=text)(command)
    return command


@click.command("everything", epilog=AT_THE_END_HELP)
@click.argument("path", type=FILE, metavar="IMAGE_OR_VIDEO")
@takes_outputs
@takes_network
@click.option("--start", type=FRAME, metavar="FRAME", help="Video: where to begin.  [default: at frame 0]")
@click.option("--end", type=FRAME, metavar="FRAME", help="Video: the last frame.  [default: the video's last]")
@takes_settings
@click.option("--point-grids", type=FILE, metavar="FILE", help="JSON with own points; see the documentation.")
@click.option("--refine", "use_m2m", is_flag=True, help="Decode each mask twice, which smooths it.")
@click.option("--single-mask", is_flag=True, help="One mask for each point instead of three.")
@click.option("--records", type=FILE, metavar="PATH", help="Picture: all that is known of each mask, as --output-mode.")
@click.option(
    "--output-mode",
    type=click.Choice(MODES),
    help="Masks of --records: COCO or plain run lengths in a JSON file, or a folder of PNG and a table.  [coco_rle]",
)
def everything(
    path: Path,
    paths: Sequence[Path],
    formats: Sequence[str],
    load: Callable[[], SegmentationNetwork],
    start: int | None,
    end: int | None,
    records: Path | None,
    output_mode: OutputMode | None,
    **given: Any,
) -> None:
    """Find all objects of a picture, or find and follow all objects of a video: a file, or a folder of pictures.

    In a video, objects that enter later are found too, and each keeps its number. Without --out an overlay is written
    to the current folder. Ctrl-C keeps what is finished.

    \b
      masklet everything photo.jpg --out masks.json --out overlay.png
      masklet everything photo.jpg --records masks/ --output-mode binary_mask
      masklet everything clip.mp4 --max-objects 16 --out overlay.mp4
      masklet everything clip.mp4 --format sav --out sav_000
    """
    from masklet.cli.find import find_in_picture, find_in_video, mask_settings, masklet_settings
    from masklet.cli.follow import report_damage
    from masklet.cli.records import Records
    from masklet.video.read import open_frames

    search, following = _split(given)
    if output_mode is not None and records is None:
        raise ValueError("--output-mode says how --records are written; add --records PATH")
    kept = None if records is None else Records(records, output_mode or "coco_rle")
    with open_frames(path) as source:
        is_picture = source.frame_count == 1
        outputs = named_outputs(paths, formats, path, is_picture=is_picture)
        if is_picture:
            _check_no_video_options(start, end, following)
            run = find_in_picture(source, outputs, load, mask_settings(search), kept)
        elif kept:
            raise ValueError("--records is for pictures, and this is a video; name a file with --out")
        else:
            run = find_in_video(source, outputs, load, masklet_settings(search, following), start or 0, end)
        report_damage(source)
    for output in (*outputs, *([kept] if kept else [])):
        click.echo(output.path)
    for line in run.report:
        click.echo(line, err=True)
    if run.was_stopped:
        click.get_current_context().exit(INTERRUPTED)


def _split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was said about searching, by the names of ``MaskSettings``, and about following, by ``MaskletSettings``."""
    search = {name: given[name] for name in SEARCH_OPTIONS if given[name] is not None}
    following = {name: given[name] for name in FOLLOW_OPTIONS if given[name] is not None}
    if given["use_m2m"]:
        search["use_m2m"] = True
    if given["single_mask"]:
        search["multimask_output"] = False
    if given["point_grids"] is not None:
        if "points_per_side" in search:
            raise ValueError("expected either --points-per-side or --point-grids, got both")
        search["point_grids"] = _read_grids(given["point_grids"])
    return search, following


def _read_grids(path: Path) -> tuple[Any, ...]:
    """One array (n, 2) for the picture, and one for each layer of crops. Raises ValueError for anything else."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; expected points as JSON")
    if path.stat().st_size > MAX_GRID_BYTES:
        raise ValueError(f"{path} is longer than {MAX_GRID_BYTES} bytes; expected points as JSON")
    try:
        return tuple(np.asarray(grid, dtype=np.float64) for grid in json.loads(path.read_bytes()))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} must hold [[[x, y], ...], ...], a list for each layer: {error}") from error


def _check_no_video_options(start: int | None, end: int | None, following: Mapping[str, Any]) -> None:
    extra = [FOLLOW_OPTIONS[name][0] for name in following]
    extra += [flag for flag, value in (("--start", start), ("--end", end)) if value is not None]
    if extra:
        raise ValueError(f"{extra[0]} is for videos, and this is a picture; leave it out")
