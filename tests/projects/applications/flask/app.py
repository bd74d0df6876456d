"""A service of notes, kept in a file of JSON."""

import json
import os
from pathlib import Path

from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)
FILE = Path("notes.json")


def load() -> dict[str, dict[str, object]]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def save(notes: dict[str, dict[str, object]]) -> None:
    FILE.write_text(json.dumps(notes))


def body() -> dict[str, object]:
    sent = request.get_json(silent=True)
    if not isinstance(sent, dict) or not isinstance(sent.get("text"), str) or not isinstance(sent.get("done"), bool):
        abort(400)
    return {"text": sent["text"], "done": sent["done"]}


def found(key: int) -> dict[str, object]:
    note = load().get(str(key))
    if note is None:
        abort(404)
    return note


@app.get("/api/notes")
def list_notes() -> ResponseReturnValue:
    return jsonify({"notes": list(load().values())})


@app.post("/api/notes")
def create_note() -> ResponseReturnValue:
    sent, notes = body(), load()
    key = max(map(int, notes), default=0) + 1
    notes[str(key)] = {"id": key, **sent}
    save(notes)
    return jsonify({"note": notes[str(key)]}), 201


@app.get("/api/notes/<int:key>")
def read_note(key: int) -> ResponseReturnValue:
    return jsonify({"note": found(key)})


@app.patch("/api/notes/<int:key>")
def update_note(key: int) -> ResponseReturnValue:
    note, notes = found(key), load()
    notes[str(key)] = {**note, **body()}
    save(notes)
    return jsonify({"note": notes[str(key)]})


@app.delete("/api/notes/<int:key>")
def delete_note(key: int) -> ResponseReturnValue:
    found(key)
    notes = load()
    del notes[str(key)]
    save(notes)
    return "", 204


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.environ.get("PORT", "5000")))
