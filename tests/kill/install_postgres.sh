#!/usr/bin/env bash
# Install Debian's PostgreSQL unless there is one: the kill suite runs a cluster of its own in a temporary folder.
set -euo pipefail
if compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null; then
    exit 0
fi
sudo=''
[ "$(id -u)" -eq 0 ] || sudo='sudo'
$sudo apt-get update
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y postgresql
