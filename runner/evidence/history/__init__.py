"""The workspace after every step of a run, each kept as what it changed: one deterministic OCI layer per step.

`snapshot` compares and writes, `restore` gives a step's workspace back, `differences` compares two steps, `export`
makes a file that `docker load` opens, `check` proves every digest.
"""
