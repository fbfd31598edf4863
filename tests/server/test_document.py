from __future__ import annotations

from pathlib import Path

from masklet.server.document import Document, MaskValue

ONE, TWO = ("object", 1), ("object", 2)


def put(document: Document, **values: object) -> None:
    document.begin()
    for name, value in values.items():
        document.put(("object", int(name[1:])), value)


def test_a_page_that_has_seen_nothing_gets_every_value_once():
    document = Document()
    put(document, o1="a")
    put(document, o1="b", o2="c")
    assert [(change.key, change.value) for change in document.changes(0)] == [(ONE, "b"), (TWO, "c")]


def test_a_page_that_was_away_gets_what_changed_since_and_what_is_gone():
    document = Document()
    put(document, o1="a", o2="b")
    seen = document.version
    put(document, o1=None)
    assert [(change.key, change.value) for change in document.changes(seen)] == [(ONE, None)]
    assert document.changes(document.version) == []


def test_undo_and_redo_move_by_whole_steps():
    document = Document()
    put(document, o1="a", o2="b")
    put(document, o1="c")
    assert set(document.undo()) == {ONE}
    assert document.get(*ONE) == "a"
    assert set(document.undo()) == {ONE, TWO}
    assert document.get(*ONE) is None
    assert not document.can_undo
    document.redo()
    document.redo()
    assert (document.get(*ONE), document.get(*TWO)) == ("c", "b")
    assert not document.can_redo
    assert document.redo() == ()


def test_a_new_step_ends_what_could_be_done_again():
    document = Document()
    put(document, o1="a")
    document.undo()
    put(document, o2="b")
    assert not document.can_redo


def test_a_value_that_changes_within_a_step_goes_back_to_what_was_before_the_step():
    document = Document()
    put(document, o1="a")
    document.begin()
    document.put(ONE, "b")
    document.put(ONE, "c")
    document.undo()
    assert document.get(*ONE) == "a"


def test_what_is_published_is_sent_but_not_undone():
    document = Document()
    put(document, o1="a")
    document.publish(("status",), {"tracking": None})
    document.undo()
    assert document.get("status") == {"tracking": None}


def test_the_log_does_not_grow_with_the_number_of_changes():
    document = Document()
    for number in range(20_000):
        document.publish(ONE, number)
    assert len(document._log) < 2_000
    assert [change.value for change in document.changes(0)] == [19_999]


def test_an_equal_value_is_no_change():
    document = Document()
    mask = MaskValue(b"04", 0.5, 3, True)
    document.put(("mask", 1, 0), mask)
    seen = document.version
    document.put(("mask", 1, 0), MaskValue(b"04", 0.5, 3, True))
    assert document.version == seen


def mask(length: int) -> MaskValue:
    return MaskValue(b"x" * length, 1.0, 1, True)


def test_beyond_its_budget_the_oldest_steps_are_forgotten_first():
    document = Document(budget_bytes=10_000)
    for number in range(5):
        document.begin()
        document.put(("mask", 1, 0), mask(3000 + number))
    undone = 0
    while document.undo():
        undone += 1
    assert undone == 1
    assert not document.is_full


def test_what_is_held_is_the_same_after_undo_and_redo_and_less_when_all_is_gone():
    document = Document()
    for number in range(4):
        document.begin()
        document.put(("mask", 1, number % 2), mask(1000 + number))
        document.put(("mask", 1, number % 2), mask(2000 + number))
    document.put(("mask", 1, 0), None)
    document.begin()
    held = document._held_bytes + sum(step.sizes[1] for step in document._undone)
    while document.undo():
        assert document._held_bytes + sum(step.sizes[1] for step in document._undone) == held
    assert document._values_bytes == document._done_bytes == 0
    while document.redo():
        assert document._held_bytes + sum(step.sizes[1] for step in document._undone) == held


def test_a_full_document_has_room_again_when_something_is_removed():
    document = Document(budget_bytes=10_000)
    for number in range(4):
        document.begin()
        document.put(("mask", 1, number), mask(3000))
    assert document.is_full
    document.begin()
    document.put(("mask", 1, 0), None)
    document.put(("mask", 1, 1), None)
    document.begin()
    assert not document.is_full


def test_a_replayed_journal_gives_the_same_document_with_its_steps_and_versions(tmp_path: Path):
    path = tmp_path / "journal"
    document = Document.replayed(path)
    mask = ("mask", 1, 0)
    put(document, o1={"name": "a"}, o2={"name": "b"})
    document.begin()
    document.put(mask, MaskValue(b"04", 0.5, 3, True))
    document.publish(("status",), {"tracking": None})
    put(document, o1=None)
    document.undo()
    again = Document.replayed(path)
    assert again.items("object") == document.items("object")
    assert again.get(*mask) == document.get(*mask)
    assert (again.can_undo, again.can_redo) == (True, True)
    seen = document.version
    assert again.changes(seen) == []
    again.publish(("status",), {"tracking": 1})
    assert [change.key for change in again.changes(seen)] == [("status",)]
    again.redo()
    again.undo()
    again.undo()
    assert again.get(*mask) is None
    with path.open("a") as file:
        file.write('["put",7,["ob')
    assert Document.replayed(path).items("object") == document.items("object")


def test_a_step_that_is_resumed_is_undone_as_one_with_what_came_later():
    document = Document()
    put(document, o1="a")
    put(document, o2="b")
    document.resume(TWO)
    document.put(ONE, "c")
    document.begin()
    assert set(document.undo()) == {ONE, TWO}
    assert document.get(*ONE) == "a"
    document.redo()
    document.resume(("object", 3))
    document.put(ONE, "d")
    assert set(document.undo()) == {ONE}
