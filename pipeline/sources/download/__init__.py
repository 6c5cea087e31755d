"""The pull. Enters: a lock. Leaves: the locked files on disk, each whole or not at all."""
