"""Make the contact sheet of a run: choose its rows, fetch their pictures, draw, and put the sheet into storage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.manifest import GOOD, LEFT_OUT, ManifestRow, RowOutcome
from airflow_imagepipeline.contract.text import cleaned
from airflow_imagepipeline.images.contact_sheet import Cell, Mood, Page, Share, draw_sheet
from airflow_imagepipeline.images.saving import EXTENSION_OF, save_small
from airflow_imagepipeline.landing.contact_pictures import Pictures, completed
from airflow_imagepipeline.policy.contact_sheet import Choice, Pick, chosen, difference_of, seconds_of
from airflow_imagepipeline.storage.folder import Folder, StoredFile, open_folder
from airflow_imagepipeline.storage.scratch import scratch_folder

MOST_PAIRS: Final = 60
"""More pairs on one picture are no overview."""
_MINUTE: Final = 60


@dataclass(frozen=True)
class ContactSheet:
    """
    A sheet in storage.

    :param pairs: how many rows it shows.
    :param counts: all rows of the manifest, by outcome.
    """

    uri: str
    bytes: int
    pairs: int
    counts: Mapping[RowOutcome, int]


def make_contact_sheet(
    manifest_uri: str, *, destination: Folder, name: str, n: int, aws_conn_id: str | None, title: str | None
) -> str:
    """
    Make the sheet of a manifest, and return its address.

    :param manifest_uri: address of the manifest, JSON lines.
    :param name: of the sheet's file; its end (``.jpg``, ``.png`` or ``.webp``) decides the format. A file of that name
        is replaced.
    :param n: pairs on the sheet, 1 to :data:`MOST_PAIRS`.
    :param aws_conn_id: connection for ``s3://`` manifests and pictures.
    :param title: None says how many inputs there were.
    :raises InvalidParameters: when the manifest is none, or ``n`` or ``name`` make no sense.
    :raises StorageFailed: when the manifest could not be read, or the sheet not be written.
    """
    rows = manifest_rows(manifest_uri, aws_conn_id)
    return put_sheet(rows, destination=destination, name=name, n=n, aws_conn_id=aws_conn_id, title=title).uri


def manifest_rows(uri: str, aws_conn_id: str | None) -> Iterator[ManifestRow]:
    """
    Yield the rows of a manifest from a copy on this machine, which is removed at the end.

    :raises InvalidParameters: naming the line that is no row.
    :raises StorageFailed: when it cannot be read.
    """
    folder, _, name = uri.rpartition("/")
    with scratch_folder() as scratch:
        copy = scratch / "manifest"
        open_folder(folder, aws_conn_id).read(name, copy)
        with copy.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(line, f"line {number} of {cleaned(uri, 120)}")


def _row(line: str, place: str) -> ManifestRow:
    try:
        row = ManifestRow.from_payload(json.loads(line))
    except (ValueError, RecursionError) as exc:
        raise _no_row(place) from exc
    if not _is_sound(row):
        raise _no_row(place)
    return row


def _no_row(place: str) -> InvalidParameters:
    return InvalidParameters(f"{place} is no row of a manifest: give the address that a batch returned as 'manifest'.")


def _is_sound(row: ManifestRow) -> bool:
    """Tell whether the values that are used have their types: whoever can write to the folder can write a manifest."""
    mappings, texts = (row.cost, row.timings, row.checks), (row.input, row.reason, row.reason_code)
    if not all(isinstance(found, Mapping) for found in mappings) or not all(isinstance(text, str) for text in texts):
        return False
    numbers = [row.index, *row.cost.values(), *row.timings.values(), *(image.bytes for image in row.images)]
    return all(isinstance(number, int | float) for number in numbers) and all(
        isinstance(image.uri, str) for image in row.images
    )


def put_sheet(
    rows: Iterable[ManifestRow],
    *,
    destination: Folder,
    name: str,
    n: int,
    aws_conn_id: str | None,
    title: str | None,
    overwrite: bool = True,
) -> ContactSheet:
    """
    Make the sheet of some rows; arguments as :func:`make_contact_sheet`.

    :param overwrite: whether a file of the name is replaced.
    :raises AlreadyThere: when another file has the name and ``overwrite`` is false.
    """
    form = next((form for form, end in EXTENSION_OF.items() if name.endswith(f".{end}")), None)
    if form is None or not 1 <= n <= MOST_PAIRS:
        msg = f"a sheet has 1 to {MOST_PAIRS} pairs, and a name that ends with .jpg, .png or .webp: not {n}, {name!r}"
        raise InvalidParameters(msg)
    choice = chosen(rows, n, seed=destination.uri_of(name))
    with scratch_folder() as scratch:
        pictures = Pictures(scratch, aws_conn_id)
        cells, shown = _captioned(choice, pictures)
        image = draw_sheet(_page(choice, title), cells, map(pictures.pair, shown))
        sheet = scratch / "sheet"
        width, height = save_small(image, sheet, form)
        content = sheet.read_bytes()
        notes = {"width": str(width), "height": str(height)}
        file = StoredFile(sheet, f"image/{form}", hashlib.sha256(content).hexdigest(), notes)
        destination.put(name, file, overwrite=overwrite)
    return ContactSheet(destination.uri_of(name), len(content), len(cells), choice.counts)


def _captioned(choice: Choice, pictures: Pictures) -> tuple[list[Cell], list[ManifestRow]]:
    cells, rows = [], []
    for pick in choice.picks:
        # A single job's result does not say what it was made from; the sidecar does.
        sidecar = None if pick.row.input else pictures.sidecar(pick.row)
        row = completed(pick.row, sidecar)
        prompt = sidecar.request.get("prompt") if sidecar else None
        cells.append(_cell(Pick(row, pick.remark), cleaned(prompt) if isinstance(prompt, str) else ""))
        rows.append(row)
    return cells, rows


def _cell(pick: Pick, prompt: str) -> Cell:
    row = pick.row
    last = row.input.partition("?")[0].rstrip("/").rpartition("/")[2]
    badge = "" if row.outcome is RowOutcome.LANDED else _words(row.outcome)
    code = "" if row.reason_code in row.reason else f" ({row.reason_code})"
    return Cell(
        heading=last or f"input {row.index + 1}",
        mood=_mood(row.outcome),
        badge=pick.remark or badge,
        lines=[" · ".join(_facts(row)), prompt if row.outcome in GOOD else row.reason.rstrip(".") + code],
    )


def _facts(row: ManifestRow) -> Iterator[str]:
    seconds, difference = seconds_of(row), difference_of(row)
    if seconds is not None:
        minutes, rest = divmod(seconds, _MINUTE)
        yield f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{seconds:.1f} s"
    if "cost_usd" in row.cost:
        yield f"${row.cost['cost_usd']:.3f}"
    elif "credits_amount" in row.cost:
        yield f"{row.cost['credits_amount']:g} credits"
    if difference is not None:
        yield f"difference {difference:.2g}"
    if row.seed is not None:
        yield f"seed {row.seed}"


def _page(choice: Choice, title: str | None) -> Page:
    shares = [Share(choice.counts.get(outcome, 0), _words(outcome), _mood(outcome)) for outcome in RowOutcome]
    footer = f"{_explained(choice.picks, choice.total)} Left the input, right the result." if choice.picks else ""
    return Page(title or f"{choice.total:,} inputs", shares, footer or "There was no input.")


def _explained(picks: Sequence[Pick], total: int) -> str:
    if len(picks) == total:
        return f"All {total:,} inputs."
    return (
        f"{len(picks):,} of {total:,} inputs: drawn by lot from what went well, with the extremes; and of what did "
        "not, each kind if there is room."
    )


def _words(outcome: RowOutcome) -> str:
    return outcome.value.replace("_", " ")


def _mood(outcome: RowOutcome) -> Mood:
    left_out = LEFT_OUT | {RowOutcome.NOT_SUBMITTED}
    return Mood.GOOD if outcome in GOOD else Mood.NEUTRAL if outcome in left_out else Mood.BAD
