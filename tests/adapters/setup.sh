#!/usr/bin/env bash
# Make the environments of the frameworks that cannot live in the one of the tests:
#
#     tests/adapters/setup.sh FOLDER && export ETTIN_ADAPTERS=FOLDER
#
# PYTHON is the interpreter of the tests (default: python). Composer wants an older torch and numpy,
# and torchvision; torchtitan an older datasets; and exports are loaded by an older transformers too.
# What they share with the tests, torch most of all, is taken from there.
set -euo pipefail
folder=${1:?"usage: $0 FOLDER"}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}

shared=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for name in composer torchtitan transformers4; do
    "$python" -m venv "$folder/$name"
    own=$("$folder/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import site; site.addsitedir('$shared')" >"$own/shared.pth"
    "$folder/$name/bin/pip" install --no-input --quiet --no-deps -r "$here/$name.txt"
done
