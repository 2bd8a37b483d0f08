#!/bin/sh
# Sets up a Raspberry Pi 5 with a Hailo-8, 8L or 10H for asr-batch: system packages, environment, doctor.
# Usage, on the Pi, as the user who will run asr-batch:  deploy/hailo-pi.sh WHEEL [FOLDER]
#   WHEEL   asr_batch-*.whl, or the name of a package index's release (asr-batch)
#   FOLDER  the environment, default ~/asr-batch
# Run it again at any time: it changes only what is missing. It asks for a restart where one is needed.
set -eu
wheel=${1:?usage: hailo-pi.sh WHEEL [FOLDER]}
folder=${2:-$HOME/asr-batch}
release=${OS_RELEASE:-/etc/os-release}
devices=${PCI_DEVICES:-/sys/bus/pci/devices}
die() { echo "hailo-pi.sh: $1" >&2; exit 2; }

# shellcheck disable=SC1090
codename=$(. "$release" && echo "${VERSION_CODENAME:-}")
[ "$codename" = trixie ] || die "this is ${codename:-an unknown system}; expected Raspberry Pi OS Trixie (64 bit)"
[ "$(uname -m)" = aarch64 ] || [ -n "${PCI_DEVICES:-}" ] || die "this is $(uname -m); expected a 64 bit system"

chip=
for device in "$devices"/*; do
  [ "$(cat "$device/vendor" 2>/dev/null || true)" = 0x1e60 ] && chip=$(cat "$device/device")
done
case $chip in
  0x2864) package=hailo-all other=hailo-h10-all name="Hailo-8 or 8L" ;;
  0x45c4) package=hailo-h10-all other=hailo-all name="Hailo-10H" ;;
  "") die "no Hailo device on the PCI bus; check the board's cable, then: lspci | grep Hailo" ;;
  *) die "a Hailo device of an unknown kind ($chip); expected a Hailo-8, 8L or 10H" ;;
esac
echo "$name: $package"

has() { dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }
if has "$other"; then
  die "$other is installed and excludes $package; first: sudo apt purge $other && sudo apt autoremove"
fi
restart=
if ! has "$package"; then
  sudo apt-get update
  sudo apt-get install --yes dkms "$package" python3-venv
  restart=yes
fi

# The vendor's Python package is apt's, for the system's own Python: the environment has to see it.
[ -x "$folder/bin/python" ] || /usr/bin/python3 -m venv --system-site-packages "$folder"
"$folder/bin/pip" install --quiet --upgrade "$wheel"
if [ -n "$restart" ]; then
  echo "Restart now, so that the driver is loaded (sudo reboot). Then: $folder/bin/asr-batch doctor"
  exit 0
fi
exec "$folder/bin/asr-batch" doctor
