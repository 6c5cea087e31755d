"""A small output to be published, the file that says what its mixture does not, and its facts."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import builds

from pipeline.config import About, load_about, load_mixture
from pipeline.dataset import read_manifest
from pipeline.show.publish.published_facts import Facts, gather
from pipeline.sources import read_lock

MIXTURE = """\
name: harbour
chunk: {size: 64}
sources:
  letters:
    {category: prose, licence: MIT, from: {path: letters.jsonl}, filters: [length: {min_chars: 40}]}
  notes: {category: prose, licence: ODC-BY, from: {path: notes.jsonl}}
  tides: {from: {path: tides.jsonl}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64, window_tokens: 600}
"""

ABOUT = """\
title: Letters of a harbour
description: |
  Made texts.

  In two paragraphs.
authors: [Anna Example, Jonas Example]
version: '1.2.0'
date: '2026-11-30'
language: [en, ja]
tags: [sea]
provider: {name: Example Institute, contact: data@example.org}
responsible: {biases: [All of it is about boats.]}
sources:
  letters: {kind: public, url: 'https://example.org/letters'}
  notes: {kind: synthetic, generated_by: [a grammar]}
  tides: {kind: licensed, licence: terms of the harbour, licence_text: terms.txt}
"""


@dataclass(frozen=True)
class Place:
    """A folder with a mixture, an about file, the output, and a bundle with rows."""

    folder: Path

    @property
    def mixture(self) -> Path:
        return self.folder / "harbour.yaml"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def about(self) -> Path:
        return self.folder / "about.yaml"

    @property
    def lock(self) -> Path:
        return self.folder / "harbour.lock.json"

    @property
    def with_rows(self) -> Path:
        return self.folder / "bundle"

    def bundle(self, *options: str | Path, out: Path | None = None) -> builds.Finished:
        """Make a bundle by the command."""
        to = self.with_rows if out is None else out
        known = ("--mixture", self.mixture, "--about", self.about, "--lock", self.lock)
        return builds.run("bundle", self.out, "--out", to, *known, *options)

    def facts(self, about: About | None = None, **declared: Any) -> Facts:
        """Return the facts of the output, with parts of its declaration changed."""
        path = self.out / "manifest.json"
        manifest = read_manifest(path)
        mixture = None
        if declared:
            declaration = {**manifest.mixture.declaration, **declared}
            record = dataclasses.replace(manifest.mixture, declaration=declaration)
            manifest = dataclasses.replace(manifest, mixture=record)
        else:
            mixture = load_mixture(self.mixture)
        digest = json.loads(path.read_text())["digest"]
        told = load_about(self.about) if about is None else about
        return gather(
            manifest, digest, told, mixture=mixture, lock=read_lock(self.lock), has_rows=True
        )
