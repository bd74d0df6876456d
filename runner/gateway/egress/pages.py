"""Pages of a package index, as HTML (PEP 503) and as JSON (PEP 691). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from runner.gateway.egress.source import File

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
PLAIN_HTML = "text/html"


def choose(accept: str) -> str:
    """Return the form of a page that an Accept header asks for: JSON only where it is named, and not as a last resort."""
    wishes = [_wish(part) for part in accept.split(",")]
    named = {kind: weight for kind, weight in wishes if weight > 0}
    offered = {JSON: JSON, "application/vnd.pypi.simple.latest+json": JSON}
    offered |= {HTML: HTML, "application/vnd.pypi.simple.latest+html": HTML, PLAIN_HTML: PLAIN_HTML}
    best = max((kind for kind in named if kind in offered), key=lambda kind: named[kind], default=PLAIN_HTML)
    return offered[best]


def _wish(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    weights = [piece.removeprefix("q=") for piece in parameters if piece.startswith("q=")]
    try:
        return kind.lower(), float(weights[0]) if weights else 1.0
    except ValueError:
        return kind.lower(), 1.0


def render(project: str, files: Sequence[File], form: str) -> bytes:
    """Return a project's page; addresses are relative to it."""
    if form == JSON:
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": [_entry(project, one) for one in files]}
        return json.dumps(page).encode()
    links = "".join(f"<a {_attributes(project, one)}>{escape(one.name)}</a><br>\n" for one in files)
    head = f'<meta name="pypi:repository-version" content="1.0"><title>{escape(project)}</title>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{links}</body></html>\n".encode()


def _address(project: str, file: File) -> str:
    return f"../../files/{quote(project)}/{quote(file.name)}"


def _entry(project: str, file: File) -> dict[str, Any]:
    found: dict[str, Any] = {
        "filename": file.name,
        "url": _address(project, file),
        "hashes": dict(file.hashes),
        "yanked": file.yanked,
        "core-metadata": file.metadata if isinstance(file.metadata, bool) else dict(file.metadata),
    }
    optional = {"size": file.size, "upload-time": file.uploaded, "requires-python": file.requires_python}
    return found | {name: value for name, value in optional.items() if value is not None}


def _attributes(project: str, file: File) -> str:
    digest = file.hashes.get("sha256", "")
    found = {"href": _address(project, file) + (f"#sha256={digest}" if digest else "")}
    if file.requires_python is not None:
        found["data-requires-python"] = file.requires_python
    if file.yanked is not False:
        found["data-yanked"] = file.yanked if isinstance(file.yanked, str) else ""
    if file.metadata:
        stated = "" if isinstance(file.metadata, bool) else file.metadata.get("sha256", "")
        found["data-core-metadata"] = f"sha256={stated}" if stated else "true"
    return " ".join(f'{name}="{escape(value, quote=True)}"' for name, value in found.items())
