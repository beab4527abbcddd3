#!/bin/sh
# Makes the virtual environment with the named groups: tools/setup.sh base|train|eval|dev ...
# Does nothing when they are there already. PYTHON and VENV choose interpreter and place.
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

fail() {
    echo "set-up: $1" >&2
    exit 3
}

find_python() {
    for name in ${PYTHON:-python3.11 python3.12 python3}; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "no Python 3.11 or 3.12 was found (tried: ${PYTHON:-python3.11 python3.12 python3}). Install one, or name it: make ... PYTHON=/path/to/python3.11"
}

# The stamp says which lock was installed, and which groups. Groups are added to those that are there.
lock=$(cat requirements.lock pyproject.toml | cksum)
stamp="$venv/.set-up"
there=""
if [ -x "$venv/bin/lucie" ] && [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = "$lock" ]; then
    there=$(tail -n +2 "$stamp")
fi
wanted=$(printf '%s\n' base "$@" $there | sort -u)
if [ "$wanted" = "$(printf '%s\n' $there | sort -u)" ]; then
    exit 0
fi
groups=$(echo "$wanted" | grep -v '^base$' | paste -sd, - || true)

if [ ! -x "$venv/bin/python" ]; then
    python=$(find_python)
    echo "set-up: $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "'$python -m venv' failed. On Debian: apt-get install python3-venv"
fi
rm -f "$stamp"

log="$venv/set-up.log"
what=".${groups:+[$groups]}"
echo "set-up: installing ${groups:-base}; the whole log is $log"
status="$venv/.status"
{
    code=0
    LC_ALL=C.UTF-8 "$venv/bin/python" -m pip install --disable-pip-version-check --constraint requirements.lock --editable "$what" 2>&1 \
        || code=$?
    echo "$code" > "$status"
} | tee "$log" | awk '
    /^Collecting/ { count += 1; if (count % 25 == 0) { printf "set-up: %d packages found\n", count; fflush() } }
    /^Installing collected packages/ { n = gsub(",", ","); printf "set-up: installing %d packages\n", n + 1; fflush() }
'
if [ "$(cat "$status")" != 0 ]; then
    grep -E '^ERROR' "$log" | head -5 >&2
    fail "pip could not install the packages. Is there a network? The log is $log"
fi
rm -f "$status"
# Python reads this file in the locale of the day, which may not know the letters of our folder's name: so a relative path.
LC_ALL=C.UTF-8 "$venv/bin/python" - <<'PYTHON'
import os, sysconfig
from pathlib import Path

packages = Path(sysconfig.get_path("purelib")).resolve()
(path,) = packages.glob("__editable__.lucie-*.pth")
path.write_text(os.path.relpath(Path("src").resolve(), packages) + "\n")
PYTHON
printf '%s\n' "$lock" $wanted > "$stamp"
