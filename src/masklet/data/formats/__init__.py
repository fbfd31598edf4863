"""How others store masklets. `table.READERS` and `table.WRITERS` hold what can be read and written, by these names."""

from __future__ import annotations

READABLE = {
    "sav": "SA-V training files: NAME.mp4, NAME_manual.json, NAME_auto.json",
    "sav-frames": "SA-V val and test: JPEGImages_24fps, Annotations_6fps/VIDEO/OBJECT",
    "coco": "COCO instances: run lengths or polygons; videos as in CocoVID",
    "sa1b": "SA-1B: a JSON file beside each picture",
    "davis16": "DAVIS 2016: JPEGImages/480p, Annotations/480p, one object, 0 and 255",
    "davis17": "DAVIS 2017: the same with object numbers, palette PNG",
    "youtube-vos": "YouTube-VOS: SPLIT/JPEGImages, SPLIT/Annotations, SPLIT/meta.json",
    "mose": "MOSE: as YouTube-VOS",
    "lvos": "LVOS: as YouTube-VOS, frames numbered with eight digits from 1",
    "objects": "one PNG folder per object: Annotations/VIDEO/OBJECT, JPEGImages/VIDEO",
    "images": "a folder of pictures and one of masks with the same names: images, masks",
    "videos": "a folder of videos and one of PNG folders: videos/NAME.mp4, masks/NAME",
    "rle": "the JSON that `masklet track` writes",
}
"""What can be read: format -> what it is. All of them can be written too."""

WRITE_ONLY = {
    "coco-polygons": "COCO instances with outlines in place of run lengths",
    "overlay": "videos or pictures with the masks drawn on them",
    "cutout-png": "PNG, transparent outside of the objects",
    "cutout-webm": "WebM, transparent outside of the objects",
    "numpy": "NAME.npz with bool arrays per object",
}
"""What can be written only: format -> what it is."""

VIEWS = ("rle", "overlay", "cutout-png", "cutout-webm")
"""Formats that results are written in frame by frame, see `masklet.video.FORMATS`."""

WRITABLE = {**READABLE, **WRITE_ONLY}
"""What can be written: format -> what it is."""

AT_THE_END = {name: text for name, text in WRITABLE.items() if name not in VIEWS}
"""Formats that results are written in when all are there: format -> what it is."""
