from mien.errors import unknown_choice


def test_few_choices_are_all_named():
    error = unknown_choice("fruit", "aple", ["pear", "apple"])
    assert str(error) == "fruit: no such choice 'aple'; choose from apple, pear"


def test_of_thousands_of_choices_those_most_like_the_name_come_first():
    names = [*(f"size-{number}" for number in range(5_000)), "vgg", "vgg-wide"]
    text = str(unknown_choice("network", "vgg-wid", names))
    assert "choose from vgg-wide, vgg, size-0, " in text
    assert text.endswith(" and 4,992 more")
    assert len(text) < 250
