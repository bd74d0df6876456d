"""Open the pages of a system that BAEs made, beside its service, in Streamlit's own stand-in for a browser.

Runs inside the framework's image, in a copy of the workspace. Exit code 0 and the entities that have a page, or the
first page that could not be shown.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import check
import crud_check
from streamlit.testing.v1 import AppTest

SHOW = """
import importlib, sys
sys.path.insert(0, "ui/pages")
importlib.import_module("{name}").main()
"""


def main() -> None:
    """Show each page on its own, with the service answering, and take every message of an error as one."""
    os.environ["REALWORLD_FASTAPI_PORT"] = str(crud_check.PORT)
    shown = []
    server = check.start()
    try:
        os.chdir(check.SYSTEM)
        for file in sorted(Path("ui/pages").glob("*_management.py")):
            page = AppTest.from_string(SHOW.format(name=file.stem), default_timeout=240).run()
            wrong = [one.value for one in (*page.exception, *page.error)]
            if wrong or not page.title:
                sys.exit(f"{file}: {wrong or 'it has no title'}")
            shown.append(file.stem.removesuffix("_management"))
    finally:
        crud_check.stop(server)
    sys.stdout.write(" ".join(shown) + "\n")


if __name__ == "__main__":
    main()
