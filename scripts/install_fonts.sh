#!/bin/sh
# Install the freely licensed font families that samvlm.data.synth draws with (Debian or Ubuntu).
#   sudo sh scripts/install_fonts.sh
# Rendering works without them, with fewer looks: python scripts/make_synth.py --fonts lists what is found.
set -eu

PACKAGES="
fonts-liberation2 fonts-dejavu-core fonts-dejavu-extra fonts-freefont-ttf fonts-croscore
fonts-crosextra-carlito fonts-crosextra-caladea fonts-linuxlibertine fonts-texgyre fonts-lmodern
fonts-stix fonts-urw-base35 fonts-lato fonts-open-sans fonts-roboto-unhinted fonts-noto-core
fonts-cantarell fonts-inter fonts-hack fonts-inconsolata fonts-jetbrains-mono
fonts-ebgaramond fonts-sil-gentium-basic fonts-sil-charis fonts-cabin fonts-quattrocento fonts-play
fonts-vollkorn fonts-b612 fonts-go fonts-manrope fonts-paratype fonts-adf-universalis fonts-adf-gillius
fonts-adf-baskervald fonts-gfs-neohellenic fonts-oldstandard
"

apt-get update -qq
available=""
for package in $PACKAGES; do
    if apt-cache show "$package" >/dev/null 2>&1; then
        available="$available $package"
    else
        echo "not in this release, skipped: $package" >&2
    fi
done
# shellcheck disable=SC2086  # a list of package names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $available
