"""The book of who works on which image."""

from pneumo_batch.execution import worklog
from pneumo_batch.execution.worklog import Desk, Place

HERE, THERE = Place("a", 1), Place("b", 2)


def test_a_batch_that_ends_leaves_no_trace():
    book = Desk()
    assert not book.sign_in(["x", "y"])
    book.sign_out(["x", "y"], HERE)
    assert not book.sign_in(["x", "y"])


def attempt(book, images, deadly):
    """What a worker does with a batch: the images it did, or None where it died."""
    suspicious = book.sign_in(images)
    done, before = [], None
    for image in images:
        if suspicious:
            if before:
                book.sign_out_alone(before)
            before = image
            if book.sign_in_alone(image):
                continue
        if image == deadly:
            return None
        done.append(image)
    book.sign_out(images, HERE)
    return done


def test_the_image_three_workers_died_of_is_left_out_and_no_other():
    book = Desk()
    found = [attempt(book, ["x", "deadly", "y"], "deadly") for _ in range(4)]
    assert found == [None, None, None, ["x", "y"]]
    assert attempt(book, ["x", "y"], "deadly") == ["x", "y"]


def test_a_worker_lost_without_a_culprit_costs_no_image():
    book = Desk()
    for image in ("x", "y"):  # killed from outside, each time on another image
        assert attempt(book, ["x", "y"], image) is None
    assert attempt(book, ["x", "y"], None) == ["x", "y"]


def test_an_image_that_takes_too_long_is_left_out(monkeypatch):
    now = 100.0
    monkeypatch.setattr(worklog.time, "monotonic", lambda: now)
    book = Desk()
    book.sign_in(["slow", "x"])
    book.turn_to("slow", HERE)
    book.turn_to("x", THERE)
    now = 105.0
    book.turn_to("y", THERE)
    now = 111.0
    assert book.late(10.0) == [(HERE, "slow")]
    book.leave_out("slow", HERE, "too slow")
    assert book.late(10.0) == []
    assert book.sign_in(["slow", "x"])
    assert book.sign_in_alone("slow") == "too slow"
    assert book.sign_in_alone("x") is None


def test_a_worker_that_is_gone_is_no_reason_against_its_image(monkeypatch):
    now = 0.0
    monkeypatch.setattr(worklog.time, "monotonic", lambda: now)
    book = Desk()
    book.sign_in(["x"])
    book.turn_to("x", HERE)
    now = 20.0
    assert book.late(10.0) == [(HERE, "x")]
    book.forget(HERE)
    assert book.late(10.0) == []
    book.sign_in(["x"])
    assert book.sign_in_alone("x") is None
