"""Audit: what was built -> whether it is what it should be, what differs and why, what it is of.

Enter outputs, manifests, orders and pools. Leave reports: `verify` checks the bytes and the rows of
an output and explains rows that differ, `diff` compares two builds, `trace` leads from steps to
documents and back.
"""
