#!/bin/sh
# Sets up machines of a cluster (Debian 12 or 13, Raspberry Pi OS) over ssh, the head first:
#
#   deploy/token.sh ray.token
#   deploy/provision.sh --wheel dist/asr_batch-0.1.0-py3-none-any.whl --token ray.token 192.168.1.10 192.168.1.11
#
# Each HOST is what ssh takes (user@address); the account needs sudo. The first host is the head. Safe to run
# again: it brings a machine to the same state. On this machine alone: sudo deploy/provision.sh --here HEAD_IP
# --wheel FILE --token FILE [--role head|worker]. It opens no firewall; docs/cluster.md has the lines.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
wheel='' token='' role=worker local_head='' cpus='' start=yes pip_args=''

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }

while [ $# -gt 0 ]; do
  case $1 in
    --wheel) wheel=$2; shift 2 ;;
    --token) token=$2; shift 2 ;;
    --role) role=$2; shift 2 ;;
    --here) local_head=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --pip-args) pip_args=$2; shift 2 ;;
    --no-start) start=no; shift ;;
    -h|--help) usage ;;
    -*) echo "provision.sh: unknown option $1" >&2; usage ;;
    *) break ;;
  esac
done
[ -f "$wheel" ] || { echo "provision.sh: --wheel: no such file: '$wheel'" >&2; exit 2; }
[ -s "$token" ] || { echo "provision.sh: --token: no such file: '$token' (make it with token.sh)" >&2; exit 2; }

own_address() {
  ip -4 route get "$1" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p'
}

packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends python3 python3-venv ca-certificates libgomp1 iproute2
}

# The venv sees the system's packages: python3-hailort comes from apt (docs/hailo.md).
environment() {
  [ -x /opt/asr-batch/bin/python ] || python3 -m venv --system-site-packages /opt/asr-batch
  # shellcheck disable=SC2086 # several words on purpose
  /opt/asr-batch/bin/python -m pip install -q --upgrade $pip_args "$wheel"
  /opt/asr-batch/bin/asr-batch --version
}

account() {
  getent passwd asr >/dev/null || useradd --system --create-home --home-dir /var/lib/asr --shell /usr/sbin/nologin asr
  if getent group hailo >/dev/null; then usermod -aG hailo asr; fi
}

settings() {
  devices=$(find /dev -maxdepth 1 -name 'hailo[0-9]*' | wc -l)
  resources='{}'
  [ "$devices" -eq 0 ] || resources="{\"hailo\": $devices}"
  install -d -m 0755 /etc/asr-batch
  install -m 0644 "$here/ray.env" /etc/asr-batch/ray.env
  install -m 0600 -o asr -g asr "$token" /etc/asr-batch/ray.token
  address=$(own_address "$local_head")
  {
    echo "HEAD_ADDRESS=$local_head"
    echo "NODE_ADDRESS=${address:-$local_head}"
    echo "NUM_CPUS=${cpus:-$(nproc)}"
    echo "RESOURCES='$resources'"
    echo "OBJECT_STORE_BYTES=200000000"
  } > /etc/asr-batch/node.env
  echo "$resources" > /etc/asr-batch/resources.json # for ray-up.yaml
}

units() {
  install -D -m 0644 "$here/systemd/asr-batch-$role.service" "/etc/systemd/system/asr-batch-$role.service"
  [ "$start" = yes ] || return 0
  if [ ! -d /run/systemd/system ]; then
    echo "provision.sh: systemd does not run here; the unit is in place and starts with the next boot" >&2
    install -d /etc/systemd/system/multi-user.target.wants
    ln -sf "../asr-batch-$role.service" /etc/systemd/system/multi-user.target.wants/
    return 0
  fi
  systemctl daemon-reload
  systemctl enable "asr-batch-$role.service"
  systemctl restart "asr-batch-$role.service"
}

if [ -n "$local_head" ]; then
  [ "$(id -u)" -eq 0 ] || { echo "provision.sh: --here needs root" >&2; exit 2; }
  case $role in head|worker) ;; *) echo "provision.sh: --role: head or worker, not '$role'" >&2; exit 2 ;; esac
  packages; account; environment; settings; units
  echo "$(hostname): ready as $role of $local_head"
  exit 0
fi

[ $# -gt 0 ] || usage
head=${1#*@}
role="head"
for host in "$@"; do
  echo "== $host ($role)"
  folder=$(ssh "$host" mktemp -d)
  scp -q -r "$here/provision.sh" "$here/ray.env" "$here/systemd" "$wheel" "$host:$folder/"
  # shellcheck disable=SC2029 # the folder's name is to be filled in here
  ssh "$host" "umask 077; cat > $folder/ray.token" < "$token"
  # shellcheck disable=SC2029
  ssh "$host" "sudo sh $folder/provision.sh --here $head --role $role --token $folder/ray.token \
    --wheel $folder/$(basename "$wheel") ${cpus:+--cpus $cpus}; code=\$?; rm -rf $folder; exit \$code"
  role=worker
done
echo "All machines are set up. On the head: asr-batch doctor --address auto"
