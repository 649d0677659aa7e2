"""Sphinx: the book from stored outputs, everything local.

`book/build.py` runs it on the sources that it has laid out.
"""

import ast
import inspect
import textwrap
from itertools import pairwise
from pathlib import Path

import minidiff

ROOT = Path(minidiff.__file__).resolve().parents[1]

WRAPPED_AT = 85  # a docstring's line, without its indentation, is never longer by more than a word

project = "minidiff"
author = copyright = "minidiff contributors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = []
nitpicky = False

nb_execution_mode = "off"  # the outputs that are stored are the outputs that are shown
nb_output_stderr = "remove"
nb_ipywidgets_js = {}  # else myst-nb asks a CDN for them
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence"]
myst_heading_anchors = 3
mathjax_path = "mathjax/tex-mml-chtml.js"

html_theme = "sphinx_book_theme"
html_title = "minidiff"
html_static_path = [str(ROOT / "book" / "static"), str(ROOT / "build" / "book-static")]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_context = {"default_mode": "light"}  # the figures are dark on white
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # one search box is enough
}

# two modules may name a class alike; a type in a signature links to the first
suppress_warnings = ["ref.python"]
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True, "show-inheritance": False}


def as_it_is_written(app, what, name, obj, options, lines):
    """A docstring is text with equations in it, no reST: shown as it stands; only lines that
    were full are joined again.
    """
    if lines:
        lines[:] = [
            ".. code-block:: text",
            "   :class: docstring",
            "",
            *(f"   {line}" for line in unwrapped(lines)),
        ]


def unwrapped(lines: list[str]) -> list[str]:
    """The lines, where one that ends because the next word did not fit goes on with the next
    one.
    """
    joined = lines[:1]
    for before, line in pairwise(lines):
        words = line.split()
        full = words and before.strip() and len(before) + 1 + len(words[0]) > WRAPPED_AT
        if full and not line.startswith("|"):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    return joined


def as_in_the_source(app, what, name, obj, options, signature, returns):
    """The signature with the names of its types (`x_t: Points`) rather than with what they stand
    for.
    """
    function = obj.__init__ if what == "class" and "__init__" in vars(obj) else obj
    try:
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    except (TypeError, OSError, ValueError, SyntaxError):
        return None
    if not isinstance(node, ast.FunctionDef):
        return None
    arguments = node.args
    if what in ("method", "class") and arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args = arguments.args[1:]
    returned = ast.unparse(node.returns) if node.returns and what != "class" else None
    return f"({ast.unparse(arguments)})", returned


def without_field_numbers(app, what, name, obj, skip, options):
    """The fields of a NamedTuple are said in its docstring; "Alias for field number 0" says
    nothing.
    """
    return (
        True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field number") else None
    )


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", as_it_is_written)
    app.connect("autodoc-process-signature", as_in_the_source)
    app.connect("autodoc-skip-member", without_field_numbers)
