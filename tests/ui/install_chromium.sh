#!/usr/bin/env bash
# Install Debian's Chromium unless there is a browser: playwright's own is not downloaded.
set -euo pipefail
if [ -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
    exit 0
fi
sudo=''
[ "$(id -u)" -eq 0 ] || sudo='sudo'
$sudo apt-get update
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y chromium
