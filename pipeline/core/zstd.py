"""zstd that others packed: the window of a frame, which is held whole in memory, is bounded."""

from typing import Final

import zstandard

# What `zstd --long` and `--ultra -22` take; a frame may ask for 2 GiB.
_WINDOW_BYTES: Final = 1 << 27
_WINDOW_ERROR: Final = "Frame requires too much memory"
PACK_AGAIN: Final = "compress it again: zstd -d --long=31 -c OLD | zstd --long -o NEW.zst"
"""What to do about a frame with a larger window."""


def make_decompressor() -> zstandard.ZstdDecompressor:
    """Return a decompressor of frames with a window of at most 128 MiB."""
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)


def has_large_window(error: Exception) -> bool:
    """Return whether such a decompressor has refused a frame for its window."""
    return _WINDOW_ERROR in str(error)
