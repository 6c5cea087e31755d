"""Audit: outputs, manifests, orders and pools -> reports on what they hold and how they differ.

`verify` checks the bytes and rows of an output and explains rows that differ, `diff` compares two
builds, `trace` maps steps to documents and back.
"""
