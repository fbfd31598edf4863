"""Where networks compute."""

from __future__ import annotations

import torch


def chosen_device(name: str | None) -> str:
    """The named device, else the graphics card, else the processor. Raises ValueError for one that is not there."""
    device = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot compute on device {device!r}: {reason}; leave it out for the usual one") from error
    return device
