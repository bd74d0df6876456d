"""Judge a workspace: each entity has a file of its name, which holds something."""

import json
import pathlib
import sys

told = json.loads(pathlib.Path(sys.argv[1]).read_text())
assertions = []
for entity in told["entities"]:
    file = pathlib.Path(f"{entity['name']}.txt")
    good = file.is_file() and "broken" not in file.read_text()
    assertions.append(
        {
            "id": f"{entity['name']}.create.valid",
            "entity": entity["name"],
            "operation": "create",
            "valid": True,
            "verdict": "passed" if good else "failed",
            "reason": "" if good else f"{file} is not there or is broken",
        }
    )
judge = {"version": "1", "python": sys.version.split()[0], "packages": {}}
pathlib.Path(sys.argv[2]).write_text(json.dumps({"format": 1, "judge": judge, "assertions": assertions}))
