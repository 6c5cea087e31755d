#!/usr/bin/env bash
# Make the environment of the transformers that the published rows were tokenized with:
#
#     tests/oracle/setup_transformers.sh FOLDER && export ETTIN_TRANSFORMERS_PYTHON=FOLDER/bin/python
#
# It is one of its own because current packages want newer releases; torch is not needed.
set -euo pipefail
folder=${1:?"usage: $0 FOLDER"}

"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --no-input --quiet transformers==4.44.1 tokenizers==0.19.1 numpy==1.26.4
"$folder/bin/python" -W ignore -c 'import transformers; print("transformers", transformers.__version__)'
