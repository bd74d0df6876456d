#!/bin/sh
# Put `runner` on the PATH: a link to this checkout's .venv/bin/runner. Silent where it already stands.
# `--link` says nothing about what the user still has to do, and `--hint` nothing else, so that it can stand last.
set -eu
cd "$(dirname "$0")/.."
target=$PWD/.venv/bin/runner
mode=${1:-}

on_path() {
    case ":$PATH:" in *":$1:"*) return 0 ;; *) return 1 ;; esac
}

place=
for folder in /usr/local/bin "$HOME/.local/bin" "$HOME/bin"; do
    if on_path "$folder" && [ -d "$folder" ] && [ -w "$folder" ]; then
        place=$folder
        break
    fi
done
if [ -z "$place" ]; then
    place=$HOME/.local/bin
    mkdir -p "$place"
fi
link=$place/runner

ours() {
    [ -L "$link" ] || return 1
    case "$(readlink "$link")" in "$target" | */.venv/bin/runner) return 0 ;; *) return 1 ;; esac
}

if [ "$mode" != --hint ]; then
    if ours && [ "$(readlink "$link")" != "$target" ]; then
        echo "install: $link led to $(readlink "$link"); it leads to this checkout now"
        ln -sfn "$target" "$link"
    elif [ ! -L "$link" ] && [ ! -e "$link" ]; then
        ln -s "$target" "$link"
        echo "install: $link leads to $target"
    fi
fi

if [ "$mode" != --link ]; then
    if [ -L "$link" ] && ! ours; then
        echo "install: $link leads to $(readlink "$link") and is left alone; use $target" >&2
    elif ! ours; then
        echo "install: $link is another program and is left alone; use $target" >&2
    elif ! on_path "$place"; then
        echo "install: $place is not on your PATH; type: export PATH=\"$place:\$PATH\"" >&2
    fi
fi
