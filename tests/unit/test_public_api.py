"""The public names: their examples run, and asking for none of them costs anything."""

import doctest
import importlib
import subprocess
import sys

import pytest

import pneumo_batch

MODULES = ("attribution", "similarity", "statistics")


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_public_mathematics_run(name):
    module = importlib.import_module(f"pneumo_batch.{name}")
    found = doctest.testmod(module)
    assert found.failed == 0
    functions = [one for one in module.__all__ if callable(getattr(module, one)) and one[0].islower()]
    without = [one for one in functions if ">>>" not in getattr(module, one).__doc__]
    assert not without, f"no example: {', '.join(without)}"


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, pneumo_batch; print(sorted({name.split('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "importlib" in found
    assert not {"torch", "ray", "pyarrow", "numpy", "scipy"} & set(eval(found))


@pytest.mark.parametrize("name", [*pneumo_batch.__all__, *MODULES])
def test_every_public_name_is_there(name):
    assert getattr(pneumo_batch, name)
    assert name in dir(pneumo_batch)


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'randomisation_test'"):
        pneumo_batch.randomisation_test  # noqa: B018
