"""Judge what a framework built: start it, call it, import it, run its tests, look at its source.

Runs in a container that has loopback and nothing else, on a copy of a workspace. Standard library only, so that what
is installed for the applications is theirs alone.
"""

VERSION = "1"
"""Raised when the same application could get another verdict."""
