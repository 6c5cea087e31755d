"""Core: what every room is built on, and nothing about what the pipeline does.

`errors` has the error tree; `digest` (sha256, fingerprints), `json_record` (typed JSON objects),
`seeds` (random numbers by name), `units` (837.2B, 64MiB), `files` (atomic publishing),
`regular_file` (what is read whole) and `compiled` (cached numba functions) are functions; `arrays`,
`ragged` and `document` are the values that flow between stages; `prefetch` and `progress` run
beside the work; `bundled` finds shipped mixtures, manifests and recipes. Modules are imported one
by one, so that a command line that only parses its arguments loads no numpy.
"""

__all__ = [
    "arrays",
    "bundled",
    "compiled",
    "digest",
    "document",
    "errors",
    "files",
    "json_record",
    "prefetch",
    "progress",
    "ragged",
    "regular_file",
    "seeds",
    "units",
]
