"""How the documentation is built; no network is used."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).parent

# Importing Airflow writes its configuration: into the build, never into the reader's own AIRFLOW_HOME.
os.environ["AIRFLOW_HOME"] = str(HERE / "_build" / "airflow")

import airflow_imagepipeline  # noqa: E402 - only after AIRFLOW_HOME is set

project = "airflow-provider-imagepipeline"
author = "the authors of airflow-provider-imagepipeline"
copyright = author
version = release = airflow_imagepipeline.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "signature"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["wide.css"]
