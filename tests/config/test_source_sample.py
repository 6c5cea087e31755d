"""What a source says of its sampling, and what it takes over from its mixture."""

from support.mixtures import ETTIN, read

from pipeline.config.sample import SourceSample


def test_what_a_source_does_not_say_of_its_sampling_is_as_in_the_mixture() -> None:
    shared = ("sample.algorithm=ettin-longest-first-v1", "sample.seed=7")
    for said, algorithm, seed, first in (
        ("{}", "ettin-longest-first-v1", 7, ()),
        ("{first: a}", "ettin-longest-first-v1", 7, ("a",)),
        ("{seed: 0}", "ettin-longest-first-v1", 0, ()),
        ("{algorithm: keyed-v1}", "keyed-v1", 7, ()),
    ):
        mixture = read(ETTIN, *shared, f"sources.books.sample={said}")
        [books] = (one for one in mixture.sources if one.name == "books")
        assert mixture.sample_of(books) == SourceSample(algorithm=algorithm, seed=seed, first=first)
        # What holds is declared, in whichever way it is written.
        written = {"algorithm": algorithm, "seed": seed, **({"first": [*first]} if first else {})}
        assert mixture.declaration()["sources"]["books"]["sample"] == written
        whole = ", ".join(f"{key}: {value}" for key, value in written.items()).replace("'", "")
        again = read(ETTIN, *shared, f"sources.books.sample={{{whole}}}")
        assert again.fingerprint == mixture.fingerprint
