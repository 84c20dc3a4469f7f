#!/bin/sh
# Installs the Debian packages that the lab needs and this machine lacks.
set -eu

packages="ca-certificates iproute2 mmdebstrap netcat-openbsd nftables openssh-client podman postgresql-client procps
python3-venv systemd-container uidmap"

missing=""
for package in $packages; do
  dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "the lab needs root and these packages:$missing" >&2
  exit 1
fi
echo "installing$missing"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $missing >/dev/null
