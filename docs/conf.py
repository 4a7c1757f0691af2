"""The site that `make docs` makes of the pages in this folder."""

import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_REPOSITORY = _PROJECT["urls"]["Source"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
copyright = author  # Sphinx's name
release = version = _PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
# A command is copied without its prompt.
copybutton_prompt_text = "$ "
# Links to headings are spelled as on GitHub, where the same pages are read.
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_extra_path = ["../llms.txt"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_theme_options = {
    "source_repository": f"{_REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
}
