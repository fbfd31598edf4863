"""masklet.process."""

import os
import platform
import subprocess
import sys

import pytest

from masklet.process import keep_freed_memory

FAULTS = """
import ctypes
import resource
import sys
from masklet.process import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def use():
    blocks = [libc.malloc(20 << 20) for _ in range(4)]
    for block in blocks:
        libc.memset(block, 1, 20 << 20)
    for block in reversed(blocks):
        libc.free(block)

assert sys.argv[1] != "keep" or keep_freed_memory()
if sys.argv[1] == "load":
    import masklet
    masklet.load()
for _ in range(3):
    use()
begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


def faults(how: str, **environment: str) -> int:
    """Pages that the kernel was asked for while large blocks come and go."""
    command = [sys.executable, "-c", FAULTS, how]
    environment = {**os.environ, **environment}
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_memory_that_was_freed_is_used_again_without_the_kernel() -> None:
    assert faults("keep") < faults("as usual") / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_a_process_that_loads_a_network_keeps_its_freed_memory_unless_told_not_to() -> None:
    assert faults("load") < faults("load", MASKLET_KEEPS_FREED_MEMORY="0") / 10


def test_a_system_that_cannot_be_asked_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert not keep_freed_memory()


HELPERS = """
import sys
from contextlib import nullcontext
from pathlib import Path
import torch
from masklet.process import without_helpers

torch.set_num_threads(4)
threads = lambda: len(list(Path("/proc/self/task").iterdir()))
begin = threads()
with without_helpers() if sys.argv[1] == "without" else nullcontext():
    torch.ones(1 << 20).add(1)
assert torch.get_num_threads() == 4
print(threads() - begin)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="threads are counted in /proc")
@pytest.mark.parametrize(("how", "count"), [("with", 3), ("without", 0)])
def test_helper_threads_do_not_remain_where_none_are_wanted(how: str, count: int) -> None:
    found = subprocess.run([sys.executable, "-c", HELPERS, how], capture_output=True, text=True, check=True).stdout
    assert int(found) == count
