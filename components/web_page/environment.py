"""Where templates come from, and how they write what they are given."""

import re
from decimal import Decimal
from typing import Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    select_autoescape,
)
from markupsafe import Markup

from inception_finetune.components.shown_text import visible

_UNKNOWN = "–"


def markdown_templates(package: str) -> Environment:
    """The same for Markdown, in which what is put must not become HTML, a link or a picture."""
    return templates(package).overlay(finalize=_escape_markdown)


def _two_digits(value: float | None) -> str:
    """Two significant digits, never with an exponent."""
    return _UNKNOWN if value is None else f"{Decimal(f'{value:.2g}'):f}"


def _escape_markdown(value: Any) -> Any:
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = visible(" ".join(value.split()))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]()!|~#$])", r"\\\1", text)


def templates(package: str) -> Environment:
    """The templates of `package`, and those that all pages share.

    Everything that is put into HTML is escaped: label names and ids come from the data set.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda value: _UNKNOWN if value is None else f"{100 * value:.2f} %",
        "share": lambda value: _UNKNOWN if value is None else f"{value:.4f}",
        "signed": lambda value: _UNKNOWN if value is None else f"{value:+.4f}",
        "significant": _two_digits,
        "million": lambda value: _UNKNOWN if value is None else f"{value / 1e6:,.1f}",
        "count": lambda value: f"{value:,}",
    }
    return environment
