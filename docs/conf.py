"""Settings of the documentation site. ``make docs`` builds it; the repository's root is the source folder.

With the root as source folder, links such as ``../SECURITY.md`` work in the site as they do in the repository.
"""

from magms_nnunet import __version__

project = "magms_nnunet"
author = copyright = "The magms_nnunet contributors"
version = release = __version__

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "benchmarks/records/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxarg.ext"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"magms_nnunet {release}"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_extra_path = ["site"]  # index.html of the root leads to docs/index.html
html_copy_source = False
pygments_style = "friendly"
