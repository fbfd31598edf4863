from __future__ import annotations

import re
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from fastapi import FastAPI
from fastapi.testclient import TestClient

from masklet.cli import main, options
from masklet.server import app as server
from masklet.server.limits import Limits

CORES = 4
"""Of the machine on which servers start here."""


def test_without_its_packages_it_says_what_to_install():
    code = "import sys; sys.modules['fastapi'] = None; from masklet.cli import main; main(['serve', '--no-browser'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 1
    assert 'pip install "masklet[serve]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_help_tells_where_it_listens_and_what_it_takes():
    output = CliRunner().invoke(main, ["serve", "--help"]).output
    assert "127.0.0.1" in output
    assert "--max-minutes" in output


def test_a_port_that_is_none_is_refused():
    assert CliRunner().invoke(main, ["serve", "--port", "70000"]).exit_code == 2


class Started:
    """What a server would be started with. Instead of listening, it is asked for a page."""

    def __init__(self) -> None:
        self.output = ""
        self.status: dict[str, int] = {}
        self.address: tuple[str, int] = ("", 0)
        self.limits = Limits()
        self.threads = 0
        self.opened: list[str] = []

    @property
    def printed(self) -> str:
        """The address."""
        return next(word for word in self.output.split() if word.startswith("http"))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Runs ``masklet serve`` with a network that nobody asks, and looks who is let in under which names."""

    def start(*arguments: str, hosts: tuple[str, ...] = ("localhost",)) -> Started:
        started, opened = Started(), Event()
        torch.set_num_threads(CORES)

        def run(app: FastAPI, host: str, port: int, limits: Limits) -> None:
            started.address, started.limits, started.threads = (host, port), limits, torch.get_num_threads()
            with TestClient(app) as client:
                for name in hosts:
                    started.status[name] = client.get("/api/limits", headers={"Host": name}).status_code
            if "--no-browser" not in arguments:
                assert opened.wait(60)

        def browse(address: str) -> bool:
            started.opened.append(address)
            opened.set()
            return True

        monkeypatch.setattr(options, "load_network_on", lambda *_, **__: None)
        monkeypatch.setattr(server, "serve", run)
        monkeypatch.setattr(webbrowser, "open", browse)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        result = CliRunner().invoke(main, ["serve", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        started.output = result.output
        return started

    before = torch.get_num_threads()
    yield start
    torch.set_num_threads(before)


def test_by_default_only_this_machine_is_let_in_and_needs_no_token(start: Callable[..., Started]):
    started = start(hosts=("localhost", "127.0.0.1:8321", "example.org"))
    assert started.address == ("127.0.0.1", 8321)
    assert started.status == {"localhost": 200, "127.0.0.1:8321": 200, "example.org": 421}
    assert started.opened == [started.printed] == ["http://localhost:8321/"]


def test_elsewhere_a_token_is_made_up_and_printed(start: Callable[..., Started]):
    first, second = (start("--host", "0.0.0.0", "--no-browser", hosts=("any.example",)) for _ in range(2))  # noqa: S104
    assert first.status == {"any.example": 401}
    assert first.opened == []
    assert re.fullmatch(r"http://localhost:8321/\?token=[\w-]{32}", first.printed)
    assert first.printed != second.printed


def test_a_token_of_ones_own_is_taken_as_it_is_and_fits_the_address(start: Callable[..., Started]):
    started = start("--token", "a&b#c=d%e", "--no-browser", "--port", "9000")
    assert started.printed == "http://localhost:9000/?token=a%26b%23c%3Dd%25e"
    assert started.status == {"localhost": 401}


def test_names_are_those_by_which_it_answers(start: Callable[..., Started]):
    hosts = ("demo.example", "localhost", "other.example")
    here = start("--name", "demo.example", "--no-browser", hosts=hosts)
    assert here.status == {"demo.example": 200, "localhost": 200, "other.example": 421}
    everywhere = start("--host", "0.0.0.0", "--name", "demo.example", "--no-browser", hosts=hosts)  # noqa: S104
    assert everywhere.status == {"demo.example": 401, "localhost": 401, "other.example": 421}


def test_an_address_of_version_6_stands_in_brackets(start: Callable[..., Started]):
    assert start("--host", "::1", "--no-browser", hosts=("[::1]:8321",)).printed == "http://[::1]:8321/"


def test_bounds_are_those_that_were_named(start: Callable[..., Started]):
    values: dict[str, Any] = {"mb": 5000, "minutes": 60, "side": 640, "input-side": 8000, "pictures": 7, "sessions": 3}
    words = [word for name, value in values.items() for word in (f"--max-{name}", str(value))]
    limits = start(*words, "--idle-minutes", "5", "--no-browser").limits
    assert (limits.upload_bytes, limits.seconds, limits.side, limits.input_side) == (5000 << 20, 3600, 640, 8000)
    assert (limits.pictures, limits.sessions, limits.idle_minutes) == (7, 3, 5)
    assert limits.frames >= 60 * 60 * 60, "an hour of video of 60 frames a second"
    assert limits.prepare_seconds == 4 * 3600
    assert limits.stored_bytes > limits.upload_bytes


def test_a_core_is_left_to_the_browser_where_it_is_on_the_same_machine(start: Callable[..., Started]):
    assert start("--no-browser").threads == CORES - 1
    assert start("--no-browser", "--host", "0.0.0.0").threads == CORES  # noqa: S104
    assert start("--no-browser", "--threads", "2").threads == 2


def test_an_empty_token_is_refused_before_anything_is_loaded():
    result = CliRunner().invoke(main, ["serve", "--host", "0.0.0.0", "--token", "", "--weights", "nothing"])  # noqa: S104
    assert result.exit_code == 2
    assert "expected a token of at least 8" in result.output
