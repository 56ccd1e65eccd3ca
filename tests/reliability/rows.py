"""The rows of the fault table: what may go wrong, and what then happens. The tests say which of them covers a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Row:
    """
    One line of the table.

    :param fault: what goes wrong.
    :param outcome: what happens then, and how often the request for the job leaves.
    :param limit: what is not done, or not proven here, and why.
    """

    fault: str
    outcome: str
    limit: str = ""


SUBMIT: Final[Mapping[int, Row]] = {
    1: Row("The host does not resolve", "Tried 4 times in 2 minutes, then `SubmissionNotSent`; a retry submits"),
    2: Row("Connection refused", "As 1; a server that comes back in between gets one request"),
    3: Row("No answer to the connection attempt for 10 s", "As 1"),
    4: Row("Certificate of another host, expired, unknown authority", "`SubmissionRefused` at once; nothing is sent"),
    5: Row("A proxy refuses, fails, or wants credentials", "As 1; wanting credentials (407) is `SubmissionRefused`"),
    6: Row(
        "Connection lost after the request, or an answer that is no HTTP",
        "`SubmissionUncertain`; sent once until a human clears",
    ),
    7: Row("Connection reset before the request is read", "As 6: from here the two look alike"),
    8: Row("No answer for 60 s, or none that is whole in 90 s", "As 6"),
    9: Row("A kept-alive connection that died", "Each submission opens its own connection, so it cannot be lost so"),
    10: Row(
        "429, with or without `Retry-After`", "Waited for, 4 times at most, then `SubmissionNotSent`; a retry submits"
    ),
    11: Row("503 with `Retry-After`", "As 10"),
    12: Row(
        "500, 502, 504, other 5xx, 503 without `Retry-After`", "As 6: a gateway says so after passing a request on"
    ),
    13: Row("400, 422: wrong parameters", "`SubmissionRefused` with up to 300 characters of the reason; sent once"),
    14: Row("401, 403: wrong key", "`SubmissionRefused`; names the connection, never the key"),
    15: Row("402: no credits", "`OutOfCredits`"),
    16: Row("404, 405, 410 where jobs are posted", "`SubmissionRefused`"),
    17: Row("413, 414, 431: too large", "`SubmissionRefused`"),
    18: Row("A redirect", "Not followed: the key and the request stay here; `SubmissionRefused`"),
    19: Row(
        "A good status with a body that cannot be read (HTML, cut before the id, a bomb)",
        '`SubmissionUncertain`, even with `on_ambiguous_submit="resubmit"`',
    ),
    20: Row("JSON without a usable id", "As 19; a number is taken for its digits"),
    21: Row("An id that would change a path (`../`, a line break)", "As 19; every other id is quoted into the path"),
    22: Row(
        "Done in the answer to the submission, with or without an id",
        "Returned or landed; without an id a lost report is left to a human",
    ),
    23: Row("Failed in the answer to the submission", "`JobFailed`; not paid for again"),
    24: Row(
        "Worker killed before the request leaves",
        "Before the record: the next try submits. After it: `SubmissionUncertain`, as nobody can know",
    ),
    25: Row("Worker killed while the server works", "`SubmissionUncertain`; never a second request"),
    26: Row("Worker killed between answer and record", "`SubmissionUncertain`; the window holds no other work"),
    27: Row("The id cannot be recorded", "Logged as a warning with the id; the job goes on"),
    28: Row("The record cannot be read or written beforehand", "`RecordUnavailable`; nothing is sent, a retry submits"),
    29: Row(
        "Two workers run the same try",
        "The record holds a random token and is read before and after it is written: one of the two submits",
        "Between that last reading and the writing (milliseconds) both may submit: Airflow's store cannot compare and "
        "set. A test holds this limit fast",
    ),
    30: Row(
        "A mapped index stands for another item", "Another fingerprint, so another record: submitted; the old stays"
    ),
    31: Row("A prompt is edited and the task cleared", "Another job. Another signature of the same link is none"),
}

WAIT: Final[Mapping[int, Row]] = {
    32: Row("The API cannot be reached for a while", "Looked again, backing off, until the deadline"),
    33: Row(
        "The certificate turns invalid",
        "After 5 looks `JobUnreachable`; the next try takes the job up",
        "Without `ca_bundle` or a variable, the triggerer trusts what OpenSSL trusts, the worker what requests trusts",
    ),
    34: Row(
        "An answer that drips",
        "Given up after 60 s; looked again",
        "Headers that drip to a worker are bounded only by `execution_timeout`: requests cannot do better",
    ),
    35: Row("`Retry-After` in every spelling", "Obeyed where it can be read, 300 s at most, never past the deadline"),
    36: Row("5xx for a long time", "Until the deadline, then `JobTimedOut`; the next try looks at the same job"),
    37: Row(
        "401, 402, 403",
        "Twice in a row: `JobUnreachable`; with a mended key or account the next try takes the job up",
    ),
    38: Row("404", "In the first minute: looked again. Later: 3 in a row are `JobLost`"),
    39: Row("Another 4xx", "`JobLost` after three in a row over some seconds"),
    40: Row(
        "No JSON, or JSON under a wrong label", "The content decides; 10 unreadable answers in a row: `JobUnreachable`"
    ),
    41: Row("Malformed JSON in every form", "As 40; one strict decoder for both HTTP libraries"),
    42: Row("An oversize answer or a compressed bomb", "Read to 1 MiB, before and after decompression; as 40"),
    43: Row("No status, or one that is no word", "As 40"),
    44: Row("A new status word", "Taken for still running; one warning; the deadline bounds it"),
    45: Row("SUCCESS, then PENDING", "The first success counts"),
    46: Row("FAILURE, then something else", "With a reason final; without one it is confirmed by a second look"),
    47: Row("SUCCESS without links", "Looked again; the third time `JobUnreachable`"),
    48: Row("FAILURE", "`JobFailed`; paid for again only with `retry_failed_jobs=True`"),
    49: Row(
        "Links in unusual shapes and numbers",
        "One link may stand alone, doubles count once, of too many the first; fewer than `samples` are warned of, "
        "and with `strict_count=True` fail the task: the next try takes the job up",
    ),
    50: Row("An answer for another job", "`JobLost` after three in a row over some seconds"),
    51: Row("PENDING for ever", "`JobTimedOut` at the deadline; a later try looks once more, in any case"),
    52: Row("A redirect", "Not followed; 5 in a row: `JobUnreachable`; the job is kept"),
    53: Row(
        "A clock that jumps or is wrong",
        "A jump moves no wait: it is counted by a steady clock",
        "A triggerer whose clock is wrong from the start is wrong by as much about the deadline",
    ),
}

AIRFLOW: Final[Mapping[int, Row]] = {
    75: Row("A triggerer is killed", "Another one starts the trigger from zero; the deadline is absolute"),
    76: Row("Two triggerers run one trigger", "Both only look; nothing is fetched or written in a trigger"),
    77: Row("`on_kill` because a trigger moves", "A line in the log; nothing is cancelled, nothing changes"),
    78: Row("Cleared while deferred", "The running job is taken up"),
    79: Row("Marked as failed or success while deferred", "The trigger ends; the job may finish and be billed"),
    80: Row("The run times out", "As 79"),
    81: Row(
        "Airflow's own timeout of a deferral", "Five minutes after ours; should it fire, the next try takes the job up"
    ),
    82: Row("`execution_timeout`", "Bounds the wait in the triggerer too, and is not begun anew by a retry"),
    83: Row("The scheduler is killed", "What is stored is enough to go on in other processes"),
    84: Row("Airflow's API server is away when a task defers", "Tries are lost; the first that runs takes the job up"),
    85: Row("... while a worker waits", "As 84"),
    86: Row("... and its database too", "As 84"),
    87: Row(
        "A trigger stumbles",
        "An event with the name of the error; the next try takes the job up",
        "Except a trigger whose stored handle was damaged: it raises, and Airflow fails the deferral",
    ),
    88: Row(
        "A trigger of another version is in the database", "Unknown arguments are ignored, missing ones have defaults"
    ),
    89: Row("A large event", "At most 1 KiB, no links"),
    90: Row(
        "The connection leads to another host, is gone, or has another key", "No look and no request there; read anew"
    ),
    91: Row("Something holds the triggerer's loop up", "Nothing in the trigger waits for the network in that way"),
    92: Row("A worker gets SIGTERM", "A line in the log; the next try takes the job up"),
    93: Row(
        "Airflow before 3.3 (no store)",
        "Only the first try of a human decision submits; later ones are `SubmissionUncertain`",
        "So even a first try that surely sent nothing costs a human's clear",
    ),
}

ORDERS: Final[Mapping[int, Row]] = {
    101: Row(
        "`lease/` of a ledger is deleted between two nights",
        "An epoch is never given twice, whatever was deleted; paid rows stay known",
    ),
    102: Row(
        "The storage of a ledger is away while job ids are being recorded",
        "A known id is written until it is durable, and kept in the task's state, too; submissions pause meanwhile",
        "Before Airflow 3.3 there is no second place: what a killed process had not recorded stands in its log",
    ),
    103: Row(
        "A process is superseded while it waits to send, or is stopped and continued",
        "The right to spend is proven before each request, after every wait; nothing is sent",
        "For 5 seconds and one connection after a takeover, requests that were proven before it may still leave: of a "
        "batch `submit_concurrency` at most, each recorded beforehand",
    ),
    104: Row(
        "A part of a batch fails while nothing is in flight",
        "The task fails with that error and may be retried; it says success only when plan, manifest and counts agree",
    ),
    105: Row(
        "The API answers with a cost below 0, beyond all bounds, or no number",
        "It is not counted as it came: `price_per_job` counts, with a warning; the budget holds",
    ),
    106: Row(
        "Links that differ only in one parameter of their query",
        "They are different pieces of work, unless the query is a known signature or `link_identity` says otherwise",
    ),
    107: Row(
        "The API puts submissions off for longer than a signed link lives",
        "Inputs are signed for each attempt, after the wait",
    ),
    108: Row(
        "A segment of a dead process arrives after its successor has compacted",
        "Entries of a closed epoch are ignored, and counted in the log; only the id of an unanswered "
        "submission is used",
    ),
    109: Row(
        "The API repeats the key, escaped or encoded",
        "It is removed where text from outside is decoded, in every form that a client can write it in",
    ),
    110: Row(
        "One odd refusal of a poll (400, 405, 409, 410, 418, 423, 430, 451)",
        "Final only after three in a row over some seconds; too many links: the first `samples`, with a warning",
    ),
    111: Row(
        "A try ends after it has stored its intent and before the request leaves",
        "The record says so: the next try submits",
    ),
    112: Row(
        "The clock of a machine is set back or forth",
        "Windows of trust are measured by a monotonic clock",
    ),
    113: Row(
        "Submission records expire or cannot be read, then an automatic retry",
        "Records outlive every retry; where one may be missing, nothing is submitted",
    ),
    114: Row(
        "An object of a ledger is damaged, foreign or doubled",
        "Every read is validated; the error names the object and what to do; what segments can rebuild is rebuilt",
    ),
    115: Row(
        "A listed lease cannot be read",
        "Bounded by attempts and time, then the task fails and may be retried",
    ),
    116: Row(
        "One row of a batch holds what JSON or the API cannot carry",
        "That row is invalid; the others are edited",
    ),
    117: Row(
        "A stranger's file whose name begins as the task's own",
        "Not in the way: only exactly the task's own names are",
    ),
    118: Row(
        "The API gives one id to several submissions",
        "The first row has the job; the others are uncertain, and say so",
    ),
    119: Row(
        "Job ids that are too long for a file name when escaped",
        "The name is shortened, and ends in a digest",
    ),
    120: Row(
        "A whole answer with an id in a broken envelope (wrong length, missing last chunk)",
        "The id is used, also from an answer that was cut behind it",
        "More bytes than the length says: aiohttp gives nothing of such an answer, so a batch has an uncertain row",
    ),
    121: Row(
        "SUCCESS in the triggerer, then PENDING in the worker",
        "The first SUCCESS counts in both modes",
    ),
    122: Row(
        "The DAG run of a deferred batch is deleted",
        "A run that Airflow does not know is over: the next one takes the ledger",
    ),
    123: Row(
        "Killed workers leave scratch folders",
        "A later start on the same machine removes those older than a day",
    ),
    124: Row(
        "A glob with many `**` over deep folders",
        "Matched in linear time",
    ),
    125: Row(
        "Names that differ only in case; a store that ignores conditional writes",
        "Named before anything is paid; such a store is noticed by a probe at the start",
    ),
}

PARTS: Final[Mapping[str, Mapping[int, Row]]] = {
    "Submitting": SUBMIT,
    "Waiting": WAIT,
    "Airflow itself": AIRFLOW,
    "Orders of events": ORDERS,
}
ROWS: Final[Mapping[int, Row]] = {number: row for part in PARTS.values() for number, row in part.items()}

UNCOVERED: Final[Mapping[int, str]] = {}
"""Rows without a test, and why."""
