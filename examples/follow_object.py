"""Follow one object through a video from a box, correct it on a later frame, and write the overlay.

    python examples/follow_object.py clip.mp4 overlay.mp4 --box 309 121 423 390
    python examples/follow_object.py clip.mp4 overlay.mp4 --box 309 121 423 390 --at 40 --not-here 350 130

Pixels count from the top left corner, frames from 0.
"""

from __future__ import annotations

import argparse

from tqdm import tqdm

import masklet
from masklet.video.read import open_frames
from masklet.video.write import open_writer


def main() -> None:
    arguments = parsed()
    network = masklet.load(arguments.weights)
    with open_frames(arguments.video) as source:
        session = masklet.VideoSession(network, source)
        session.prompt(0, 1, masklet.Box(*arguments.box))
        results = {result.frame: result for result in tqdm(session.propagate(), total=session.frame_count)}
        if arguments.not_here:
            session.prompt(arguments.at, 1, masklet.Points([arguments.not_here], labels=[0]))
            results.update((result.frame, result) for result in session.propagate(start=arguments.at))
        with open_writer(arguments.out, source) as writer:
            for frame in sorted(results):
                writer.add(frame, source[frame], {found.obj: found.mask for found in results[frame]})
    print(arguments.out)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("out", help="an .mp4 for the overlay; masklet track --help lists the other formats")
    parser.add_argument("--box", type=float, nargs=4, required=True, metavar=("X0", "Y0", "X1", "Y1"))
    parser.add_argument("--at", type=int, default=0, help="frame of the correction")
    parser.add_argument("--not-here", type=float, nargs=2, metavar=("X", "Y"), help="a point the object does not cover")
    parser.add_argument("--weights", default="pico", help="a name that masklet models lists, or a file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
