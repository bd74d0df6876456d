"""Write the prompt into a file of the workspace that is named after the step."""

import pathlib
import sys

prompt, step = sys.argv[1:]
pathlib.Path(f"{step}.txt").write_text(pathlib.Path(prompt).read_text())
