"""A service of books on Python's own HTTP server, kept in a file of JSON."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILE = Path("books.json")


class Books(BaseHTTPRequestHandler):
    def load(self) -> dict[str, dict[str, object]]:
        return json.loads(FILE.read_text()) if FILE.exists() else {}

    def save(self, books: dict[str, dict[str, object]]) -> None:
        FILE.write_text(json.dumps(books))

    def key(self) -> str:
        return self.path.removeprefix("/books").strip("/")

    def sent(self) -> dict[str, object] | None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if not isinstance(body.get("title"), str) or not isinstance(body.get("pages"), int):
            return None
        return {"title": body["title"], "pages": body["pages"]}

    def answer(self, status: int, body: object = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        books, key = self.load(), self.key()
        if self.path in {"/books", "/books/"}:
            self.answer(200, list(books.values()))
        elif self.path.startswith("/books/") and key in books:
            self.answer(200, books[key])
        else:
            self.answer(404)

    def do_POST(self) -> None:
        sent, books = self.sent(), self.load()
        if self.path != "/books":
            self.answer(404)
        elif sent is None:
            self.answer(400)
        else:
            key = max(map(int, books), default=0) + 1
            books[str(key)] = {"id": key, **sent}
            self.save(books)
            self.answer(201, books[str(key)])

    def do_PUT(self) -> None:
        sent, books, key = self.sent(), self.load(), self.key()
        if key not in books:
            self.answer(404)
        elif sent is None:
            self.answer(400)
        else:
            books[key].update(sent)
            self.save(books)
            self.answer(200, books[key])

    def do_DELETE(self) -> None:
        books, key = self.load(), self.key()
        if books.pop(key, None) is None:
            self.answer(404)
        else:
            self.save(books)
            self.answer(204)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Books).serve_forever()
