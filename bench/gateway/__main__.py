"""Measure the gateway alone and print its figures as JSON; an argument says for how many calls metering is compared."""

from __future__ import annotations

import json
import sys

from gateway.figures import Samples
from gateway.measuring import METERED, measure_gateway

if __name__ == "__main__":
    samples: Samples = {}
    figures = measure_gateway(samples, metered=int(sys.argv[1]) if len(sys.argv) > 1 else METERED)
    sys.stdout.write(json.dumps({**figures, "samples": samples}, indent=2) + "\n")
