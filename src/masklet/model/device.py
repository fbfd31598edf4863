"""Where networks compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode


def chosen_device(name: str | None) -> str:
    """The named device, else the graphics card, else the processor. Raises ValueError for one that is not there."""
    device = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot compute on device {device!r}: {reason}; leave it out for the usual one") from error
    return device


@contextmanager
def shapes_only() -> Iterator[None]:
    """Modules made within have parameters of the right shapes that hold no values (device "meta").

    Random numbers are not drawn: on that device torch would import its compiler for them, which takes seconds.
    """
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS_INTO:
            return args[0] if args else kwargs["tensor"]
        return (torch.empty if func is torch.randn else func)(*args, **kwargs)


_DRAWS_INTO = (init.normal_, init.uniform_, init.kaiming_uniform_, torch.Tensor.normal_, torch.Tensor.uniform_)
