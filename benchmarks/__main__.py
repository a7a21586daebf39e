"""``make bench``: compares the service with its peers, in alternating rounds, and prints the table of ratios."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import auth, doors, measures
from benchmarks.servers import Server, allow_many_connections, ours, peer, running
from benchmarks.table import Figures, Row, machine, render

__all__: list[str] = []

_WATCHES = 1000

#: The rate of GET /status per second with open watches.
_WATCHED_RATE = 200.0

_ROWS = [
    Row("streamPredict, 16 connections, LitServe", ("ours", "rate16"), ("litserve", "rate16"), "/s", 3),
    Row("streamPredict, 64 connections, LitServe", ("ours", "rate64"), ("litserve", "rate64"), "/s", 3),
    Row("streamPredict, 16 connections, Starlette", ("ours", "rate16"), ("starlette", "rate16"), "/s", 0.5),
    Row("streamPredict, 64 connections, Starlette", ("ours", "rate64"), ("starlette", "rate64"), "/s", 0.5),
    Row("streamPredict, 16 connections, FastAPI", ("ours", "rate16"), ("fastapi", "rate16"), "/s", None),
    Row("streamPredict, 64 connections, FastAPI", ("ours", "rate64"), ("fastapi", "rate64"), "/s", None),
    Row("p99, 16 connections, LitServe", ("ours", "p99"), ("litserve", "p99"), "ms", 1 / 3, at_least=False),
    Row("MLP, 64 connections, merging on / off", ("merged", "rate64"), ("unmerged", "rate64"), "/s", 4),
    Row("GET /status, 16 connections, Starlette", ("ours", "status"), ("starlette", "status"), "/s", 0.5),
    Row(
        "p99 of GET /status, 1,000 watches / none",
        ("watched", "with watches"),
        ("watched", "without watches"),
        "ms",
        2,
        at_least=False,
    ),
    Row("the same, 20 reports a second", ("busy", "with watches"), ("busy", "without watches"), "ms", None),
    Row("memory of a watch", ("watched", "each"), None, "KB", 50, at_least=False, scale=1000),
    Row("16 MB data map, Starlette", ("large", "rate"), ("large starlette", "rate"), "/s", 0.5),
    Row("its peak of memory over rest, in bodies", ("large", "peak"), None, "x", 4, at_least=False),
    Row("peak of memory of Starlette, in bodies", ("large starlette", "peak"), None, "x", None),
    Row("start to /healthz, LitServe", ("ours", "started"), ("litserve", "started"), "s", 0.5, at_least=False),
    Row("start to initialized, LitServe", ("ours", "ready"), ("litserve", "started"), "s", 0.5, at_least=False),
    Row("memory at rest, LitServe", ("ours", "memory"), ("litserve", "memory"), "MB", 1, at_least=False, scale=1e6),
]


@dataclass(frozen=True)
class _Part:
    """A server and its measurements in one round."""

    name: str
    start: Callable[[], Server]
    measure: Callable[[Server, float], dict[str, float]]


def _small(server: Server, seconds: float) -> dict[str, float]:
    """Measure small requests, once the server is warm."""
    figures = measures.startup(server)
    measures.predictions(server, 16, min(1.0, seconds))
    sixteen = measures.predictions(server, 16, seconds)
    many = measures.predictions(server, 64, seconds)
    figures |= {"rate16": sixteen.rate, "p99": sixteen.p99, "rate64": many.rate}
    return figures


def _small_and_status(server: Server, seconds: float) -> dict[str, float]:
    figures = _small(server, seconds)
    return {**figures, "status": measures.ask(server, 16, seconds).rate}


def _heavy(server: Server, seconds: float) -> dict[str, float]:
    measures.predictions(server, 64, min(1.0, seconds))
    return {"rate64": measures.predictions(server, 64, seconds).rate}


def _watched(server: Server, seconds: float) -> dict[str, float]:
    return measures.watched(server, _WATCHES, max(2.0, seconds * 2), _WATCHED_RATE)


def _parts(python: Path, mlserver: Path) -> list[_Part]:
    undeclared = _inferring("Undeclared")
    inferring = (doors.INFER, "/v2/models/undeclared/ready")
    return [
        _Part("ours", ours("Logistic"), _small_and_status),
        _Part("starlette", peer("starlette", python, "logistic"), _small_and_status),
        _Part("litserve", peer("litserve", python, "logistic"), _small),
        _Part("fastapi", peer("fastapi", python, "logistic"), _small),
        _Part("merged", ours("Mlp"), _heavy),
        _Part("unmerged", ours("MlpUnmerged"), _heavy),
        _Part("watched", ours("Logistic", interval=0.5), _watched),
        _Part("busy", ours("Logistic", interval=0.05), _watched),
        _Part("large", ours("Sizes"), measures.large),
        _Part("large starlette", peer("starlette", python, "sizes"), measures.large),
        _Part("tensors", _inferring("Undeclared", grpc=True), _tensors),
        _Part("declared", _inferring("Declared"), partial(doors.alternately_undeclared, start_undeclared=undeclared)),
        _Part("mlserver", peer("mlserver", mlserver, "undeclared", *inferring), _json_and_grpc),
        _Part("mlserver large", peer("mlserver", mlserver, "undeclared", *inferring), doors.large_json),
        _Part("starlette json", peer("starlette", python, "logistic", "/infer"), doors.in_json),
        _Part("starlette large", peer("starlette", python, "sizes"), doors.large_numpy),
        _Part(doors.GRPC_PEER, peer("grpc", python, "undeclared"), doors.over_grpc),
        _Part("parts", ours("Parts"), doors.in_parts),
        _Part("litserve streams", peer("litserve_streams", python, "parts"), doors.streams),
    ]


def _inferring(model: str, **options: bool) -> Callable[[], Server]:
    """Return a function that starts this service with a model for tensors."""
    start = ours(model, "--model-name", "undeclared", "--max-body", str(1 << 27), **options)

    def started() -> Server:
        server = start()
        server.predict = doors.INFER
        return server

    return started


def _json_and_grpc(server: Server, seconds: float) -> dict[str, float]:
    return {**doors.in_json(server, seconds), **doors.over_grpc(server, seconds)}


def _tensors(server: Server, seconds: float) -> dict[str, float]:
    return {**_json_and_grpc(server, seconds), **doors.large_raw(server, seconds)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Compare the service with its peers.")
    parser.add_argument("--peers", type=Path, required=True, help="the interpreter with the packages of the peers")
    parser.add_argument("--mlserver", type=Path, required=True, help="the interpreter with MLServer")
    parser.add_argument("--rounds", type=int, default=5, help="the number of rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="the seconds of each load (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--only", nargs="*", metavar="PART", help="only measure these parts")
    parser.add_argument("--auth", action="store_true", help="measure the cost of a log-in instead")
    options = parser.parse_args()
    if options.auth:
        auth.main()
    rounds, seconds = (1, 0.5) if options.quick else (options.rounds, options.seconds)
    allow_many_connections()
    figures = Figures()
    for number in range(rounds):
        for part in _parts(options.peers.absolute(), options.mlserver.absolute()):
            if not options.only or part.name in options.only:
                print(f"round {number + 1} of {rounds}: {part.name}", file=sys.stderr, flush=True)
                with running(part.start) as server:
                    figures.add(part.name, **part.measure(server, seconds))
    print(f"{machine()}; median of {figures.rounds()}\n\n{render([*_ROWS, *doors.ROWS], figures)}")


if __name__ == "__main__":
    main()
