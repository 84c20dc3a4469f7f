#!/usr/bin/env bash
# ansible-test sanity over the collection, with the Python that runs Ansible here.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH

# ansible-test follows links and insists on the path that a collection has, so it is given a copy of what is shipped.
collection=build/sanity/ansible_collections/pgfleet/pooler
rm -rf "$collection"
mkdir -p "$collection"
for part in ". :!tests :!molecule" tests/sanity; do
  # shellcheck disable=SC2086
  git ls-files -z --cached --others --exclude-standard -- $part
done | tar --create --null --files-from=- --ignore-failed-read 2>/dev/null | tar --extract --directory="$collection"
git init --quiet "$collection" # otherwise it finds the checkout's, which ignores build/

# ansible-test makes virtual environments without pip and fetches a script that brings it. Where its host cannot be
# reached, Python's own copy of pip does as well; a script that ansible-test has fetched before is left alone.
bootstrap=$HOME/.ansible/test/cache/get_pip_24_2.py
if [ ! -e "$bootstrap" ]; then
  mkdir -p "${bootstrap%/*}"
  cat >"$bootstrap" <<'PYTHON'
import ensurepip
import os
import subprocess
import sys

ensurepip.bootstrap(upgrade=True)
os.environ.pop("PIP_CONFIG_FILE", None)
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *wanted]))
PYTHON
fi

cd "$collection"
exec ansible-test sanity --local --python "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$@"
