"""The tables of a job file."""

from pydantic import BaseModel

from pneumo_batch.job import schema


def sections(model=schema.Job):
    yield model
    for field in model.model_fields.values():
        annotation = field.annotation
        inner = getattr(annotation, "__args__", (annotation,))[0]
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from sections(inner)
