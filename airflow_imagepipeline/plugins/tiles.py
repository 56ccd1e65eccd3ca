"""What stands in a grid: a row of a batch, or a task of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_imagepipeline.contract.manifest import RowOutcome
from airflow_imagepipeline.plugins import words
from airflow_imagepipeline.plugins.manifests import Line, Manifest
from airflow_imagepipeline.plugins.results import BatchFound, Found, JobFound, Provenance, SheetFound, row_inputs
from airflow_imagepipeline.plugins.task_instances import FoundTask, Place
from airflow_imagepipeline.plugins.under_way import UnderWay
from airflow_imagepipeline.plugins.views import Facts, Shown, shown_image, shown_input

_PICTURES_OF_CARD = 4


@dataclass(frozen=True)
class Tile:
    """
    A row of a batch in the grid.

    :param address: of its input.
    :param reason: the whole of it; ``brief`` is what a tile has room for.
    """

    place: int
    index: int
    address: str
    outcome: RowOutcome | None
    reason: str
    picture: Shown | None
    images: int = 0

    @property
    def folder(self) -> str:
        """The folder that its input lies in."""
        return words.folder_of(self.address)

    @property
    def name(self) -> str:
        """The file name of its input."""
        return words.last_part(self.address)

    @property
    def brief(self) -> str:
        """The reason without what stands above it, with file names in the place of other addresses."""
        rest = words.without_folders(self.reason.removeprefix(self.address).lstrip(" :"))
        return rest[:1].upper() + rest[1:]


def tile_of(line: Line) -> Tile:
    """Return the tile of a row: its first image; where none came, its input."""
    row = line.row
    if row is None:
        return Tile(line.place, line.place, "", None, "This line of the manifest is no row.", None)
    inputs = [shown_input(str(line.place), 0, named) for named in row_inputs(row, Provenance())]
    pictures = [shown_image(str(line.place), 0, image) for image in row.images[:1]] or inputs
    address = row.input or (row.images[0].uri if row.images else "")
    picture = pictures[0] if pictures and pictures[0].is_picture else None
    return Tile(line.place, row.index, address, row.outcome, row.reason or row.reason_code, picture, len(row.images))


def batch_facts(batch: BatchFound, manifest: Manifest) -> Facts:
    """Return what a batch came to."""
    facts = [("Images", words.count(len(manifest)))]
    if batch.submitted is not None:
        facts.append(("Jobs paid for", words.count(batch.submitted)))
    facts.append(("Cost", words.money(batch.cost) if batch.cost is not None else "not known"))
    if batch.bytes is not None:
        facts.append(("Stored", words.size(batch.bytes)))
    if batch.seconds is not None:
        facts.append(("Time", words.duration(batch.seconds)))
    return facts


@dataclass(frozen=True)
class Card:
    """
    A task instance in the grid of its run.

    :param counts: of a batch; empty for everything else.
    :param state: of its task.
    :param is_under_way: whether it is a batch that has not ended.
    :param progress: where such a batch stands, a few words each, the most telling first.
    """

    place: Place
    pictures: list[Shown]
    facts: Facts
    counts: dict[RowOutcome, int] = field(default_factory=dict)
    total: int = 0
    note: str = ""
    state: str | None = None
    is_under_way: bool = False
    progress: list[str] = field(default_factory=list)


def card_under_way(task: FoundTask, told: UnderWay) -> Card:
    """Return the card of a batch that has not ended."""
    facts = [("As of", told.told_at)] if told.told_at else []
    progress = [part for text in told.line.split("·") if (part := text.strip())]
    note = "Its log says where it stands."
    return Card(task.place, [], facts, note=note, state=task.state, is_under_way=True, progress=progress)


def has_images(found: Found) -> bool:
    """Tell whether a result is one with something to be seen."""
    return not isinstance(found, JobFound) or bool(found.images)


def card_of(task: FoundTask, found: Found) -> Card:
    """Return the card of a task instance with images; neither manifests nor sidecars are read for it."""
    if isinstance(found, BatchFound):
        facts = [("Cost", words.money(found.cost))] if found.cost is not None else []
        return Card(task.place, [], facts, dict(found.counts), sum(found.counts.values()), state=task.state)
    if isinstance(found, SheetFound):
        of = words.count(sum(found.counts.values()))
        sheet = Shown("sheet/0", "", found.uri, "Contact sheet")
        return Card(task.place, [sheet], [("Contact sheet of", of)], state=task.state)
    pictures = [shown_image("job", number, image) for number, image in enumerate(found.images[:_PICTURES_OF_CARD])]
    facts = [("Seed", str(found.seed))] if found.seed is not None else []
    # What else the vendor said of money, the balance say, stands on the task's own page.
    costs = [fact for fact in words.costs(found.cost) if fact[0] == words.COST]
    return Card(task.place, pictures, [*facts, *costs], total=len(found.images), state=task.state)
