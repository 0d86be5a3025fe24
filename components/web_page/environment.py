"""Where templates come from, and how they write what they are given."""

from jinja2 import (
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    select_autoescape,
)

_UNKNOWN = "–"


def templates(package: str) -> Environment:
    """The templates of `package`, and those that all pages share.

    Everything that is put into HTML is escaped: label names and ids come from the data set.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("components.web_page")]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda value: _UNKNOWN if value is None else f"{100 * value:.2f} %",
        "share": lambda value: _UNKNOWN if value is None else f"{value:.4f}",
        "signed": lambda value: _UNKNOWN if value is None else f"{value:+.4f}",
        "cell": lambda text: text.replace("|", "\\|"),  # of a Markdown table
        "count": lambda value: f"{value:,}",
    }
    return environment
