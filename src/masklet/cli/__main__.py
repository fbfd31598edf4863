"""``python -m masklet.cli``, the same as ``masklet``."""

from __future__ import annotations

from masklet.cli import main

if __name__ == "__main__":
    main(prog_name="masklet")
