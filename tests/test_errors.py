"""What errors and messages say of choices and of numbers of things."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

import mien
from mien.errors import many, unknown_choice

PLURAL = re.compile(r" (?:[a-z-]+ ){0,2}(?!is |was |has |as |this )[a-z]{2,}s\b")
"""A noun in the plural after at most two words."""


def test_few_choices_are_all_named():
    error = unknown_choice("fruit", "aple", ["pear", "apple"])
    assert str(error) == "fruit: no such choice 'aple'; choose from apple, pear"


def test_of_thousands_of_choices_those_most_like_the_name_come_first():
    names = [*(f"size-{number}" for number in range(5_000)), "vgg", "vgg-wide"]
    text = str(unknown_choice("network", "vgg-wid", names))
    assert "choose from vgg-wide, vgg, size-0, " in text
    assert text.endswith(" and 4,992 more")
    assert len(text) < 250


def test_many_says_one_thing_in_the_singular():
    assert [many(number, "face") for number in (0, 1, 2, 28709)] == ["0 faces", "1 face", "2 faces", "28,709 faces"]
    assert [many(number, "copy", "copies") for number in (1, np.int64(1500))] == ["1 copy", "1,500 copies"]
    assert [many(number, "second") for number in (1.0, 0.5)] == ["1 second", "0.5 seconds"]


def counts_before_a_plural(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) where an f-string puts a count before a word that stays in the plural when the count is 1."""
    for node in ast.walk(ast.parse(source)):
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for value, after in pairwise(parts):
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
                named, form = ast.unparse(value.value), value.format_spec
                counted = named.startswith("len(") or (form is not None and ast.unparse(form) == "f','")
                if counted and not named.isupper() and PLURAL.match(str(after.value)):
                    yield value.lineno, f"{{{named}}}{str(after.value)[:30]}"


def test_messages_do_not_say_1_pictures():
    assert list(counts_before_a_plural('f"{n:,} wrong files"'))
    sources = {path: path.read_text("utf-8") for path in sorted(Path(mien.__file__).parent.rglob("*.py"))}
    likely = {path: text for path, text in sources.items() if re.search(r"(:,|\))\} [a-z]", text)}
    found = [f"{path.name}:{at}: {said}" for path, text in likely.items() for at, said in counts_before_a_plural(text)]
    assert not found, "say it with mien.errors.many"
