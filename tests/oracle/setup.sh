#!/usr/bin/env bash
# Make the environment of the public MDS package, against which ours is checked and timed:
#
#     tests/oracle/setup.sh FOLDER && export ETTIN_ORACLE_PYTHON=FOLDER/bin/python
#
# It is one of its own because the package pins an older numpy and wants torch and torchvision.
# Only what writing and reading shards imports is installed; for torchvision and
# transformers there are stand-ins.
set -euo pipefail
folder=${1:?"usage: $0 FOLDER"}
here=$(cd "$(dirname "$0")" && pwd)

"${PYTHON:-python3}" -m venv "$folder"
pip=("$folder/bin/pip" install --no-input --quiet)
"${pip[@]}" torch==2.13.0
"${pip[@]}" -r "$here/requirements.txt"
"${pip[@]}" --no-deps mosaicml-streaming==0.13.0

"$folder/bin/python" "$here/stand_ins.py"
"$folder/bin/python" -W ignore -c 'import streaming; print("streaming", streaming.__version__)'
