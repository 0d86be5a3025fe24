"""Addresses as they may be shown: passwords and signatures are taken out of URLs.

A URL may carry a user's name and password, and a presigned one its signature in the query. What is
shown or stored for others (messages, artifacts, cards, pages) holds neither.
"""

import re
from typing import Annotated, Final

from pydantic import PlainSerializer

_USER: Final = re.compile(r"(?<=://)[^\s/?#]*@")
_WEB: Final = re.compile(r"https?://", re.IGNORECASE)
# Of an address amid other words, whose punctuation at its end belongs to the sentence. In a store's
# keys, such as s3://bucket/what?, a question mark is a letter unless a value follows.
_QUERY: Final = re.compile(
    r"(https?://[^\s?#'\"<>]*(?=[?#])|[a-z][\w+.-]*://[^\s?#'\"<>]*(?=\?[^\s'\"<>]*=))"
    r"[^\s'\"<>]*?(?=[).,:;]*(?:[\s'\"<>]|$))",
    re.IGNORECASE,
)


def public_address(address: str) -> str:
    """Returns an address without user, password, query and fragment.

    Args:
      address: a URL; anything else, such as a path, is returned as it is.
    """
    address = _USER.sub("", address, count=1)
    return re.split("[?#]", address, maxsplit=1)[0] if _WEB.match(address.lstrip()) else address


def without_secrets(text: str) -> str:
    """Returns a text with each URL in it as `public_address` shows it.

    Args:
      text: a message, such as a library's.
    """
    return _QUERY.sub(r"\1", _USER.sub("", text))


# A setting: its value is the whole address, and what is written of it the public one.
Address = Annotated[str, PlainSerializer(public_address)]
