#!/bin/sh
# Runs a command for which the checkout's directories are empty, save the virtual environment and what was built:
# what it needs of the collection, it must find elsewhere.
set -eu
exec unshare --mount --propagation=private sh -euc '
  project=$1
  shift
  for directory in "$project"/*/; do
    case $directory in
      */build/) ;;
      *) mount -t tmpfs -o ro none "$directory" ;;
    esac
  done
  cd /
  exec "$@"
' sh "$(cd "$(dirname "$0")/../.." && pwd)" "$@"
