#!/bin/sh
# Install the project into .venv from a lock file; pip's ordinary settings lead to its index.
#   scripts/install.sh requirements.lock
set -eu
cd "$(dirname "$0")/.."
lock=$1

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(scripts/find-python.sh)
    echo "install: making .venv with $python"
    rm -rf .venv
    "$python" -m venv .venv
fi

echo "install: $(grep -c '==' "$lock") packages of $lock, verified by their hashes"
pip=".venv/bin/python -m pip --disable-pip-version-check --no-input -q"
$pip install --require-hashes --no-deps -r "$lock"
# The build backend is among the packages above, so that nothing else is fetched here.
$pip install --no-deps --no-build-isolation --no-index -e .
