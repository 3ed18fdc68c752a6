"""What a worker does: one part after the other, each whole or not at all. Knows nothing of Ray."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from mien.analyzer import Analyzer
from mien.batch.plan import Part, read_items, read_parts
from mien.batch.reading import Failed, entries_of, read_entries
from mien.batch.segments import Answers, coming_up, with_answers
from mien.batch.settings import ModelFile, Settings
from mien.batch.shards import Entry
from mien.batch.stores import Store, first_line
from mien.batch.tables import FACES, WORK, Counts, PartTables, part_file, read_counts
from mien.batch.videos import segment_frames, video_frames
from mien.errors import DataError, MienError
from mien.faces import Detector, open_detector
from mien.frames import Frame, Reading, reason

ANSWERS = f"{WORK}/answers"
"""The folder of what was found out about segments of videos."""

PATIENCE = 2
"""Workers that may die over a part before it is done picture by picture, and over a picture before it is given up."""

GAVE_UP = "ended the process that read it ({count} times)"


def build_analyzer(
    model: ModelFile, settings: Settings, *, threads: int, device: str, detector: Detector | None = None
) -> Analyzer:
    """The analyzer of a run.

    Args:
        model: the file's bytes, so that every machine has the same.
        settings: of the run.
        threads: of the CPU.
        device: as `mien.open_model` takes it.
        detector: takes the place of the one that the settings name.
    """
    if detector is None:
        finding: dict[str, Any] = {} if settings.detector == "none" else {"threads": threads}
        if settings.min_face_size is not None:
            finding["min_face_size"] = settings.min_face_size
        detector = open_detector(settings.detector, **finding)
    with tempfile.TemporaryDirectory(prefix="mien-model-") as folder:
        path = Path(folder, model.name)
        path.write_bytes(model.data)
        return Analyzer(path, detector=detector, threads=threads, device=device, **settings.analyzer_options())


@dataclass
class Note:
    """How far the workers before came with a part.

    Attributes:
        deaths: workers that died over it.
        at: the picture that is being read, where it goes picture by picture; -1 otherwise.
        deaths_at: picture to how many workers died over it.
    """

    deaths: int = 0
    at: int = -1
    deaths_at: dict[int, int] = field(default_factory=dict)

    @property
    def deaths_elsewhere(self) -> int:
        """Deaths that no picture can be blamed for."""
        return self.deaths - sum(self.deaths_at.values())

    def over(self, deaths: int) -> set[int]:
        """Pictures over which so many workers died."""
        return {number for number, died in self.deaths_at.items() if died >= deaths}

    def died(self) -> None:
        """One more worker died."""
        self.deaths += 1
        if self.at >= 0:
            self.deaths_at[self.at] = self.deaths_at.get(self.at, 0) + 1
        self.at = -1


class PartWorker:
    """Does parts of a run in this process."""

    def __init__(self, folder: str, analyzer: Analyzer, settings: Settings, *, threads: int = 1) -> None:
        """Take what every part needs.

        Args:
            folder: address of the run's folder.
            analyzer: see `build_analyzer`.
            settings: of the run.
            threads: that decode pictures.
        """
        self._folder = Store.open(folder)
        self._analyzer, self._settings, self._threads = analyzer, settings, threads
        self._reading = Reading(max_pixels=settings.max_pixels, allow_private=settings.allow_private)

    def do(self, part: Part) -> Counts:
        """Do a part, or nothing where that was done before.

        Raises:
            DataError: the folder cannot be written to.
        """
        if part_file(self._folder, FACES, part.number).exists():
            return read_counts(self._folder, part.number)
        notes = Notes(self._folder, part.number)
        notes.begin()
        try:
            return self._do_noting(part, notes)
        except MienError:
            raise
        except Exception:  # of a library, about some picture: as bad as death, but whose it is can be found out here
            notes.note.deaths = max(notes.note.deaths, PATIENCE)
            return self._do_noting(part, notes)
        finally:  # not reached by who dies
            notes.end()

    def _do_noting(self, part: Part, notes: Notes) -> Counts:
        keep_empty, note = self._settings.keep_empty, notes.note
        with PartTables(self._folder, part.number, self._analyzer.classes, keep_empty=keep_empty) as tables:
            if note.deaths_elsewhere >= 2 * PATIENCE:
                self._give_up(part, tables)
            elif part.kind == "video":
                self._do_video(part, tables)
            elif note.deaths < PATIENCE:
                self._do_pictures(part, tables)
            else:
                self._do_carefully(part, tables, notes)
        return tables.counts

    def _give_up(self, part: Part, tables: PartTables) -> None:
        """Of a part that nothing can be learned about, all fails."""
        reason = GAVE_UP.format(count=2 * PATIENCE)
        names = [part.name]
        if part.kind == "items":
            names = [found.name for found in read_items(self._folder, part.start, part.stop)]
        for name in names:
            tables.fail(name, reason)

    def _do_pictures(self, part: Part, tables: PartTables) -> None:
        entries = _until_damage(entries_of(self._folder, part, self._reading), part, tables.fail)
        frames = read_entries(entries, threads=self._threads, ahead=self._reading.ahead, failed=tables.fail)
        for _, analysis in self._analyzer.analyze_frames(frames):
            tables.add(analysis)

    def _do_carefully(self, part: Part, tables: PartTables, notes: Notes) -> None:
        """Picture by picture, each noted before it is read, so that whoever dies says over which."""
        entries = _until_damage(entries_of(self._folder, part, self._reading), part, tables.fail)
        given_up, hopeless = notes.note.over(PATIENCE), notes.note.over(2 * PATIENCE)
        for number in count():
            if number in hopeless:  # not even its bytes can be had
                tables.fail(part.name or f"picture {number} of part {part.number}", GAVE_UP.format(count=2 * PATIENCE))
                return
            notes.at(number)
            entry = next(entries, None)
            if entry is None:
                return
            if number in given_up:
                tables.fail(entry.name, GAVE_UP.format(count=PATIENCE))
            else:
                self._do_one(entry, tables)

    def _do_one(self, entry: Entry, tables: PartTables) -> None:
        frames: Iterator[Frame] = read_entries([entry], threads=1, ahead=1, failed=tables.fail)
        try:
            analyses = [analysis for _, analysis in self._analyzer.analyze_frames(frames)]
        except MienError:
            raise
        except Exception as error:
            tables.fail(entry.name, _of_a_library(error))
            return
        for analysis in analyses:
            tables.add(analysis)

    def _do_video(self, part: Part, tables: PartTables) -> None:
        """A whole video in order, with the answers that were found out segment by segment where it was cut."""
        settings, known = self._settings, _Known(self._folder, part)
        analyzer, asked = with_answers(self._analyzer) if part.segments else (self._analyzer, None)
        frames = video_frames(part.name, part.target, self._reading)
        if asked is not None:
            frames = coming_up(frames, asked, iter(known))
        found = analyzer.analyze_frames(frames, smooth=settings.smooth, detect_every=settings.detect_every)
        try:
            for _, analysis in found:
                tables.add(analysis, moving=True)
        except DataError as error:
            tables.fail(part.name, reason(error))
        except MienError:
            raise
        except Exception as error:
            tables.fail(part.name, _of_a_library(error))

    def do_segment(self, part: Part) -> None:
        """Find out all that can be found out about a segment of a video; failures are left to the whole video's pass.

        Raises:
            DataError: the folder cannot be written to.
        """
        store = answers_file(self._folder, part.number)
        if store.exists():
            return
        notes = Notes(self._folder, part.number)
        notes.begin()
        try:
            answers = Answers() if notes.note.deaths >= PATIENCE else self._ask(part)
            store.write(answers.to_bytes())
        finally:
            notes.end()

    def _ask(self, part: Part) -> Answers:
        analyzer, asked = with_answers(self._analyzer)
        frames = segment_frames(
            part.name, part.target, self._reading, start=part.start, stop=part.stop, stamp=part.stamp
        )
        with suppress(Exception):
            for _ in analyzer.analyze_frames(frames, smooth=0.0, detect_every=self._settings.detect_every):
                pass
        return asked.new


def answers_file(folder: Store, number: int) -> Store:
    """Where the answers of a segment go."""
    return folder.child(*ANSWERS.split("/"), f"part-{number:06d}.npz")


def done_segments(folder: Store) -> set[int]:
    """Numbers of the segments whose answers are there."""
    names = folder.child(*ANSWERS.split("/")).names()
    return {int(found[1]) for name in names if (found := re.fullmatch(r"part-(\d+)\.npz", name))}


def forget_notes(folder: Store) -> None:
    """Remove the notes about parts: when a run goes on, whoever had begun a part was ended with it, not by it."""
    for name in folder.child(WORK).names():
        if name.endswith(".json"):
            folder.child(WORK, name).delete_file()


class _Known:
    """The answers of a video's segments, read one after the other."""

    def __init__(self, folder: Store, part: Part) -> None:
        self._folder, self._part = folder, part

    def __iter__(self) -> Iterator[tuple[int, Answers]]:
        part = self._part
        for segment in read_parts(self._folder)[part.number - part.segments : part.number]:
            try:
                yield segment.start, Answers.from_bytes(answers_file(self._folder, segment.number).read())
            except DataError:
                continue  # what is not known is found out again


def _until_damage(entries: Iterator[Entry], part: Part, failed: Failed) -> Iterator[Entry]:
    """The pictures up to where a shard is damaged, which is said."""
    try:
        yield from entries
    except DataError as error:
        failed(part.name, reason(error).removeprefix(f"{part.name}: "))


def _of_a_library(error: Exception) -> str:
    """The reason, where a library failed."""
    return f"cannot be read ({type(error).__name__}: {first_line(error)})"


class Notes:
    """What workers write down about a part, for those who take it over if they die.

    Attributes:
        note: as it stands.
    """

    def __init__(self, folder: Store, number: int) -> None:
        self._store = folder.child(WORK, f"part-{number:06d}.json")
        self.note = Note()

    def begin(self) -> None:
        """Take the part over: whoever noted something before has died."""
        if self._store.exists():
            self.note = self._read()
            self.note.died()
        self._write()

    def _read(self) -> Note:
        try:
            document = json.loads(self._store.read())
            deaths_at = {int(number): int(deaths) for number, deaths in document["deaths_at"].items()}
            return Note(int(document["deaths"]), int(document["at"]), deaths_at)
        except (AttributeError, KeyError, TypeError, ValueError, DataError):
            return Note()

    def at(self, number: int) -> None:
        """The picture that is read next."""
        self.note.at = number
        self._write()

    def _write(self) -> None:
        self._store.write(json.dumps(asdict(self.note)).encode())

    def end(self) -> None:
        """The part is done, or was put down."""
        try:
            self._store.filesystem.delete_file(self._store.path)
        except OSError:
            return
