"""Templates to pages; whatever is put into them is text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_imagepipeline.contract.text import counted
from airflow_imagepipeline.plugins import words
from airflow_imagepipeline.plugins.answers import PAGES
from airflow_imagepipeline.plugins.imagepipeline import PREFIX

if TYPE_CHECKING:
    from fastapi import Request

_FILTERS: Final = {
    "count": words.count,
    "size": words.size,
    "money": words.money,
    "duration": words.duration,
    "treatment": lambda name: words.TREATMENT_WORDS.get(name, words.named(name)),
    "last_part": words.last_part,
    "folder_of": words.folder_of,
    "counted": counted,
    "label": lambda outcome: words.OUTCOME_WORDS[outcome][0],
    "meaning": lambda outcome: words.OUTCOME_WORDS[outcome][1],
}


class Renderer:
    """The templates of the tab, read once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(PAGES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(_FILTERS)
        self._templates.globals["asset"] = {name: _tagged(name) for name in ("images.css", "images.js", "theme.js")}

    def page(self, name: str, values: Mapping[str, Any], request: Request) -> str:
        """
        Return a page.

        Links are relative: neither the address of Airflow nor that of a proxy before it is known here.

        :param name: of its template, unless the values name one as ``kind``.
        """
        template = self._templates.get_template(f"{values.get('kind', name)}.html")
        text = template.render({"root": "../" * _depth(request), **values})
        # Half a surrogate, which JSON and names on a disk can hold, and UTF-8 cannot.
        return text.encode("utf-8", "replace").decode("utf-8")


def _depth(request: Request) -> int:
    # The application may be mounted below any address, and its path may hold that address or not.
    path, mounted = str(request.scope["path"]), str(request.scope.get("root_path", ""))
    inside = path.removeprefix(mounted) if path.startswith(mounted) else path.partition(f"/{PREFIX}")[2]
    return max(0, inside.count("/") - 1)


def _tagged(name: str) -> str:
    # Another version of the package is another address: no browser shows new pages with old styles.
    return f"static/{name}?v={hashlib.sha256((PAGES / name).read_bytes()).hexdigest()[:12]}"
