#!/usr/bin/env python3
"""Print the versions of what the service is to be built on, as JSON."""

import json
import sys
from importlib.metadata import version

json.dump({name: version(name) for name in ("fastapi", "pydantic", "uvicorn")}, sys.stdout)
