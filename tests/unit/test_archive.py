"""How the archive of an image is called."""

from __future__ import annotations

from pooler.archive import built_name

FILES = [("Containerfile", b"FROM x"), ("cli.py", b"")]


def test_another_name_or_another_file_is_another_build() -> None:
    first = built_name("localhost/pgfleet/pooler:1", FILES)
    assert built_name("localhost/pgfleet/pooler:1", FILES[::-1]) == first
    others = [
        built_name("localhost/pgfleet/pooler:2", FILES),
        built_name("localhost/pgfleet/pooler:1", [*FILES, ("new.py", b"")]),
        built_name("localhost/pgfleet/pooler:1", [("Containerfile", b"FROM y"), FILES[1]]),
    ]
    assert len({first, *others}) == 4
