"""Start the judge: `python3 -I check.py IN OUT`, so that nothing the judged application brings is imported by it."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from judge.main import main

    sys.exit(main(sys.argv[1:], Path.cwd()))
