"""Sections and gallery -> the HTML page."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jinja2

from pneumo_batch.core.statistics.wording import listed
from pneumo_batch.report import parts
from pneumo_batch.report.parts import Section
from pneumo_batch.report.sections.gallery import Gallery
from pneumo_batch.report.source import Source

_FOLDER = Path(__file__).parent


def render(source: Source, sections: Sequence[Section], gallery: Gallery) -> bytes:
    """One document with everything inside. Names and numbers are escaped; only our own script may run."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = parts.number
    environment.filters["signs"] = parts.signs
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    html = environment.get_template("page.html.j2").render(
        name=source.record["name"],
        record=source.record,
        sections=sections,
        gallery=gallery,
        primary=source.results.primary,
        target=listed(list(source.results.targets)) if source.results.targets else source.target,
        are="are" if source.results.targets else "is",
        css=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return html.encode()
