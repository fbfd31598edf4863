from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from masklet.cli import main


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


def test_an_empty_token_is_refused_before_anything_is_loaded():
    result = CliRunner().invoke(main, ["serve", "--host", "0.0.0.0", "--token", "", "--weights", "nothing"])  # noqa: S104
    assert result.exit_code == 2
    assert "expected a token of at least 8" in result.output
