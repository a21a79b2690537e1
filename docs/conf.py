"""The site: `python3 run.py docs` builds it in English from this folder, and in Spanish from es/."""

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
    app.connect("missing-reference", to_english)


html_math_renderer = "mathml"


def add_other_language(app, page, template, context, doctree):
    """For the link to the same page in the other language, or to its first page."""
    is_spanish = app.config.language == "es"
    source = DOCS if is_spanish else DOCS / "es"
    here = "../" * (page.count("/") + is_spanish)
    there = page if (source / f"{page}.md").exists() else "index"
    context["other_language"] = f"{here}{'' if is_spanish else 'es/'}{there}.html"


def to_english(app, env, node, content):
    """A link of a Spanish page to one that is only in English."""
    target = (DOCS / "es" / env.docname).parent / node.get("reftarget", "")
    page = target.resolve().with_suffix("")
    if app.config.language != "es" or not target.is_file() or DOCS not in page.parents:
        return None
    path = page.relative_to(DOCS).as_posix()
    return nodes.reference("", "", content, refuri=f"{'../' * (env.docname.count('/') + 1)}{path}.html")
