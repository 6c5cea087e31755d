"""The download of locked files, each whole or not at all."""
