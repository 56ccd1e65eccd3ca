"""The rows of the table of real inputs: what people, stores and servers send, and what happens then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Row:
    """
    One line of the table.

    :param given: what comes in.
    :param outcome: what happens then.
    :param limit: what is not done, and why.
    """

    given: str
    outcome: str
    limit: str = ""


PARTS: Final[Mapping[str, Mapping[str, Row]]] = {
    "Names": {
        "A1": Row(
            "A file name in any script (`Größe XL.jpg`, `Обувь 5.jpg`, `红色杯子.jpg`)",
            "Letters and digits of every script stay; what a store cannot hold is escaped, reversibly",
        ),
        "A2": Row(
            "Two inputs whose names come out alike, of which one goes away the next night",
            "A file belongs to one input: another input's work never replaces it",
        ),
        "A3": Row(
            "The same file name in several folders",
            "`{path}`, `{folder}`, `{file}` and `{name}` are columns of every input; `{path}` tells them apart",
        ),
        "A4": Row(
            "`cup.jpg` beside `cup.png`",
            "Named before anything is paid: both files, and that `{file}` tells them apart",
        ),
        "A5": Row(
            "A column with letters beyond ASCII, spaces or `/` in `file_stem`",
            "One rule for every column; `/` makes a folder",
        ),
        "A6": Row(
            "Names that differ only in case or in Unicode form",
            "Invalid before anything is paid, both named",
        ),
        "A7": Row(
            "`file://` URLs with percent escapes, plain paths",
            "Decoded, unless a folder of the literal name exists; plain paths are accepted; `s3://` is never decoded",
        ),
        "A8": Row(
            "A glob `*.jpg` where `.JPG` and `.JPEG` lie, too",
            "Endings match without case; images that a glob left out are counted in the log",
        ),
        "A9": Row(
            "Keys such as `a//b.jpg`, folders such as `shoes [new]/`",
            "Edited; a folder that exists is a folder, whatever it is called",
        ),
    },
    "Nothing, blank, half": {
        "B1": Row(
            "A missing or misspelt folder, a glob without a match, a listing without rights",
            'The task fails and names what it looked for; `on_empty="succeed"` for those who want it',
        ),
        "B2": Row(
            "Tables other than CSV and JSON lines",
            "TSV, NDJSON and gzip are read, Parquet with an extra; any other ending is refused by name",
        ),
        "B3": Row(
            "Blank rows and empty cells of a table",
            "A blank row is none; an empty cell that a placeholder needs makes its row invalid",
        ),
        "B4": Row(
            "NaN, NaT and None in a column",
            "Missing: the row is invalid where the value is needed",
        ),
        "B5": Row(
            "Hidden letters in a header",
            "Read as meant, or named",
        ),
        "B6": Row(
            "Invalid rows",
            "Named by file and address, a line each, the first ten and how many more; the manifest is written",
        ),
        "B7": Row(
            "Empty objects, objects in an archive",
            "Invalid before anything is paid, with the reason",
        ),
        "B8": Row(
            "Odd values of arguments (a lone surrogate, a path object, a number, infinity)",
            "One sentence, or accepted",
        ),
        "B9": Row(
            "Wrong constants in a DAG file",
            "Found when the DAG is parsed, unless they hold a template",
        ),
        "B10": Row(
            "Templates for `plan_only`, `max_jobs`, `max_cost`",
            "Rendered; a text that is no value is refused",
        ),
    },
    "Proven before paid": {
        "C1": Row(
            "A misspelt key or bucket for a single job",
            "Found before the request is sent",
        ),
        "C2": Row(
            "A bucket in any region, or no region set",
            "Links are signed with version 4, always",
        ),
        "C3": Row(
            "A bucket in another region than the connection's",
            "Signed for the bucket's own region",
        ),
        "C4": Row(
            "Requester-pays inputs, buckets that demand encryption",
            "Refused with the way out; extra arguments reach every upload",
        ),
        "C5": Row(
            "A budget with `upload_inputs=True`",
            "Nothing is uploaded that the budget does not cover",
        ),
        "C6": Row(
            "The same photo under a link that is signed anew each night",
            "Known signatures are cut off; a night whose new rows mostly equal known ones stops: `link_identity`",
        ),
        "C7": Row(
            "One place under two addresses",
            "One address for one place; docs say what an input is",
        ),
        "C8": Row(
            "A template in a row of data",
            "Stays data; the connection's key is never sent or written, whichever way it came in",
            "A key of fewer than eight characters is not recognised: it may well mean something else",
        ),
    },
    "Paid, and then odd": {
        "D1": Row(
            "Bytes behind the end of an image (motion photos, several pictures, padding)",
            "Accepted as input, landed untouched, counted in the checks; cut files are refused",
        ),
        "D2": Row(
            "Large or broken metadata in an image",
            "Landed; judged by its pixels, with a warning",
        ),
        "D3": Row(
            "Odd `Content-Encoding` headers",
            "Read",
        ),
        "D4": Row(
            "JSON that is odd where it does not matter (NaN, duplicate keys)",
            "The id is used",
        ),
        "D5": Row(
            "Ids of any form",
            "Opaque text, quoted into the path",
        ),
        "D6": Row(
            "Result links with spaces or letters beyond ASCII",
            "Fetched as a browser would, under the same guard",
        ),
        "D7": Row(
            "A result as a `data:` URL",
            "Landed, up to 32 MiB in an answer; it is put into no XCom, log or record",
        ),
        "D8": Row(
            "A result host behind NAT64",
            "Judged by the embedded IPv4 address",
        ),
        "D9": Row(
            "Synonyms of status words, an error with a good HTTP status",
            "Synonyms end the wait; unknown words and the vendor's message are shown as they came",
        ),
        "D10": Row(
            "A few jobs that fail for reasons the vendor calls retryable",
            "`redo_failed` submits them again in the same run, inside the budget",
        ),
        "D11": Row(
            "One slow poll of a deferred batch",
            "Holds nobody else",
        ),
    },
    "Places": {
        "E1": Row(
            "A store without conditional writes or checksums",
            "Noticed once; images are written as the store can; a ledger is refused at the start",
        ),
        "E2": Row(
            "A mount without hard links",
            "Images are created exclusively; for a ledger as above",
        ),
        "E3": Row(
            "Proxy variables without a scheme",
            "Read in one way in worker and triggerer",
        ),
        "E4": Row(
            "A custom certificate authority in either variable",
            "Honoured in both places; the connection may name a file",
        ),
        "E5": Row(
            "Mapped loopback addresses on every Python",
            "One table of addresses, equal on every version",
        ),
        "E6": Row(
            "Old bucket names",
            "Accepted",
        ),
        "E7": Row(
            "A backfill over a batch",
            "A message that says what to do, and a page",
        ),
    },
    "What people see": {
        "F1": Row(
            "The estimate of a deferred batch",
            "Counts the rest by the rate of finished jobs, or is not given",
        ),
        "F2": Row(
            "A night that pays nothing",
            "Costs 0.0",
        ),
        "F3": Row(
            "A sensor behind another endpoint's operator",
            "The documented template works, or the message says that `api=` is needed",
        ),
        "F4": Row(
            "A single job that lands",
            "One line in the log: what, where, how long, cost",
        ),
        "F5": Row(
            "The Images tab with folders, mapped tasks and phones",
            "Shows folders, index templates and reasons; a run lists only tasks with images",
            "Airflow shows a tab on every task instance or on none: on tasks of other operators it says that it has no "
            "images",
        ),
        "F6": Row(
            "Counts, costs and versions in messages",
            "Written as a person writes them",
        ),
        "F7": Row(
            "A challenge page instead of an answer",
            "The message says that a page answered, not the API",
        ),
        "F8": Row(
            "An input that the store does not give",
            "The store's code and sentence",
        ),
        "F9": Row(
            "Every example DAG in the demo",
            "Runs as it is",
        ),
        "F10": Row(
            "The main pages read as files",
            "Code stands in the page, and is tested",
        ),
    },
}
ROWS: Final[Mapping[str, Row]] = {name: row for part in PARTS.values() for name, row in part.items()}
