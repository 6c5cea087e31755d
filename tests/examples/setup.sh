#!/usr/bin/env bash
# Make the environments in which the examples that cannot run in that of the tests are tested, and
# exports evaluated:
#
#     tests/examples/setup.sh FOLDER && export ETTIN_EXAMPLES=FOLDER
#
# PYTHON is the interpreter of the tests (default: python). PyLate wants an older transformers and
# sentence-transformers; mteb and lm-eval bring much that nothing else needs. What they share with
# the tests, torch most of all, is taken from there. Trackers need nothing of it.
set -euo pipefail
folder=${1:?"usage: $0 FOLDER"}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}

shared=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for name in colbert evaluation; do
    "$python" -m venv "$folder/$name"
    own=$("$folder/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import site; site.addsitedir('$shared')" >"$own/shared.pth"
    "$folder/$name/bin/pip" install --no-input --quiet --no-deps -r "$here/$name.txt"
done
"$python" -m venv "$folder/tracking"
"$folder/tracking/bin/pip" install --no-input --quiet -r "$here/tracking.txt"
