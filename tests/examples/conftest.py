"""Examples run on the same small clip, picture and weights as the command line."""

from ..cli.conftest import clip, photo, weights

__all__ = ["clip", "photo", "weights"]
