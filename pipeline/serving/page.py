"""The page at ``/``: somebody drops a picture and sees the likeliest classes, and the canary."""

import base64
import hashlib
import re
from typing import NamedTuple

from inception_finetune.components.web_page.environment import templates
from inception_finetune.pipeline.serving.canary import Canary


class Page(NamedTuple):
    """HTML with all that it needs in it, and the policy that lets nothing else run or load."""

    html: str
    policy: str


def make_page(name: str, canary: Canary | None = None) -> Page:
    """Renders the page.

    Args:
      name: of the model.
      canary: whose counts are shown, if there is one.

    Returns:
      The page and its Content-Security-Policy: the page's own style and script by their hashes,
      requests to this server alone, pictures that the browser holds already.
    """
    template = templates(__package__ or "").get_template("classify.html")
    html = template.render(name=name, canary=canary)
    policy = {
        "default-src": "'none'",
        "script-src": _hashes("script", html),
        "style-src": _hashes("style", html),
        "img-src": "blob: data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return Page(html, "; ".join(f"{key} {value}" for key, value in policy.items()))


def _hashes(tag: str, html: str) -> str:
    found = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in found)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
