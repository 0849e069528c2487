"""The smallest job that has every stage."""

from pneumo_batch.job import jobfile

# What makes a run small: two epochs teach nothing, and nothing here asks a model to know anything; a path of fewer
# points is held against the same of other implementations.
TINY = {
    "name": "tiny",
    "data": {"root": "phantom", "image_size": 64, "val_fraction": 0.2},
    "phantom": {"train": 40, "test": 14, "image_size": 96},
    "train": {"true_seeds": [0, 1], "random_seeds": [100], "epochs": 2, "max_epochs": 2, "batch_size": 8},
    "attribution": {"rows_per_file": 4, "integrated_gradients": {"steps": 16}},
    "compare": {"resamples": 100},
}


def tiny_job(**sections):
    """The tiny job with some values of its sections replaced."""
    values = {name: dict(part) if isinstance(part, dict) else part for name, part in TINY.items()}
    for name, part in sections.items():
        values[name] = {**values.get(name, {}), **part} if isinstance(part, dict) else part
    return jobfile.parse(values, source="test")


# Work that is not what a test is about: a process less for each of training and attribution, and few steps.
_LEAN = {
    "attribution": {"rows_per_file": 4, "integrated_gradients": {"steps": 4}},
    "cluster": {"actors": 1, "trainings": 1},
}


def lean_job(**sections):
    """The tiny job with as little work and as few processes as it can have, and some values of its sections replaced.

    Its maps are not those of the tiny job to the last digit: an actor alone has all threads.
    """
    merged = {name: {**part, **sections.pop(name, {})} for name, part in _LEAN.items()}
    return tiny_job(**merged, **sections)


# The same as a file, for the command.
TINY_TOML = """
name = "tiny"
[data]
root = "phantom"
image_size = 64
[phantom]
train = 40
test = 8
image_size = 64
[train]
true_seeds = [0]
random_seeds = [100]
epochs = {epochs}
max_epochs = 1
batch_size = 8
[attribution]
integrated_gradients = {{ steps = 4 }}
[compare]
resamples = 100
"""
