"""The pull: locked files -> the same bytes on disk, whole or not at all.

`ahead` says what is missing and whether there is room; `many` pulls that; `fetch` one file of it.
"""
