"""Reads settings written in YAML, and leaves each value the text that the person wrote.

YAML 1.1 makes 8 of ``010``, 750 of ``12:30`` and 1.1 of ``1.10``. Here plain text stays text, but
for null; pydantic makes the numbers and booleans, where a setting is one.
"""

import reprlib
from typing import Any, Final

import yaml

_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"  # of the key <<
_NULL_WORDS: Final = ("null", "Null", "NULL", "~")  # of YAML 1.2's core schema
_REPR: Final = reprlib.Repr()  # aliases make a few lines a value whose whole repr fills the memory
_REPR.maxlevel = 2
_REPR.maxstring = _REPR.maxother = 120  # characters


class _TextLoader(yaml.SafeLoader):
    """Resolves nothing but null and ``<<``, makes nothing but text, lists and mappings."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's, by the first character)
        first: [resolver for resolver in resolvers if resolver[0] in (_NULL, _MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012 (PyYAML's, by tag; None refuses all others)
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (_NULL, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")), None)
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuses a doubled key, of which PyYAML would keep the last."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f"the key {shown(key.value)} is there twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def parse(text: str) -> Any:
    """Reads a YAML document as text, None, lists and mappings.

    Args:
      text: the document.

    Raises:
      yaml.YAMLError: it is not plain YAML, has a doubled key, or is nested too deep.
    """
    try:
        return _TextLoader(text).get_single_data()
    except RecursionError:
        raise yaml.MarkedYAMLError(problem="it is nested too deep") from None


def parse_override(text: str) -> Any:
    """Reads a value of the command line.

    Args:
      text: null, a list or mapping in brackets, quoted text, or the text itself: YAML would fold a
        path's spaces and take what follows " #" for a comment.
    """
    if text in _NULL_WORDS:
        return None
    if not text.startswith(("[", "{", "'", '"')):
        return text
    try:
        return parse(text)
    except yaml.YAMLError:
        return text


def shown(value: Any) -> str:
    """Returns what a message shows of a value, at most a few hundred characters, on one line."""
    return _REPR.repr(value)
