"""How an application starts is read off its files, by numbered rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from judge.asked import Start
from judge.detect import declared, detect

Tree = Callable[[dict[str, str]], Path]

FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"
FLASK_FACTORY = (
    "from flask import Flask\n\n\ndef create_app(settings=None):\n    app = Flask(__name__)\n    return app\n"
)
STREAMLIT = "import streamlit as st\n\nst.title('x')\n"
MANAGE = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'school.settings')\n"
NODE = "require('express')().listen(3000);\n"
SERVES = 'if __name__ == "__main__":\n    import uvicorn\n    uvicorn.run(app, port=8000)\n'
PREPARES = 'if __name__ == "__main__":\n    init_db()\n    uvicorn.run(app, port=8000)\n'
UVICORN = ("python3", "-m", "uvicorn")

CASES: dict[str, tuple[dict[str, str], str, str, tuple[str, ...]]] = {
    "a package's main module": (
        {"app/__init__.py": "", "app/main.py": FASTAPI},
        "fastapi",
        ".",
        (*UVICORN, "app.main:app"),
    ),
    "a module by its own imports": (
        {"app/main.py": f"from app.models import X\n{FASTAPI}", "app/models.py": ""},
        "fastapi",
        ".",
        (*UVICORN, "app.main:app"),
    ),
    "siblings imported without a package": (
        {"src/main.py": f"import database\n{FASTAPI}", "src/database.py": "", "src/__init__.py": ""},
        "fastapi",
        "src",
        (*UVICORN, "main:app"),
    ),
    "a system in a folder, with a page beside it": (
        {"managed/app/__init__.py": "", "managed/app/main.py": FASTAPI, "managed/ui/app.py": STREAMLIT},
        "fastapi",
        "managed",
        (*UVICORN, "app.main:app"),
    ),
    "the same name in two folders": (
        {
            "p/app/__init__.py": "",
            "p/app/main.py": f"import config\n{FASTAPI}",
            "p/config.py": "",
            "p/app/config.py": "",
        },
        "fastapi",
        "p",
        (*UVICORN, "app.main:app"),
    ),
    "relative imports": (
        {"service/main.py": f"from .models import X\n{FASTAPI}", "service/models.py": ""},
        "fastapi",
        ".",
        (*UVICORN, "service.main:app"),
    ),
    "another name than app": (
        {"main.py": "import fastapi\n\napi = fastapi.FastAPI()\n"},
        "fastapi",
        ".",
        (*UVICORN, "main:api"),
    ),
    "an application within a try": (
        {"main.py": "from fastapi import FastAPI\ntry:\n    app = FastAPI()\nfinally:\n    pass\n"},
        "fastapi",
        ".",
        (*UVICORN, "main:app"),
    ),
    "a factory": (
        {"main.py": "from fastapi import FastAPI\n\n\ndef make():\n    return FastAPI()\n"},
        "fastapi",
        ".",
        (*UVICORN, "main:make"),
    ),
    "a guard that only serves": ({"main.py": FASTAPI + SERVES}, "fastapi", ".", (*UVICORN, "main:app")),
    "a guard that prepares": ({"main.py": FASTAPI + PREPARES}, "fastapi", ".", ("python3", "main.py")),
    "a guard in a package": (
        {"app/main.py": f"from app import db\n{FASTAPI}{PREPARES}", "app/db.py": ""},
        "fastapi",
        ".",
        ("python3", "-m", "app.main"),
    ),
    "flask without a guard": ({"app.py": FLASK}, "flask", ".", ("python3", "-m", "flask", "--app", "app:app")),
    "flask as a program": (
        {"app.py": f'{FLASK}if __name__ == "__main__":\n    app.run()\n'},
        "flask",
        ".",
        ("python3", "app.py"),
    ),
    "another module's factory": (
        {
            "site/__init__.py": FLASK_FACTORY,
            "run.py": 'from site import create_app\napp = create_app()\nif __name__ == "__main__":\n    app.run()\n',
        },
        "flask",
        ".",
        ("python3", "run.py"),
    ),
    "django": ({"site/manage.py": MANAGE}, "django", "site", ("python3", "manage.py", "runserver")),
    "a start script": (
        {"api/package.json": '{"scripts": {"start": "node x.js"}}', "api/server.js": NODE},
        "node",
        "api",
        ("sh", "-c", "node x.js"),
    ),
    "a main file": ({"package.json": '{"main": "lib/it.js"}', "lib/it.js": NODE}, "node", ".", ("node", "lib/it.js")),
    "a file that listens": ({"server.js": NODE}, "node", ".", ("node", "server.js")),
    "a frontend's script is no service": (
        {"web/package.json": '{"scripts": {"start": "vite"}}', "api/main.py": FASTAPI},
        "fastapi",
        "api",
        (*UVICORN, "main:app"),
    ),
    "python's own server": (
        {
            "serve.py": 'from http.server import HTTPServer\nif __name__ == "__main__":\n    HTTPServer(("", 1), X).serve_forever()\n'
        },
        "python",
        ".",
        ("python3", "serve.py"),
    ),
    "a page alone": (
        {"ui/app.py": STREAMLIT, "ui/pages/one.py": STREAMLIT},
        "streamlit",
        "ui",
        ("python3", "-m", "streamlit", "run", "app.py"),
    ),
    "a service below a page": (
        {"app.py": STREAMLIT, "api/main.py": FASTAPI},
        "fastapi",
        "api",
        (*UVICORN, "main:app"),
    ),
    "the shallower of two products": (
        {"new/main.py": FASTAPI, "new/old/main.py": FLASK},
        "fastapi",
        "new",
        (*UVICORN, "main:app"),
    ),
    "a test's application is none": (
        {"tests/main.py": FASTAPI, "test_app.py": FASTAPI, "deep/down/service.py": FLASK},
        "flask",
        "deep/down",
        ("python3", "-m", "flask"),
    ),
    "what was installed is none": (
        {
            "venv/lib/main.py": FASTAPI,
            "mine/pyvenv.cfg": "",
            "mine/main.py": FASTAPI,
            "node_modules/x/server.js": NODE,
            "deep/app.py": FLASK,
        },
        "flask",
        "deep",
        ("python3", "-m", "flask"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_application_is_found(tree: Tree, name: str) -> None:
    """The best way to start what lies in a workspace is the expected one, in the expected folder."""
    files, kind, folder, argv = CASES[name]
    found = detect(tree(files))[0]
    assert (found.kind, str(found.folder), found.argv[: len(argv)]) == (kind, folder, argv)


def test_nothing_is_found_where_nothing_serves(tree: Tree) -> None:
    """A program that does not serve, broken source, and odd package files give no way to start."""
    files = {
        "main.py": "print('hello')\n",
        "broken.py": "def (",
        "package.json": "[]",
        "a/package.json": "{",
        "x.js": "1;",
    }
    assert detect(tree(files)) == []


def test_source_is_never_run(tree: Tree, tmp_path: Path) -> None:
    """Looking at a module that would do something when imported does nothing."""
    trap = tmp_path / "trap"
    detect(tree({"main.py": f"open({str(trap)!r}, 'w')\n{FASTAPI}"}))
    assert not trap.exists()


def test_port_is_told_where_the_command_takes_it(tree: Tree) -> None:
    """The port's place in the command is filled, and a program that takes none gets none."""
    found = detect(tree({"main.py": FASTAPI}))[0]
    assert found.told
    assert found.command(8123)[-2:] == ("--port", "8123")
    assert not detect(tree({"main.py": FASTAPI + PREPARES}))[0].told


def test_declared_command_comes_first() -> None:
    """Rule 0 is what the check says; without a command there is none."""
    found = declared(Start(command=("serve", "--port", "{port}"), folder="api"))
    assert found is not None
    assert (found.command(1)[2], str(found.folder), found.told) == ("1", "api", True)
    assert declared(Start()) is None
