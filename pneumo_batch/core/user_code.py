"""Code of the user's own - networks, methods, metrics - by the name that a job file has for it: "module:function"."""

import contextlib
import contextvars
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Code = Callable[..., Any]  # what it gives, those who call it look at

# What a test in memory was given as objects: a lambda cannot be imported by its name.
_given: contextvars.ContextVar[Mapping[str, Code] | None] = contextvars.ContextVar("given", default=None)


def user_callable(reference: str) -> Code:
    """The object that "module:name" points at; a ValueError says which half is wrong."""
    known = _given.get() or {}
    if reference in known:
        return known[reference]
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not f"{module_name}.".startswith(f"{error.name}."):  # one that it imports
            raise ValueError(f"{reference!r}: cannot import the module: {error}") from error
        raise ValueError(f"{reference!r}: no such module: is its folder on PYTHONPATH?") from error
    except ImportError as error:
        raise ValueError(f"{reference!r}: cannot import the module: {error}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        raise ValueError(f"{reference!r}: the module has no callable {attribute!r}")
    return found


def name_of(function: Code) -> str:
    """The name "module:function" of an object; of one that is no function, that of its class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def names_of(what: str, given: Sequence[str | Code]) -> list[str]:
    """Names of a list of names and objects; `what` it is a list of. Raises ValueError where two have one name."""
    names = [one if isinstance(one, str) else name_of(one) for one in given]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{what}: two are called {twice[0]}: list each only once, and give functions different names")
    return names


@contextlib.contextmanager
def given(functions: Mapping[str, Code]) -> Iterator[None]:
    """Inside the block these names mean these objects, whatever could be imported by them."""
    token = _given.set({**(_given.get() or {}), **functions})
    try:
        yield
    finally:
        _given.reset(token)
