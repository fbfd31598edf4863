from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

import masklet
from masklet.cli import COMMANDS, main

HEAVY = ("torch", "numpy", "cv2", "av", "PIL", "huggingface_hub", "tqdm")


@pytest.mark.parametrize("arguments", [["--help"], ["track", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]):
    code = (
        "import sys\nfrom masklet.cli import main\n"
        f"main({arguments}, standalone_mode=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_list_of_commands_imports_none_of_them():
    code = (
        "import sys\nfrom masklet.cli import COMMANDS, main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print([name for name in COMMANDS if f'masklet.cli.{name}' in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_help_lists_every_command_with_a_sentence():
    lines = CliRunner().invoke(main, ["--help"]).output.splitlines()
    for name in COMMANDS:
        assert any(line.startswith(f"  {name} ") and line.endswith(".") for line in lines)


def test_the_module_runs_as_the_command():
    result = subprocess.run(
        [sys.executable, "-m", "masklet.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"masklet, version {masklet.__version__}\n"


def test_an_unknown_command_is_refused():
    result = CliRunner().invoke(main, ["tracks"])
    assert result.exit_code == 2
    assert "No such command 'tracks'" in result.stderr


def test_ctrl_c_outside_a_run_has_the_status_of_shells(monkeypatch: pytest.MonkeyPatch):
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("masklet.cli.models.models.callback", interrupted)
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 130
    assert result.stderr == "Stopped.\n"
