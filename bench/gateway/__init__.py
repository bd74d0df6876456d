"""Measure the gateway against the server behind it.

Both sides of every comparison have the same client and the same server, in turn. The client reaches the server over TCP
and the gateway over the unix socket that containers use; every call through the gateway is recorded, synced to disk and
kept with both its bodies, as in a run, and no two bodies are the same. `measure.py` runs this as part of `make bench`;
`PYTHONPATH=bench .venv/bin/python -m gateway [CALLS]` prints these figures alone.
"""
