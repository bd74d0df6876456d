"""Sphinx settings; `make docs` treats every warning as an error."""

from __future__ import annotations

project = "codegen-runner"
author = "The codegen-runner authors"
project_copyright = "The codegen-runner authors, Apache-2.0"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "codegen-runner"
html_copy_source = False
html_show_sphinx = False
# Pages without a time of building stay the same when nothing changed.
html_last_updated_fmt = None
