#!/bin/sh
# Finds TeX, or installs the little of it that the report needs (61 MB, on Debian as root). Never fails: without TeX
# everything but the PDF is made, and the run says so at its end.
set -eu
packages="texlive-latex-recommended latexmk lmodern"

complete() {
    command -v latexmk > /dev/null && command -v pdflatex > /dev/null \
        && kpsewhich lmodern.sty booktabs.sty microtype.sty hyperref.sty longtable.sty > /dev/null
}

if complete; then
    exit 0
fi
if command -v apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
    echo "set-up: installing TeX ($packages)"
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq > /dev/null 2>&1 \
        && apt-get install -qq --no-install-recommends $packages > /dev/null 2>&1 && complete; then
        exit 0
    fi
    echo "set-up: TeX could not be installed (apt-get install $packages); the PDF will not be built"
else
    echo "set-up: no complete TeX here. For the PDF install it (on Debian: apt-get install $packages)"
fi
