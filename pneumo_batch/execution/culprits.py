"""Why an image is left out that kills the process it is given to, or that never ends: the same words wherever it is."""

DEATHS = 2  # a process that dies of an image is its fault after so many more: one could be the machine's
_DIED, _STUCK = "the process that worked on it died", "no result within"


def died(times: int) -> str:
    return f"{_DIED}, {times} times"


def stuck(seconds: float) -> str:
    return f"{_STUCK} {seconds:g} s"


def gave_up(reason: str) -> bool:
    """Whether an image was rejected for this reason because a worker died of it, or hung on it."""
    return reason.startswith((_DIED, _STUCK))
