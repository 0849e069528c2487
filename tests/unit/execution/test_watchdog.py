"""The record of who works on which image."""

from pneumo_batch.execution import watchdog
from pneumo_batch.execution.watchdog import Place, Watchdog

HERE, THERE = Place("a", 1), Place("b", 2)


def test_a_batch_that_ends_leaves_no_trace():
    kept = Watchdog()
    assert not kept.batch_started(["x", "y"])
    kept.batch_finished(["x", "y"], HERE)
    assert not kept.batch_started(["x", "y"])


def attempt(kept, images, deadly):
    """What a worker does with a batch: the images it did, or None where it died."""
    suspicious = kept.batch_started(images)
    done, before = [], None
    for image in images:
        if suspicious:
            if before:
                kept.image_finished_alone(before)
            before = image
            if kept.image_started_alone(image):
                continue
        if image == deadly:
            return None
        done.append(image)
    kept.batch_finished(images, HERE)
    return done


def test_the_image_three_workers_died_of_is_left_out_and_no_other():
    kept = Watchdog()
    found = [attempt(kept, ["x", "deadly", "y"], "deadly") for _ in range(4)]
    assert found == [None, None, None, ["x", "y"]]
    assert attempt(kept, ["x", "y"], "deadly") == ["x", "y"]


def test_a_worker_lost_without_a_culprit_costs_no_image():
    kept = Watchdog()
    for image in ("x", "y"):  # killed from outside, each time on another image
        assert attempt(kept, ["x", "y"], image) is None
    assert attempt(kept, ["x", "y"], None) == ["x", "y"]


def test_an_image_that_takes_too_long_is_left_out(monkeypatch):
    now = 100.0
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now)
    kept = Watchdog()
    kept.batch_started(["slow", "x"])
    kept.turned_to("slow", HERE)
    kept.turned_to("x", THERE)
    now = 105.0
    kept.turned_to("y", THERE)
    now = 111.0
    assert kept.late(10.0) == [(HERE, "slow")]
    kept.leave_out("slow", HERE, "too slow")
    assert kept.late(10.0) == []
    assert kept.batch_started(["slow", "x"])
    assert kept.image_started_alone("slow") == "too slow"
    assert kept.image_started_alone("x") is None


def test_a_worker_that_is_gone_is_no_reason_against_its_image(monkeypatch):
    now = 0.0
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now)
    kept = Watchdog()
    kept.batch_started(["x"])
    kept.turned_to("x", HERE)
    now = 20.0
    assert kept.late(10.0) == [(HERE, "x")]
    kept.forget(HERE)
    assert kept.late(10.0) == []
    kept.batch_started(["x"])
    assert kept.image_started_alone("x") is None
