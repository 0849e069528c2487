"""Links between pages and files outside of docs/: the same target works on a code host and in the site.

A link to a file that the site includes as a page becomes a link to that page, any other file is offered for download.
"""

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index",
    "CHANGELOG.md": "changelog",
    **{f"cluster/{name}/README.md": f"cluster/{name}" for name in ("aws", "gcp", "kubernetes", "local", "schedule")},
}


def _target(reference: addnodes.pending_xref) -> Path | None:
    """The file outside of docs/ that a link means, relative to the repository; None for all other links."""
    if reference.get("reftype") != "myst":
        return None
    if reference["refdomain"] == "doc":  # MyST has found the file, and cut its ending off
        found = Path(f"{reference['reftarget']}.md")
        return found.relative_to(ROOT) if found.is_absolute() and found.is_relative_to(ROOT) else None
    path = Path(reference["reftarget"].partition("#")[0])  # of a text that was included from the root
    return path if (ROOT / path).is_file() else None


def _resolve(_app: Sphinx, doctree: nodes.document) -> None:
    for reference in list(doctree.findall(addnodes.pending_xref)):
        path = _target(reference)
        if path is None:
            continue
        if page := PAGES.get(path.as_posix()):
            reference.attributes.update(refdomain="doc", reftarget=page, reftargetid=reference.get("reftargetid"))
        else:
            offered = addnodes.download_reference(reftarget=f"/../{path}", refdoc=reference["refdoc"])
            offered.extend(reference.children)
            reference.replace_self(offered)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", _resolve, priority=400)  # before Sphinx collects what is to be downloaded
    return {"parallel_read_safe": True}
