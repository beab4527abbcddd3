#!/bin/sh
# Finds the programs that some tests look with, or installs them (on Debian as root). Never fails: a test that lacks its
# program is skipped, and says so.
set -eu
missing=""
while read -r program package; do
    command -v "$program" > /dev/null || missing="$missing $package"
done << 'LIST'
chromium chromium
strace strace
bwrap bubblewrap
mmdebstrap mmdebstrap
LIST
[ -n "$missing" ] || exit 0
if command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
    echo "set-up: installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq > /dev/null 2>&1 && apt-get install -qq --no-install-recommends $missing > /dev/null 2>&1 \
        || echo "set-up:$missing could not be installed; the tests that need them are skipped"
else
    echo "set-up: without$missing the tests that need them are skipped (on Debian: apt-get install$missing)"
fi
