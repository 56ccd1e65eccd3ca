"""Test doubles of the network: a server that is told what to do, a proxy that breaks connections, dead ports."""

from __future__ import annotations

from tests.faults.api_answers import STATUS, SUBMIT, failure, pending, refused, success
from tests.faults.exchange import Exchange, Instruction, forever
from tests.faults.instructions import (
    answer,
    chunked,
    close_after_request,
    cut_after,
    drip,
    drip_headers,
    endless,
    gzip_bomb,
    hold,
    keepalive_then_close,
    raw,
    redirect,
    reset_after_request,
    silent,
)
from tests.faults.listener import Accept
from tests.faults.ports import unanswered_port
from tests.faults.script import Outcome, Played
from tests.faults.scripted_server import Report, ScriptedServer
from tests.faults.tcp_proxy import TcpProxy
from tests.faults.wire import Request

__all__ = [
    "STATUS",
    "SUBMIT",
    "Accept",
    "Exchange",
    "Instruction",
    "Outcome",
    "Played",
    "Report",
    "Request",
    "ScriptedServer",
    "TcpProxy",
    "answer",
    "chunked",
    "close_after_request",
    "cut_after",
    "drip",
    "drip_headers",
    "endless",
    "failure",
    "forever",
    "gzip_bomb",
    "hold",
    "keepalive_then_close",
    "pending",
    "raw",
    "redirect",
    "refused",
    "reset_after_request",
    "silent",
    "success",
    "unanswered_port",
]
