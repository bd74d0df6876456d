"""What the gateway learns of this machine's pip."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.gateway.egress.index_settings import IndexSettings, index_settings, merge_settings

pytestmark = pytest.mark.processes

FILE = """
[global]
index-url = https://me:pass@first.example/simple/
extra-index-url = https://second.example/simple
    file:///srv/wheels
cert = /etc/own.pem
"""


def _environment(tmp_path: Path, text: str, **more: str) -> dict[str, str]:
    (tmp_path / "pip.conf").write_text(text)
    return {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "HOME": str(tmp_path), **more}


def test_files_of_pip_count(tmp_path: Path) -> None:
    """Indexes on the web and certificates come from pip's own files; folders are no index with dates."""
    found = index_settings(_environment(tmp_path, FILE))
    assert found.urls == ("https://me:pass@first.example/simple", "https://second.example/simple")
    assert found.certificates == "/etc/own.pem"
    assert "pass" not in repr(found)


def test_default_is_pips_own(tmp_path: Path) -> None:
    """Where no index is named, the one in pip's own words counts."""
    (url, *_) = index_settings(_environment(tmp_path, "[global]\ntimeout = 3\n")).urls
    assert url.startswith("https://")


@pytest.mark.parametrize(
    ("found", "environment", "expected"),
    [
        ({}, {}, IndexSettings(urls=("https://d.example/simple",))),
        (
            {"INDEX_URL": "https://f.example/", "CERT": "/f.pem"},
            {"PIP_INDEX_URL": "http://v.example", "PIP_CERT": "/v.pem"},
            IndexSettings(urls=("http://v.example",), certificates="/v.pem"),
        ),
        (
            {"EXTRA_INDEX_URL": "https://d.example/simple https://e.example file:///srv/x"},
            {},
            IndexSettings(urls=("https://d.example/simple", "https://e.example")),
        ),
        ({"INDEX_URL": "file:///srv/x"}, {}, IndexSettings(urls=())),
    ],
)
def test_variables_are_stronger_than_files(
    found: dict[str, str], environment: dict[str, str], expected: IndexSettings
) -> None:
    """PIP_* variables win over files, those over the default; each index counts once, folders never."""
    assert merge_settings(found, environment, "https://d.example/simple") == expected
