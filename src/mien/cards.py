"""Model cards, as Hugging Face reads them: YAML front matter, what a model is, scored, and is not to be used for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.coverage import threshold
from mien.datasets.origins import of_others
from mien.errors import many
from mien.evaluation import Evaluation
from mien.files import write_text
from mien.front_matter import UNKNOWN_LICENCE
from mien.front_matter import front_matter as front_matter
from mien.modelspec import ModelSpec

if TYPE_CHECKING:
    from mien.report_facts import ReportFacts

LIMITS = """\
It names the look of a face in a still picture, one of the classes above, as people labelled such pictures. It does not
know what a person feels. Labels of expressions are noisy, and differ between people and cultures; scores differ
between groups that the data shows unevenly."""

USES = """\
Meant for sorting and searching one's own pictures, research, teaching and art, as a start for fine-tuning, and as a
mark to compare with."""

FORBIDDEN = """\
Not for deciding about people: not for hiring, grading, policing, insurance, credit or medicine, and not for finding out
what somebody feels or intends.

In the European Union, inferring the emotions of people at work or in education is prohibited (AI Act, Regulation (EU)
2024/1689, Article 5(1)(f)), other than for medical or safety reasons. This model is not made for that
exception either."""

LAST_KEPT = "the last epoch was kept, whatever it scored"


def run_card(
    record: Mapping[str, Any], spec: ModelSpec, scores: Mapping[str, Evaluation], *, interrupted: bool = False
) -> str:
    """Write the card of a run.

    Args:
        record: what the run's config.json holds.
        spec: what the model files say about themselves.
        scores: split to evaluation.
        interrupted: whether Ctrl-C ended it early, and test splits were left unread.

    Returns:
        Markdown with front matter.
    """
    data = spec.trained_on
    environment = record.get("environment", {})
    return f"""\
{front_matter(spec.network, spec, scores)}
# {spec.network}

{_what(spec)}

## Data

{_trained(spec)}{_left_out(data)}{_others(data)} {_held(record, data)}

## Scores

{_table(scores)}

One run, one view of each picture. {_honesty(record, data, scores, interrupted=interrupted)}

## How it was made

    {record.get("command", "mien.fit(...)")}

Python {environment.get("python", "?")}, {environment.get("system", "?")}, Keras on {environment.get("backend", "?")}.
All settings and versions are in config.json, every epoch in history.csv.

{_uses_and_limits()}
"""


def model_card(facts: ReportFacts, *, licence: str = UNKNOWN_LICENCE) -> str:
    """Write the card of a judged model, from the same facts as the report.

    Args:
        facts: what was measured; what is None is left out.
        licence: of the model, as Hugging Face abbreviates it, such as ``mit``.

    Returns:
        Markdown with front matter.
    """
    spec, origin = facts.spec, facts.provenance
    versions = ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    parts = [
        front_matter(facts.name, spec, facts.scores, licence=licence, ece=facts.ece, judged=facts.format),
        f"# {_text(facts.name)}",
        _what(spec),
        _use(facts),
        f"## Data\n\n{_trained(spec)}{_left_out(spec.trained_on)}{_others(spec.trained_on)}",
        f"## Scores\n\n{_judged_on(facts)}\n\n{_table(facts.scores)}\n\n{_sentence(facts.views)}.",
        *_measured(facts),
        _classes_table(facts.evaluation),
        f"## How it was judged\n\n    {origin.command}\n\n{versions}; Python {origin.python}, {origin.system}.",
        f"SHA-256 of the model's file: `{origin.model_sha256}`",
        *([f"SHA-256 of the judged pictures: `{origin.data_sha256}`"] if origin.data_sha256 else []),
        _uses_and_limits(),
        _licence(licence),
    ]
    return "\n\n".join(parts) + "\n"


def write_card(path: str | Path, facts: ReportFacts, *, licence: str = UNKNOWN_LICENCE) -> Path:
    """Write `model_card` to a file, whole or not at all; returns its path.

    Raises:
        UsageError: the file cannot be written.
        MissingExtraError: PyYAML is not installed.
    """
    write_text(path, model_card(facts, licence=licence))
    return Path(path)


def _what(spec: ModelSpec) -> str:
    colour = "grey" if spec.input.channels == 1 else "RGB"
    classes = ", ".join(map(_text, spec.classes))
    return (
        f"A facial-expression classifier: {spec.input.size}x{spec.input.size} {colour} faces to {classes}.\n"
        f"{many(spec.parameters, 'parameter')}. Made by mien {spec.mien_version}."
    )


def _use(facts: ReportFacts) -> str:
    file = Path(facts.provenance.model).name
    return f"""\
## Use

```python
import mien

analyzer = mien.Analyzer({file!r})
for face in analyzer.analyze("photo.jpg"):
    print(face.expression, f"{{face.confidence:.0%}}")
```"""


def _uses_and_limits() -> str:
    return f"## Intended uses\n\n{USES}\n\n## Forbidden uses\n\n{FORBIDDEN}\n\n## Limits\n\n{LIMITS}"


def _licence(licence: str) -> str:
    known = f"`{licence}`." if licence != UNKNOWN_LICENCE else "Not stated: whoever trained the model names it."
    return f"## Licence\n\n{known} The pictures it learned from belong to others and are not part of it."


def _measured(facts: ReportFacts) -> Iterator[str]:
    """What else is known, a sentence each."""
    if facts.calibration is not None:
        before, after = facts.calibration.before, facts.calibration.after
        scaled = f", {before.ece:.1%} without it" if after.temperature != 1 else ""
        at = f" at the file's temperature of {after.temperature:.2f}" if scaled else ", not calibrated"
        yield f"Calibration: expected calibration error {after.ece:.1%}{at}{scaled}."
    if facts.coverage is not None:
        mark = facts.coverage.at_80
        yield (
            f"Of the {mark.coverage:.0%} it is surest of (confidence from {threshold(mark.min_confidence)}), "
            f"{mark.accuracy:.1%} are right."
        )
    if facts.robustness is not None:
        rough = facts.robustness
        yield f"On spoilt pictures (n = {rough.n:,}): {rough.mean:.1%} on average, {rough.clean:.1%} as they are."
    cautions = facts.cautions()
    if facts.leakage is not None and facts.leakage.copies and facts.leakage.clean_accuracy is not None:
        clean = facts.leakage
        without = f"Without those that also stand in Training: {clean.clean_accuracy:.1%} of {clean.clean_n:,}"
        if clean.near_clean_accuracy is not None:
            without += f"; without nearly identical ones too: {clean.near_clean_accuracy:.1%} of {clean.near_clean_n:,}"
        cautions = (*cautions, f"{without}.")
    if cautions:
        yield " ".join(cautions)


def _classes_table(score: Evaluation) -> str:
    rows = ["| class | n | precision | recall | F1 |", "|---|---|---|---|---|"]
    rows += [
        f"| {_text(name)} | {one.support:,} | {one.precision:.1%} | {one.recall:.1%} | {one.f1:.3f} |"
        for name, one in score.per_class.items()
    ]
    return "\n".join(rows)


def _judged_on(facts: ReportFacts) -> str:
    """What the scores are of, which need not be what the model learned from."""
    return (
        f"Judged on {facts.split_name} of {_text(facts.format) or 'labelled faces'}, "
        f"{many(facts.evaluation.n, 'image')}."
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _text(name: str) -> str:
    """A name that Markdown takes for nothing else."""
    for sign, other in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("\n", " ")):
        name = name.replace(sign, other)
    return name


def _trained(spec: ModelSpec) -> str:
    data = spec.trained_on
    if not {"format", "n_train"} <= data.keys():
        return "Not stated."
    return f"{_text(str(data['format']))}: trained on {many(data['n_train'], 'image')} of its training split."


def _left_out(data: Mapping[str, Any]) -> str:
    """Images that were not used: as a test split has them too, or as a list named them."""
    copies, listed = data.get("duplicates_left_out"), data.get("excluded")
    said = ""
    if copies is not None:
        said = f" {many(copies, 'image was', 'images were')} left out, found in a test split as well."
    if listed:
        said += f" {many(listed, 'image of the data was', 'images of the data were')} left out, as a list said."
    return said


def _others(data: Mapping[str, Any]) -> str:
    """Other models that it learned from: what these had seen has had its part in it."""
    recipe = data.get("recipe")
    if not isinstance(recipe, Mapping):
        return ""
    said, share = [], recipe.get("init_share")
    if init := recipe.get("init"):
        said.append(f"It began with the weights of {_text(str(init))}{f', of which {share} stays' if share else ''}.")
    if teachers := recipe.get("teachers"):
        said.append(f"It learned from the answers of {_text(', '.join(map(str, teachers)))} as well.")
    if said:
        said.append("What these had learned from counts too.")
    return "".join(f" {sentence}" for sentence in said)


def _held(record: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What was looked at while training."""
    if not data["n_validation"]:
        return "None were held out; the last epoch was kept."
    if data.get("validation") == "public":
        return f"The {many(data['n_validation'], 'of PublicTest was', 'of PublicTest were')} watched while training."
    others = of_others(data).strip()
    held = many(data["n_validation"], *(f"{others} {verb}".strip() for verb in ("was", "were")))
    if chosen := _chosen(record):
        return f"{held} held out to choose {chosen}."
    return f"{held} held out to watch it by; {LAST_KEPT}."


def _chosen(record: Mapping[str, Any]) -> str:
    """What the validation images decided, empty where they decided nothing."""
    training = record["training"]
    chosen = ["the epoch"] if training.get("keep", "best") == "best" else []
    if training.get("early_stopping"):
        chosen.append("when to end")
    return " and ".join(chosen)


def _honesty(
    record: Mapping[str, Any], data: Mapping[str, Any], scores: Mapping[str, Evaluation], *, interrupted: bool
) -> str:
    """Which scores are tests."""
    sentences = []
    tested = scores.keys() - {"validation"}
    if interrupted:
        sentences.append("Training was interrupted before its end, and test splits were left unread.")
    elif not tested:
        sentences.append("No test split was read.")
    if data.get("validation") == "public":
        return " ".join([*sentences, _public_honesty(record, scores)])
    if tested:
        sentences.append("Test splits were read once, after everything was chosen.")
    if data["n_validation"]:
        chosen = _chosen(record)
        sentences.append(
            f'"validation" chose {chosen} and is therefore no test.'
            if chosen
            else f'"validation" was watched while training; {LAST_KEPT}.'
        )
    return " ".join(sentences)


def _public_honesty(record: Mapping[str, Any], scores: Mapping[str, Evaluation]) -> str:
    """Which scores are tests, of a run that watched PublicTest."""
    named = 'PublicTest, here "validation",' if "validation" in scores else "PublicTest"
    chosen = _chosen(record)
    left = "of these splits only PrivateTest is a test" if "private" in scores else "it is no test"
    return (
        f"{named} was watched while training ({f'it chose {chosen}' if chosen else LAST_KEPT}), and recipes are chosen "
        f"on it: {left}."
    )


def _table(scores: Mapping[str, Evaluation]) -> str:
    """Accuracy and the like by split, as a Markdown table."""
    if not scores:
        return "Not judged: there were no validation images, and no test split was read."
    rows = ["| split | n | accuracy | 95 % interval | balanced | macro F1 |", "|---|---|---|---|---|---|"]
    for name, score in scores.items():
        low, high = score.accuracy_interval
        rows.append(
            f"| {name} | {score.n:,} | {score.accuracy:.1%} | {low:.1%} to {high:.1%} "
            f"| {score.balanced_accuracy:.1%} | {score.macro_f1:.3f} |"
        )
    return "\n".join(rows)
