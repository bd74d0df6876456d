#!/bin/sh
# Put `runner` on the PATH: a link to this checkout's .venv/bin/runner. Silent where it already stands.
set -eu
cd "$(dirname "$0")/.."
target=$PWD/.venv/bin/runner

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

if [ -L "$link" ]; then
    old=$(readlink "$link")
    [ "$old" = "$target" ] || case "$old" in
        */.venv/bin/runner)
            echo "install: $link led to $old; it leads to this checkout now"
            ln -sfn "$target" "$link"
            ;;
        *)
            echo "install: $link leads to $old and is left alone; use $target" >&2
            exit 0
            ;;
    esac
elif [ -e "$link" ]; then
    echo "install: $link is another program and is left alone; use $target" >&2
    exit 0
else
    ln -s "$target" "$link"
    echo "install: $link leads to $target"
fi

on_path "$place" || echo "install: $place is not on your PATH; type: export PATH=\"$place:\$PATH\"" >&2
