"""Core: what every room stands on, and nothing of what the pipeline does.

`errors`, `digest`, `seeds`, `units` and `files` (atomic publishing) are functions; `arrays`,
`ragged` and `document` are the values that flow between stages; `prefetch` and `progress` run
beside the work; `bundled` finds the mixtures, manifests and recipes that ship. Modules are imported
one by one, so that a command line that only parses its arguments loads no numpy.
"""

__all__ = [
    "arrays",
    "bundled",
    "compiled",
    "digest",
    "document",
    "errors",
    "files",
    "prefetch",
    "progress",
    "ragged",
    "seeds",
    "units",
]
