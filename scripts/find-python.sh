#!/bin/sh
# Print the path of a Python 3.11 or newer that can make virtual environments, or say what is missing.
# PYTHON=... names one to use instead.
set -eu

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

found=
for name in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
    if command -v "$name" >/dev/null 2>&1 && usable "$name"; then
        found=$("$name" -c 'import sys; print(sys.executable)')
        break
    fi
done

if [ -z "$found" ]; then
    echo "install: no Python 3.11 or newer found (tried: ${PYTHON:-python3.11 to python3.14, python3})" >&2
    echo "install one, on Debian 12 or Ubuntu 24.04: apt-get install python3 python3-venv; or name one: make PYTHON=/path/to/python3" >&2
    exit 2
fi

if ! "$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    package=$("$found" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
        echo "install: $found cannot make virtual environments; installing Debian's $package" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q -o DPkg::Lock::Timeout=300 update >&2 || true
        apt-get -y -q -o DPkg::Lock::Timeout=300 --no-install-recommends install "$package" >&2
    else
        echo "install: $found cannot make virtual environments; on Debian and Ubuntu, as root: apt-get install $package" >&2
        exit 2
    fi
fi
echo "$found"
