"""How Sphinx builds the site: `make docs`. Pages are Markdown that a forge shows too; `making` adds what is made."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from making import pages  # noqa: E402

project, author, copyright = "vadose", "the vadose contributors", "the vadose contributors, Apache-2.0"
release = version = installed("vadose")
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build"]
templates_path = ["templates"]
suppress_warnings = ["myst.header"]  # pages of tables begin their sections where a forge shows them well

smartquotes = False  # options begin with two hyphens
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 5
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": False}
numpydoc_show_class_members = False

# Types of other libraries have no pages here, and types inside signatures need none; references to vadose must resolve.
nitpick_ignore_regex = [(r"py:.*", r"(?!vadose\.).*"), (r"py:class", r"vadose\..*")]

html_context = {"default_mode": "auto"}
html_theme = "pydata_sphinx_theme"
html_title = "vadose"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"**": ["pages.html"]}
html_theme_options = {
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
setup = pages.setup
