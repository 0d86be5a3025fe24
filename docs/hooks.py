"""Hooks of MkDocs: pages made from files at the top of the repository, and of the API.

The Markdown keeps links that work where the repository is browsed; here they are turned to those
of the site. https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY: Final = Path(__file__).parents[1]
PACKAGES: Final = ("components", "trainer", "pipeline", "kubeflow")
TOP_PAGES: Final = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
_MODULE: Final = """\
    options:
      show_root_heading: true
      show_root_full_path: false
      show_root_toc_entry: true
"""
# The target of a Markdown link or picture that is no URL: folder, file, the rest.
_LINK: Final = re.compile(r"(?<=\]\()(docs/|\.\./)?([\w./-]+?\.\w+)(?=[#)])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the API pages to the navigation."""
    assert config.nav is not None
    config.nav.append({"API": [{name: _api_page(name)} for name in _packages()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that have no file below docs/."""
    for source, page in TOP_PAGES.items():
        text = (REPOSITORY / source).read_text("utf-8")
        files.append(File.generated(config, page, content=text))
    for name in _packages():
        files.append(File.generated(config, _api_page(name), content=_api_text(name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between docs/ and the top of the repository to those between pages."""
    return _LINK.sub(lambda link: TOP_PAGES.get(link[2], link[2]), markdown)


def _packages() -> list[str]:
    """Dotted names below `inception_finetune`, a package before those in it."""
    folders = [
        path.parent.relative_to(REPOSITORY).parts
        for top in PACKAGES
        for path in (REPOSITORY / top).rglob("__init__.py")
    ]
    return [".".join(parts) for parts in sorted(folders, key=lambda p: (PACKAGES.index(p[0]), p))]


def _api_page(package: str) -> str:
    return f"api/{package}.md"


def _api_text(package: str) -> str:
    """A package's page: what it says of itself, then each of its modules."""
    folder = REPOSITORY / package.replace(".", "/")
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return "\n".join(
        (
            f"# {package}",
            f"::: inception_finetune.{package}",
            "",
            *(f"::: inception_finetune.{package}.{module}\n{_MODULE}" for module in modules),
        )
    )
