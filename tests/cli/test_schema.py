"""`ettin-data schema`: the schema that it prints."""

import json

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support import builds
from support.commands import call


def test_the_schema_accepts_the_small_mixture(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml  # type: ignore[import-untyped,unused-ignore]

    code, out, err = call(capsys, "schema")
    assert (code, err) == (0, "")
    schema = json.loads(out)
    Draft202012Validator.check_schema(schema)
    declared = yaml.safe_load(builds.MIXTURE)
    assert list(Draft202012Validator(schema).iter_errors(declared)) == []
    assert call(capsys, "schema", "--json") == (code, out, err)
