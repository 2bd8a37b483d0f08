#!/bin/sh
# Makes the cluster's token. Run it once, on the machine that you provision from: deploy/token.sh FILE
# Anyone who can read this file can run code on every machine of the cluster.
set -eu
file=${1:?usage: token.sh FILE}
if [ -s "$file" ]; then
  echo "$file: already holds a token; remove it first to make a new one" >&2
  exit 1
fi
umask 077
head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$file"
chmod 600 "$file"
echo "$file: token written (mode 0600)"
