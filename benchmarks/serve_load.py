"""A server under load: does every request get an answer, and every accepted one its prediction?

    python benchmarks/serve_load.py [--images 200] [--rate 200] [--seconds 60] [--no-kill] -o FOLDER

In turn: bare `infer` of the images (no server); all images uploaded as fast as they are taken, for
the throughput at saturation; uploads at half of that rate, for the time from upload to prediction;
`--rate` uploads a second for `--seconds`, each of which must be taken or told when to come again
(429 with Retry-After), with a kill -9 and a new start in the middle; 50 uploads at once. At the end
every accepted upload must have been predicted exactly once. All images differ, so that no result is
there already. Load and server share the machine: images and requests are made before the clock
starts, and the seconds of the processor are told apart, of bare `infer`, of the server, of its
readers, and of the load itself. Needs the extras serve and onnx.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import psutil
from PIL import Image

from flexseg.api import Model
from flexseg.config.model import ModelConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.labels import LabelMap
from flexseg.errors import FlexsegError
from flexseg.export.about import About
from flexseg.export.artefact import write_export
from flexseg.export.graph import Graph
from flexseg.export.proof.proof_cases import generated_cases
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.engines.onnx_runtime import OnnxEngine
from flexseg.inference.image_files import infer_images
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.image_outputs import Targets
from flexseg.model_file.model_description import ModelDescription
from flexseg.serve.client import Client

HOST = "127.0.0.1"
_MARK = "load"
AT_ONCE = 50
CLIENTS = 8
START = 180
# Seconds for all that was accepted to be predicted.
END = 900


def write_model(folder: Path, size: int, filters: int, layers: int) -> Path:
    """An export of `layers` convolutions of 3 x 3, which take about as long as a small U-Net."""
    rng = np.random.default_rng(0)
    graph = Graph()
    images = graph.input("images", np.float32, ["N", size, size, 1])
    x = images.transposed(0, 3, 1, 2)
    for number in range(layers):
        last = number == layers - 1
        shape = (2 if last else filters, filters if number else 1, 3, 3)
        weights = rng.normal(0, 0.3 / np.sqrt(shape[1]), shape).astype(np.float32)
        x = graph.node("Conv", x, graph.tensor(weights, np.float32), pads=[1, 1, 1, 1])
        x = x if last else graph.node("Relu", x)
    p = graph.node("Softmax", x.transposed(0, 2, 3, 1), axis=-1)
    graph.output("p", p, ["N", size, size, 2])
    folder.mkdir(parents=True)
    file = folder / "network.onnx"
    onnx.save(graph.model("network", {}), file)
    config = ModelConfig(image_width=size, image_height=size, image_channels=1, num_classes=2)
    labels = LabelMap.from_config(Experiment(model=config).class_sections)
    package = ModelDescription(config, labels, Preprocessing(size, size, 1), 0.5)
    predictor = Predictor(package, 4, None, OnnxEngine(file))
    target = folder / "load"
    proof = generated_cases(package, "uint8")
    write_export(predictor, [file], target, proof, About("load"), "uint8")
    return target / "model.onnx"


def picture(seed: int, size: int) -> bytes:
    """A smooth image as a PNG; each seed gives another one."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8), np.uint8)
    image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    content = io.BytesIO()
    image.save(content, format="PNG", compress_level=1)
    return content.getvalue()


@dataclass
class Server:
    """`flexseg serve`, which can be killed and started again.

    Attributes
    ----------
    peak : largest memory of its process that was seen, bytes.
    """

    model: Path
    data: Path
    port: int = 0
    peak: int = 0
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it, and wait until its model is loaded."""
        if not self.port:
            with socket.socket() as found:
                found.bind((HOST, 0))
                self.port = found.getsockname()[1]
        command = [sys.executable, "-m", "flexseg.cli", "-q", "serve", str(self.model)]
        self.process = subprocess.Popen(
            [*command, "--data", str(self.data), "--port", str(self.port)]
        )
        threading.Thread(target=self._watch, args=(self.process.pid,), daemon=True).start()
        end = time.monotonic() + START
        while time.monotonic() < end:
            try:
                if all(model["ready"] for model in self.client.models()):
                    return
            except FlexsegError:
                pass
            time.sleep(0.1)
        raise SystemExit("The server does not start.")

    def seconds(self) -> tuple[float, float]:
        """Of the processor, used by it and by its readers, also by those that were replaced."""
        process = psutil.Process(self.process.pid)
        own, times = process.cpu_times(), [child.cpu_times() for child in process.children()]
        ended = own.children_user + own.children_system
        return own.user + own.system, ended + sum(one.user + one.system for one in times)

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(START)

    @property
    def client(self) -> Client:
        """Asks it."""
        return Client(f"http://{HOST}:{self.port}", patience=0)

    def _watch(self, pid: int) -> None:
        try:
            while True:
                self.peak = max(self.peak, psutil.Process(pid).memory_info().rss)
                time.sleep(0.1)
        except psutil.Error:
            return


@contextmanager
def serving(model: Path, data: Path) -> Iterator[Server]:
    server = Server(model, data)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Answers:
    """What uploads were answered.

    Attributes
    ----------
    counts : by status; 0: the connection broke, as at a kill.
    accepted : ids of cases.
    seconds : of each answer.
    without_time : 429s without Retry-After.
    """

    counts: Counter[int] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    without_time: int = 0


def request_of(content: bytes) -> bytes:
    """An upload of an image by a connection of its own, but for the address."""
    head = (
        f'--{_MARK}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    ).encode()
    body = head + content + f"\r\n--{_MARK}--\r\n".encode()
    start = (
        f"POST /api/cases HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={_MARK}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    return start + body


async def upload(port: int, request: bytes, answers: Answers) -> int:
    """Send a request; the status."""
    began, status = time.perf_counter(), 0
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        lines, _, found = answer.partition(b"\r\n\r\n")
        if lines:
            status = int(lines.split(b" ", 2)[1])
        if status == 202:
            answers.accepted += [case["id"] for case in json.loads(found)["cases"]]
        if status == 429 and b"retry-after:" not in lines.lower():
            answers.without_time += 1
    except (OSError, ValueError):
        status = 0
    answers.counts[status] += 1
    answers.seconds.append(time.perf_counter() - began)
    return status


async def offered(port: int, requests: Iterator[bytes], rate: float, seconds: float) -> Answers:
    """Uploads at a rate, whether or not earlier ones were answered."""
    answers, tasks = Answers(), []
    began = time.monotonic()
    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(upload(port, next(requests), answers)))
    await asyncio.gather(*tasks)
    return answers


async def all_taken(port: int, requests: list[bytes]) -> Answers:
    """Uploads by a few clients, each of which comes again where there was no room."""
    answers, left = Answers(), iter(requests)

    async def send() -> None:
        for request in left:
            while await upload(port, request, answers) == 429:
                await asyncio.sleep(0.2)

    await asyncio.gather(*(send() for _ in range(CLIENTS)))
    return answers


def finish(server: Server) -> None:
    """Wait until no case waits any more."""
    end = time.monotonic() + END
    client = server.client
    # Asked for one row: a look at all cases takes the server longer than a prediction.
    wanted = [f"jobs?limit=1&state={state}" for state in ("queued", "running")]
    while time.monotonic() < end:
        if not any(client._json("GET", path)["jobs"] for path in wanted):
            return
        time.sleep(0.1)
    raise SystemExit("Not all cases were predicted in time.")


def cases_of(server: Server) -> dict[str, dict[str, str]]:
    """All cases by their ids."""
    return {case["id"]: case for case in server.client.cases()}


def seconds_until_done(cases: dict[str, dict[str, str]], ids: list[str]) -> list[float]:
    """From the end of the upload to the prediction."""
    return [stamp(cases[i]["changed"]) - stamp(cases[i]["created"]) for i in ids]


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def bare(model: Path, folder: Path, contents: list[bytes]) -> tuple[float, float]:
    """Images a second of `infer`, and seconds of the processor for each."""
    images = folder / "images"
    images.mkdir()
    for number, content in enumerate(contents):
        (images / f"{number:05d}.png").write_bytes(content)
    predictor = Model.load(model)._predictor
    targets = Targets(folder / "masks", folder / "merged", None, None, "infer")
    infer_images(predictor, images / "00000.png", targets)
    began, before = time.perf_counter(), time.process_time()
    infer_images(predictor, images, targets)
    count = len(contents)
    return count / (time.perf_counter() - began), (time.process_time() - before) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200, help="For throughput.")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rate", type=float, default=200, help="Uploads a second.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True, help="New folder.")
    given = parser.parse_args()
    model = write_model(given.output / "model", given.size, given.filters, given.layers)
    seeds = iter(range(10**9))
    pictures = (picture(seed, given.size) for seed in seeds)
    contents = [*islice(pictures, given.images)]
    infer, seconds = bare(model, given.output, contents)
    print(f"bare infer: {infer:.1f} images/s, {1000 * seconds:.1f} ms of the processor each")
    requests = map(request_of, pictures)
    accepted: list[str] = []
    with serving(model, given.output / "data") as server:
        # Readers and network are warm, as those of bare `infer` are.
        accepted += asyncio.run(all_taken(server.port, [*islice(requests, CLIENTS)])).accepted
        finish(server)
        first = [request_of(content) for content in contents]
        pace = saturated(server, first, infer, accepted)

        few = [*islice(requests, round(given.images / 2))]
        half = asyncio.run(offered(server.port, iter(few), pace / 2, given.images / pace))
        finish(server)
        accepted += half.accepted
        waits = seconds_until_done(cases_of(server), half.accepted)
        told = statistics.quantiles(waits, n=20)[-1] if len(waits) > 1 else float("nan")
        print(f"at half of that: p95 {told:.2f} s until predicted", flush=True)

        print(f"{given.rate:g} uploads/s for {given.seconds:g} s:", flush=True)
        # Made before, as they take time of the machine.
        most = [*islice(requests, round(given.rate * given.seconds))]
        if not given.no_kill:
            part = given.seconds / 2
            accepted += tell(asyncio.run(offered(server.port, iter(most), given.rate, part)))
            server.kill()
            server.start()
            print("  killed and started again", flush=True)
            most = most[round(given.rate * part) :]
        rest = len(most) / given.rate
        accepted += tell(asyncio.run(offered(server.port, iter(most), given.rate, rest)))
        finish(server)

        few = [*islice(requests, AT_ONCE)]
        together = asyncio.run(offered(server.port, iter(few), 1e6, AT_ONCE / 1e6))
        accepted += together.accepted
        print(f"{AT_ONCE} uploads at once: {dict(together.counts)}", flush=True)
        finish(server)
        check(server, cases_of(server), accepted)
        print(f"memory: at most {server.peak / 2**20:.0f} MiB", flush=True)


def saturated(server: Server, requests: list[bytes], infer: float, accepted: list[str]) -> float:
    """Images a second where they are uploaded as fast as they are taken.

    Parameters
    ----------
    infer : those of bare `infer`, for comparison.
    accepted : gets their ids.
    """
    count = len(requests)
    before, own = server.seconds(), time.process_time()
    began = time.perf_counter()
    answers = asyncio.run(all_taken(server.port, requests))
    finish(server)
    pace = count / (time.perf_counter() - began)
    accepted += answers.accepted
    print(f"saturated: {pace:.1f} images/s, {pace / infer:.2f} of bare infer", flush=True)
    parts = [*(now - then for now, then in zip(server.seconds(), before, strict=True))]
    parts.append(time.process_time() - own)
    each = (f"{1000 * part / count:.1f}" for part in parts)
    print("  ms of the processor for each: server {}, readers {}, load {}".format(*each))
    return pace


def tell(answers: Answers) -> list[str]:
    """Print what uploads were answered; the ids of those accepted."""
    slow = max(answers.seconds)
    print(
        f"  answers {dict(answers.counts)}, 429 without Retry-After {answers.without_time}, "
        f"slowest {slow:.1f} s",
        flush=True,
    )
    return answers.accepted


def check(server: Server, cases: dict[str, dict[str, str]], accepted: list[str]) -> None:
    """End with exit code 1 unless every accepted upload was predicted exactly once."""
    lost = [case for case in accepted if case not in cases]
    states = Counter(case["state"] for case in cases.values())
    doubled = sum(
        len(server.client._json("GET", f"cases/{case}/predictions")) != 1 for case in accepted
    )
    print(
        f"accepted {len(accepted)}: lost {len(lost)}, not predicted once {doubled}, states "
        f"{dict(states)}",
        flush=True,
    )
    if lost or doubled or set(states) != {"done"} or len(accepted) != len({*accepted}):
        sys.exit(1)


if __name__ == "__main__":
    main()
