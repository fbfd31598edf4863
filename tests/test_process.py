"""masklet.process."""

import platform
import subprocess
import sys

import pytest

from masklet.process import keep_freed_memory

FAULTS = """
import resource
import sys
import torch
from masklet.model.config import MobileConfig
from masklet.model.mobile import Mobile
from masklet.process import keep_freed_memory

assert sys.argv[1] != "keep" or keep_freed_memory()
torch.set_num_threads(1)
trunk, picture = Mobile(MobileConfig()), torch.zeros(1, 3, 384, 384)
with torch.inference_mode():
    for _ in range(3):
        trunk(picture)
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        trunk(picture)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


def faults(how: str) -> int:
    """Pages that the kernel was asked for while a network encodes pictures."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_memory_that_was_freed_is_used_again_without_the_kernel() -> None:
    assert faults("keep") < faults("as usual") / 10


def test_a_system_that_cannot_be_asked_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert not keep_freed_memory()
