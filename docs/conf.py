"""Settings of the documentation, built by `make docs`."""

import os
from importlib.metadata import version as version_of

import sklearn

project = "skmeta"
author = "The skmeta developers"
copyright = f"2026, {author}"
release = version = version_of("skmeta")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # draws formulas without a network, too
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/**/*.ipynb"]
default_role = "literal"
templates_path = ["_templates"]

# -- references ------------------------------------------------------------------------

# A reference to a page, section or object of skmeta that does not exist is a warning,
# and warnings are errors. Names of other packages are not checked.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!skmeta)(?!~skmeta).*")]
suppress_warnings = [
    "config.cache",  # the gallery's settings hold functions
    "myst.xref_missing",  # for links between files of the repository in its Markdown
    "myst.header",
]

# -- API reference ---------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# -- gallery ---------------------------------------------------------------------------


def reset_scikit_learn(gallery_conf, fname):
    """Examples switch metadata routing on; the next one starts without."""
    sklearn.set_config(enable_metadata_routing=False, display="diagram")


class InOrderOfStories:
    """The gallery begins with the guide; examples not named here come last."""

    names = (
        "shopping_guide",
        "tuna_shelf",
        "when_it_does_not_pay",
        "sinusoid",
        "stores",
        "movie_tastes",
        "twenty_films",
        "patients",
        "drivers_and_steel",
        "before_the_first_answer",
        "authors",
        "digits_never_seen",
        "base_model_in_a_grid",
        "structure_of_the_prior",
    )

    def __init__(self, folder):
        pass

    def __call__(self, filename):
        name = filename.removesuffix(".py")
        place = self.names.index(name) if name in self.names else len(self.names)
        return place, name


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": InOrderOfStories,
    "reset_modules": ("matplotlib", reset_scikit_learn),
    "abort_on_example_error": True,
    "show_memory": False,
    "parallel": os.cpu_count(),
    "capture_repr": ("_repr_html_",),
    "image_srcset": ["2x"],
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skmeta",),
    "reference_url": {"skmeta": None},
    "thumbnail_size": (640, 270),
    "inspect_global_variables": False,
    "write_computation_times": False,
    "download_all_examples": False,
}

# -- pages -----------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skmeta"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["skmeta.css"]
html_theme_options = {
    "logo": {"text": "skmeta"},
    "header_links_before_dropdown": 7,
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "install": [], "cite": []}

# A reader copies the statements of an example, not its prompts and results.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
