"""JSON Lines that hold no document, each with its reason and its message."""

GOOD = b'{"id": "good", "text": "A good document."}'
NO_JSON = ("invalid_json", "got a line that is not JSON (")
BAD_LINES: dict[str, tuple[bytes, str, str]] = {
    "no JSON": (b"{", *NO_JSON),
    "two objects": (b'{"id": 1} {}', *NO_JSON),
    "half a line": (GOOD[:20], *NO_JSON),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, *NO_JSON),
    "NaN": (
        b'{"id": "x", "text": NaN}',
        "no_text",
        'field "text" is the number NaN, expected text',
    ),
    "NaN as an id": (
        b'{"id": NaN, "text": "x"}',
        "no_id",
        'field "id" is the number NaN, expected an id',
    ),
    "deep": (b"[" * 100_000, *NO_JSON),
    "lone surrogate": (b'{"id": "x", "text": "\\ud800"}', *NO_JSON),
    "lone surrogate in the id": (b'{"id": "\\udfff", "text": "x"}', *NO_JSON),
    "text twice": (
        b'{"id": "x", "text": "one", "text": "two"}',
        "duplicate_field",
        'got an object with two fields "text", expected one',
    ),
    "id twice": (
        b'{"id": "x", "text": "one", "meta": {"id": 1}, "id": "x"}',
        "duplicate_field",
        'got an object with two fields "id", expected one',
    ),
    "a list": (b'["id"]', "invalid_json", "got a JSON list, expected an object"),
    "a string": (b'"text"', "invalid_json", "got a JSON str, expected an object"),
    "null": (b"null", "invalid_json", "got a JSON NoneType, expected an object"),
    "invalid UTF-8": (
        b'{"id": "x", "text": "ab\xff"}',
        "invalid_utf8",
        "invalid UTF-8 at byte 23: invalid start byte",
    ),
    "UTF-8 of a surrogate": (
        b'{"id": "x", "text": "\xed\xa0\x80"}',
        "invalid_utf8",
        "invalid UTF-8 at byte 21: invalid continuation byte",
    ),
    "no text": (b'{"id": "x"}', "no_text", 'field "text" is missing among id, expected text'),
    "text is null": (
        b'{"id": "x", "text": null}',
        "no_text",
        'field "text" is null, expected text',
    ),
    "text is a number": (
        b'{"id": "x", "text": 1}',
        "no_text",
        'field "text" is an int, expected text',
    ),
    "text is a list": (
        b'{"id": 0, "text": []}',
        "no_text",
        'field "text" is a list, expected text',
    ),
    "no id": (b'{"text": "x"}', "no_id", 'field "id" is missing among text, expected an id'),
    "id is a fraction": (
        b'{"id": 1.5, "text": "x"}',
        "no_id",
        'field "id" is a float, expected an id',
    ),
    "id is true": (b'{"id": true, "text": "x"}', "no_id", 'field "id" is a bool, expected an id'),
    "empty text": (b'{"id": "x\\n1", "text": ""}', "empty_text", 'id "x\\n1" has an empty text'),
}
