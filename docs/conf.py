"""The site of the documentation: `make docs` writes it to build/site."""

from __future__ import annotations

import json
import re

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx

import flexseg

project = "flexseg"
author = "the authors of flexseg"
release = flexseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_design"]
exclude_patterns = ["*.py"]
smartquotes_action = "D"  # dashes, but no quotation marks

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"flexseg {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
sd_card_legacy_separators = False

FIELDS = {"Parameters": "param", "Attributes": "ivar", "Raises": "raises"}


class NotebookParser(MystParser):
    """Notebooks as pages: their text is Markdown, and their code is Python."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse the cells; their outputs are left out."""
        parts = []
        for cell in json.loads(inputstring)["cells"]:
            text = "".join(cell["source"])
            parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
        super().parse("\n\n".join(parts), document)


def as_fields(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Turn the sections of a docstring into the field lists of reStructuredText, in place.

    Items are `name : meaning` with further lines indented; code stands between single backticks.
    """
    section, made = "", []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if set(below) == {"-"}:
            section = line
            made += [f".. rubric:: {line}", ""] if line == "Examples" else []
        elif set(line) == {"-"}:
            made += [":returns:"] if section == "Returns" else []
        elif section == "Examples":
            made.append(line)
        else:
            text = line.replace("*", r"\*").replace("`", "``")
            item = re.match(r"(\w+) : (.*)", text)
            if section in FIELDS and item:
                text = f":{FIELDS[section]} {item[1]}: {item[2]}"
            made.append(f"    {text}" if section == "Returns" and text else text)
    lines[:] = made


def setup(app: Sphinx) -> None:
    """Register the parser and the translation of docstrings."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    app.connect("autodoc-process-docstring", as_fields)
