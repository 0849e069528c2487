"""How `make docs` builds the site. Nothing is fetched while it builds, nor when a page is read."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "pneumo-batch"
author = "the pneumo-batch authors"
version = release = metadata.version("pneumo-batch")
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "command_examples",
    "sphinx_copybutton",
    "job_fields",
    "repository_links",
]
# Pages of modules that are not written yet; a test fails once they are.
unwritten: list[str] = []
exclude_patterns = ["_extensions", *(f"reference/python-{name}.md" for name in unwritten)]

myst_heading_anchors = 4  # as code hosts do, whose links the pages have
highlight_language = "none"  # blocks without a language are formulas and pictures of text

nitpicky = True
nitpick_ignore_regex = [
    # their inventories would have to be downloaded
    ("py:.*", r"(collections|os|pathlib|typing)\..*"),
    ("py:.*", r"(np|numpy|pa|pandas|pd|pyarrow|torch)\..*"),
    ("py:class", "Figure"),  # of matplotlib
    # types that public functions give, and that are no public API themselves
    ("py:.*", r"pneumo_batch\.(api|job|core|rundir)\..*"),
    ("py:class", "Preprocess"),  # of pneumo_batch.core, imported where it is asked for
]

smartquotes = False  # "label" and --json are to be copied
toc_object_entries_show_parents = "hide"

default_role = "code"  # docstrings put names between single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_display_short_literal_types = True
maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"pneumo-batch {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"  # neither prompts nor what a command answers
