"""Core: what every room is built on, and nothing about what the pipeline does.

Modules are imported one by one, so that a command that only parses its arguments loads no numpy.
"""

__all__ = [
    "apportion",
    "arrays",
    "bins",
    "bundled",
    "cells",
    "compiled",
    "digest",
    "document",
    "errors",
    "file_system",
    "files",
    "hashed_file",
    "html_table",
    "json_record",
    "limits",
    "mirrored",
    "prefetch",
    "progress",
    "ragged",
    "record_log",
    "regular_file",
    "saved_file",
    "seeds",
    "shown",
    "units",
    "zstd",
]
