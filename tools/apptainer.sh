#!/bin/bash
# A private Debian 13 with Apptainer, for machines that have none: what the tests of the images run in.
#   tools/apptainer.sh can                                whether it can be had; installs mmdebstrap where it can
#   tools/apptainer.sh make FOLDER                        installs it, some 400 MB, from Debian's mirror (half a minute)
#   tools/apptainer.sh enter FOLDER [SOURCE:TARGET ...] -- COMMAND ...   runs a command with it as its root
#   tools/apptainer.sh base FOLDER BASE                   a Debian 12 with Python 3.11 in the folder BASE, for an image
#   tools/apptainer.sh remove FOLDER                      removes a root, unless something is mounted in it
# Needs root and mmdebstrap. Exit codes: 1 a step failed, 2 wrong use, 3 it cannot be had here (and it says why).
#
# Only Debian's unstable has Apptainer, which needs a newer libc than Debian 12's: hence a Debian 13 with that one package
# of unstable. It must be a root by pivot_root: under chroot Apptainer does not find "/" among the mounts.
set -euo pipefail
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() {
    echo "apptainer: $*" >&2
}

cannot() {
    say "$1"
    exit 3
}

require() {
    [ "$(id -u)" = 0 ] || cannot "a root of its own needs root to be made, and this is an ordinary user"
    unshare --mount true 2> /dev/null || cannot "root may make no mount namespace here"
    command -v mmdebstrap > /dev/null && return
    command -v apt-get > /dev/null || cannot "there is no mmdebstrap, and no apt-get to install it with"
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=120 mmdebstrap > /dev/null 2>&1 \
        || cannot "'apt-get install mmdebstrap' failed. Is there a network?"
}

mirror() {
    local found
    found=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2> /dev/null | head -n 1)
    echo "${found:-http://deb.debian.org/debian}"
}

# What removes a root must never follow a mount into this machine.
remove_root() {
    [ -e "$1" ] || return 0
    if grep -qF " $(realpath "$1")/" /proc/self/mounts; then
        say "something is mounted below $1: left as it is"
        return 1
    fi
    rm -rf --one-file-system "$1"
}

# Its mounts are seen by no one else and end with this process. It mounts /dev/shm, to be written: so an empty one.
debootstrapped() {
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        sh -euc 'mount -t tmpfs tmpfs /dev/shm; exec mmdebstrap "$@"' debootstrapped --quiet --variant=minbase \
        --mode=root --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' "$@" \
        < /dev/null >&2
}

# A private root is kept from becoming visible half made: it gets its name last.
make_root() {
    [ -e "$1/.complete" ] && return
    require
    local half pins
    half=$(mktemp -d "$1.XXXXXX")
    pins=$(mktemp -d)
    printf 'Package: *\nPin: release n=sid\nPin-Priority: 1\n\nPackage: apptainer\nPin: release n=sid\nPin-Priority: 900\n' \
        > "$pins/apptainer"
    debootstrapped --include=apptainer,ca-certificates,fakeroot,fuse3,squashfuse \
        --setup-hook='mkdir -p "$1/etc/apt/preferences.d"' \
        --setup-hook="copy-in $pins/apptainer /etc/apt/preferences.d" \
        trixie "$half" "deb $(mirror) trixie main" "deb $(mirror) sid main" \
        || { remove_root "$half"; rm -rf "$pins"; cannot "Debian's mirror gives no Apptainer (mmdebstrap's words are above)"; }
    rm -rf "$pins"
    chroot "$half" useradd --create-home --uid 1500 ci # with a range of ids, as --fakeroot needs
    chmod 755 "$half"
    touch "$half/.complete"
    remove_root "$1"
    mv "$half" "$1"
}

make_base() {
    [ -e "$2/opt" ] && return
    require
    debootstrapped --include=ca-certificates,git,python3.11,python3.11-venv bookworm "$2" "deb $(mirror) bookworm main" \
        || { remove_root "$2"; cannot "Debian's mirror gives no Debian 12 (mmdebstrap's words are above)"; }
    find "$2/dev" -xdev -mindepth 1 -delete # devices, which an ordinary user cannot make again
}

enter() {
    local root=$1 binds=()
    shift
    while [ "${1:-}" != -- ]; do
        [ $# -gt 0 ] || { say "enter FOLDER [SOURCE:TARGET ...] -- COMMAND"; exit 2; }
        binds+=("$1")
        shift
    done
    shift
    ROOT=$root BINDS="${binds[*]-}" exec unshare --mount --propagation private bash -euc '
        mount --bind "$ROOT" "$ROOT"
        mount -t proc proc "$ROOT/proc"
        mount --rbind /sys "$ROOT/sys"
        mount --rbind /dev "$ROOT/dev"
        mount -t tmpfs tmpfs "$ROOT/dev/shm"
        [ -e "$ROOT/.fuse" ] || mknod -m 666 "$ROOT/.fuse" c 10 229
        [ ! -e "$ROOT/dev/fuse" ] || mount --bind "$ROOT/.fuse" "$ROOT/dev/fuse"
        for bind in $BINDS; do
            mkdir -p "$ROOT/${bind#*:}"
            mount --rbind "${bind%%:*}" "$ROOT/${bind#*:}"
        done
        cp --dereference /etc/resolv.conf "$ROOT/etc/resolv.conf" 2> /dev/null || true
        mkdir -p "$ROOT/.outside"
        cd "$ROOT"
        pivot_root . .outside
        cd /
        umount --lazy /.outside
        hash -r
        exec env --ignore-environment PATH='"$path"' HOME=/root TERM=dumb LC_ALL=C.UTF-8 "$@"
    ' enter "$@"
}

case "${1:-}" in
    can) require ;;
    make) make_root "${2:?which folder?}" ;;
    remove) remove_root "${2:?which folder?}" ;;
    base) make_base "${2:?which folder?}" "${3:?where to?}" ;;
    enter) shift; enter "$@" ;;
    *) say "tools/apptainer.sh can|make|enter|base|remove FOLDER ..."; exit 2 ;;
esac
