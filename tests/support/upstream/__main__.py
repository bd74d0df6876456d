"""Serve the upstream on the loopback device: `python -m support.upstream KEY [SEED [ANSWERS]]`.

It says `listening on PORT`. `GET /stated` tells what was stated so far. ANSWERS is a file with a JSON list of scripted
answers, given in their order to whoever asks.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from support.upstream.said import Book
from support.upstream.server import Upstream


def main(key: str, seed: str = "1", answers: str = "") -> None:
    """Serve until killed."""
    script = json.loads(Path(answers).read_text("utf-8")) if answers else ()
    book = Book(chance=random.Random(int(seed)), script=script)
    with Upstream(("127.0.0.1", 0), book, key) as server:
        sys.stdout.write(f"listening on {server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
