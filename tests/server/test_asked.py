from __future__ import annotations

from pathlib import Path

from masklet.server import asked
from masklet.server.asked import Asked


def test_a_request_is_new_once_and_its_answer_is_kept():
    pages = Asked()
    assert pages.begin("a", 1)
    assert not pages.begin("a", 1)
    assert pages.begin("b", 1)
    assert pages.answer_of("a", 1) is None
    pages.settle("a", 1, "no")
    assert pages.answer_of("a", 1) == "no"
    assert not pages.begin("a", 1)


def test_what_is_remembered_is_bounded():
    pages = Asked()
    for number in range(1, asked.ANSWERS + 3):
        pages.begin("a", number)
        pages.settle("a", number, f"no {number}")
    assert (pages.answer_of("a", 2), pages.answer_of("a", 3)) == ("", "no 3")
    assert not pages.begin("a", 1)
    for name in range(asked.CLIENTS):
        pages.begin(f"page {name}", 1)
    assert pages.begin("a", 1)


def test_answers_outlive_the_server(tmp_path: Path):
    path = tmp_path / "asked"
    pages = Asked(path)
    for number in range(1, 400):
        pages.begin("a", number)
        pages.settle("a", number, f"no {number}")
    pages.close()
    again = Asked(path)
    assert not again.begin("a", 399)
    assert again.answer_of("a", 399) == "no 399"
    assert again.begin("a", 400)
    assert len(path.read_text().splitlines()) == asked.ANSWERS
