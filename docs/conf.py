"""The site: `python3 run.py docs` builds it in English from this folder, and in Spanish from es/."""

import re
from importlib.metadata import version as version_of
from pathlib import Path

import ziamath
from docutils import nodes
from latex2mathml.converter import convert

DOCS = Path(__file__).resolve().parent

project = "numpy-neural-mf"
author = "the authors of numpy-neural-mf"
copyright = "2026, the authors of numpy-neural-mf. MIT licence"
release = version = version_of("numpy-neural-mf")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["es"]
templates_path = [str(DOCS / "_templates")]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_url_schemes = {"http": None, "https": None, "en": "{{path}}.html"}
suppress_warnings = ["ref.ref"]  # what scikit-learn's docstrings refer to is in its own documents

# Cells run once, and again when they change; an error in one is an error of the build.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_show_tb = True
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "none"  # docstrings have types and shapes
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

# Formulas are MathML: the font that they need is in this package.
html_static_path = [str(DOCS / "_static"), str(Path(ziamath.__file__).parent / "fonts")]
html_css_files = ["site.css"]
html_theme = "pydata_sphinx_theme"
html_title = f"numpy-neural-mf {version}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher", "language"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
language = "en"


def setup(app):
    """Formulas become MathML, which browsers draw by themselves: no script is fetched."""

    def of_kind(display):
        def visit(self, node):
            self.body.append(convert(node.astext(), display=display))
            raise nodes.SkipNode

        return visit, None

    app.add_html_math_renderer("mathml", of_kind("inline"), of_kind("block"))
    app.connect("html-page-context", add_other_language)
    app.connect("source-read", to_english)


html_math_renderer = "mathml"


def add_other_language(app, page, template, context, doctree):
    """For the link to the same page in the other language, or to its first page."""
    is_spanish = app.config.language == "es"
    source = DOCS if is_spanish else DOCS / "es"
    here = "../" * (page.count("/") + is_spanish)
    there = page if (source / f"{page}.md").exists() else "index"
    context["other_language"] = f"{here}{'' if is_spanish else 'es/'}{there}.html"


def to_english(app, page, source):
    """Make links of a Spanish page to pages that are only in English links to these in the built site."""

    def linked(found):
        is_english = DOCS / "es" not in (DOCS / "es" / page).parent.joinpath(found[1]).resolve().parents
        return f"](en:{found[1]})" if is_english else found[0]

    if app.config.language == "es":
        source[0] = re.sub(r"\]\(((?:\.\./)+[\w./-]+)\.md\)", linked, source[0])
