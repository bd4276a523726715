#!/usr/bin/env python3
"""Checks Tektra on a machine with an NVIDIA GPU and prints one table: what the product promises of a GPU, and what it did.

Everything goes through `tektra-cli`, as a person would use it: the devices and their memory beside nvidia-smi's, the same questions with all,
half and none of the layers on the GPU, ten loads and unloads, and the speed of the starter model and of a large one with random weights.
A machine without a GPU gets a clear word and exit status 2; a promise that is broken, exit status 1.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
import random_gguf  # noqa: E402

QUESTIONS = [
    "Why does the sea have tides?",
    "Write one sentence about a lighthouse.",
    "What is the capital of France?",
    "Count from one to ten.",
    "Name three colours.",
]
TOKENS = 48
PARTS = ("devices", "text", "cycles", "starter", "large")
FAILURES = (RuntimeError, subprocess.SubprocessError, KeyError)
LONG = "Tell the story of the old lighthouse and the keeper's daughter, who read the weather from the birds. " * 24
MOST_MIB_APART = 64
# Long enough for the long question and its answer.
CONTEXT = 1024
MOST_MIB_LEFT = 5


class Check:
    """The executables, a data folder of its own, and the lines of the table."""

    def __init__(self, folder: Path, starter: Path, questions: list[str]) -> None:
        self.cli = folder / "tektra-cli"
        self.questions = questions
        self.home = Path(tempfile.mkdtemp(prefix="tektra-gpu-"))
        (self.home / "models").mkdir(parents=True)
        self.starter = self.home / "models" / starter.name
        os.symlink(starter.resolve(), self.starter)
        self.rows: list[tuple[str, str, str]] = []
        self.broken = 0

    def row(self, what: str, outcome: str, holds: bool | None = None) -> None:
        """A line of the table; `holds` is whether a promise was kept, `None` where none was made."""
        self.broken += holds is False
        self.rows.append((what, outcome, {True: "yes", False: "NO", None: ""}[holds]))
        print(f"· {what}: {outcome}", file=sys.stderr, flush=True)

    def run(self, *arguments: str, said: bool = True, **environment: str) -> dict:
        """The JSON object that a command prints, where it says one; its words when it fails."""
        words = [str(self.cli), *arguments, *(["--json"] if said else [])]
        variables = {**os.environ, "TEKTRA_HOME": str(self.home), "TEKTRA_OTHER_PROGRAMS": "0", **environment}
        done = subprocess.run(words, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240)
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.split())[-300:] or f"exit status {done.returncode}")
        return json.loads(done.stdout) if said else {}

    def place(self, model: str, *wish: str) -> dict:
        """Stores where a model is to lie."""
        return self.run("models", "place", model, "--reset", "--save", *wish)

    def ask(self, model: str, question: str, tokens: int = TOKENS, **environment: str) -> dict:
        """A greedy answer."""
        return self.run("ask", question, "--model", model, "--temperature", "0", "--max-tokens", str(tokens), **environment)


def gpu_memory() -> list[tuple[str, int, int, int]]:
    """Name, total, used and free MiB of each GPU, from nvidia-smi; the driver keeps what is neither used nor free."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.used,memory.free", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()
    return [(name, *map(int, mib)) for name, *mib in (line.rsplit(", ", 3) for line in lines)]


def devices(check: Check) -> None:
    """The GPUs as Tektra sees them."""
    plan = check.run("models", "place", check.starter.stem, "--device", "gpu0")
    seen = [device for device in plan["machine"] if device["gpu"] is not None]
    told = gpu_memory()
    check.row("GPUs found, beside nvidia-smi", f"{len(seen)} of {len(told)}", len(seen) == len(told))
    for device, (name, total, _, free) in zip(seen, told):
        apart = max(abs(device["total_mib"] - total), abs(device["free_mib"] - free))
        check.row(f"GPU {device['gpu']} {name}, beside nvidia-smi", f"{apart:.0f} MiB apart", apart <= MOST_MIB_APART)
        check.row("usable", device["unusable"]["reason"] if device["unusable"] else "yes", device["unusable"] is None)


def shared(check: Check) -> list[str]:
    """The wish for equal shares on all GPUs; empty where there is but one."""
    machine = check.run("models", "place", check.starter.stem)["machine"]
    gpus = [f"gpu{device['gpu']}" for device in machine if device["gpu"] is not None]
    return ["--device", ",".join(gpus), "--shares", ",".join("1" for _ in gpus)] if len(gpus) > 1 else []


def same_text(check: Check) -> None:
    """The same questions with the layers in different places: every answer must be the CPU's."""
    model = check.starter.stem
    layers = check.run("models", "place", model)["layers"]
    half = ["--device", "gpu0", "--gpu-layers", str(layers // 2)]
    places = [("CPU", ["--device", "cpu"]), ("all layers on the GPU", ["--device", "gpu0"]), ("half the layers on the GPU", half)]
    if wish := shared(check):
        places += [("all layers, shared by the GPUs", wish)]
    for kv in ("f16", "q8", "f32"):
        expected: list[str] = []
        for place, wish in places:
            name = f"{place}, keys and values in {kv}"
            try:
                check.place(model, *wish, "--kv", kv)
                answers = [check.ask(model, question)["text"] for question in check.questions]
            except FAILURES as error:
                check.row(name, words(error), False)
                continue
            if place == "CPU":
                expected = answers
                continue
            same = sum(one == other for one, other in zip(answers, expected))
            check.row(f"{name}: answers equal to the CPU's", f"{same} of {len(answers)}", same == len(answers))


def words(error: Exception) -> str:
    """What went wrong, without the command, which may hold a long prompt."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"{error.cmd[0]} failed with exit status {error.returncode}"
    return f"{error} is missing in the answer" if isinstance(error, KeyError) else str(error)


def cycles(check: Check) -> None:
    """Ten loads and unloads."""
    check.place(check.starter.stem, "--device", "gpu0")
    before = gpu_memory()[0][2]
    check.run("models", "load", check.starter.stem, "--cycles", "10")
    time.sleep(1)
    left = gpu_memory()[0][2] - before
    check.row("memory of the GPU after ten loads and unloads", f"{left:+d} MiB", abs(left) <= MOST_MIB_LEFT)


def speed(check: Check, model: str, place: str, wish: list[str], repetitions: int, **environment: str) -> None:
    """First token, prefill and decode."""
    try:
        plan = check.place(model, *wish)
        receipts = [check.ask(model, LONG, 128, **environment) for _ in range(repetitions)]
    except FAILURES as error:
        check.row(f"{model}, {place}", words(error), False)
        return
    values = {}
    for name in ("prefill_tokens_per_second", "decode_tokens_per_second", "load_ms"):
        values[name] = statistics.median(find(receipt, name) for receipt in receipts)
    predicted = sum(device["weights_mib"] + device["kv_mib"] + device["compute_mib"] for device in plan["devices"])
    text = f"prefill {values['prefill_tokens_per_second']:.0f}, decode {values['decode_tokens_per_second']:.0f} tok/s"
    check.row(f"{model}, {place}", f"{text}; load {values['load_ms'] / 1e3:.1f} s; predicted {predicted:.0f} MiB")


def find(value: object, name: str) -> float:
    """The number called `name`, wherever it stands."""
    if isinstance(value, dict):
        if isinstance(value.get(name), (int, float)):
            return float(value[name])
        found = [number for inner in value.values() if (number := find(inner, name)) == number]
        return found[0] if found else float("nan")
    return float("nan")


def held(check: Check, model: str, wish: list[str]) -> list[tuple[int, float]]:
    """MiB of each GPU that a loaded model takes there with a context of which most is used: measured, and predicted."""
    plan = check.place(model, *wish, "--context", str(CONTEXT))
    before = [used for _, _, used, _ in gpu_memory()]
    predicted = [0.0] * len(before)
    for device in plan["devices"]:
        if device["gpu"] is not None:
            predicted[device["gpu"]] += device["weights_mib"] + device["kv_mib"] + device["compute_mib"]
    variables = {**os.environ, "TEKTRA_HOME": str(check.home), "TEKTRA_OTHER_PROGRAMS": "0"}
    with tempfile.TemporaryFile() as rest:
        chat = subprocess.Popen([str(check.cli), "chat", "--model", model], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=rest, text=True)
        assert chat.stdin and chat.stdout
        try:
            chat.stdin.write(LONG + "\n")
            chat.stdin.flush()
            most, quiet = before, time.monotonic() + 60
            while time.monotonic() < quiet:
                now = [used for _, _, used, _ in gpu_memory()]
                if sum(now) > sum(most):
                    most, quiet = now, time.monotonic() + 4
                time.sleep(0.2)
        finally:
            chat.kill()
            chat.wait()
            time.sleep(1)
    return [(now - then, told) for now, then, told in zip(most, before, predicted)]


def memory(check: Check, model: str) -> None:
    """The memory of a model with all and half of its layers on the GPU, and what that makes a layer; and shared by several GPUs."""
    layers = check.run("models", "place", model)["layers"]
    taken, predicted = {}, {}
    for count in (layers, layers // 2):
        taken[count], predicted[count] = held(check, model, ["--device", "gpu0", "--gpu-layers", str(count)])[0]
        told(check, f"{model}: memory of the GPU with {count} of {layers} layers", taken[count], predicted[count])
    each, foretold = ((of[layers] - of[layers // 2]) / (layers - layers // 2) for of in (taken, predicted))
    check.row(f"{model}: each layer", f"{each:.1f} MiB, predicted {foretold:.1f}")
    if wish := shared(check):
        for number, (mib, foretold) in enumerate(held(check, model, wish)):
            told(check, f"{model}: memory of GPU {number} with its share", mib, foretold)


def told(check: Check, what: str, mib: int, predicted: float) -> None:
    """A line of memory beside its prediction."""
    check.row(what, f"{mib} MiB, predicted {predicted:.0f}", abs(mib - predicted) <= max(MOST_MIB_APART, 0.05 * mib))


def measure(check: Check, model: str, repetitions: int) -> None:
    """Speed and memory of a model on the GPU, and on several where there are."""
    speed(check, model, "GPU", ["--device", "gpu0"], repetitions)
    if wish := shared(check):
        speed(check, model, "shared by the GPUs", wish, repetitions)
    try:
        memory(check, model)
    except FAILURES as error:
        check.row(f"{model}: memory of the GPU", words(error), False)


def parts(text: str) -> set[str]:
    """Names of parts, separated by commas."""
    named = set(text.split(","))
    if unknown := sorted(named - set(PARTS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]} is no part; there are {', '.join(PARTS)}")
    return named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="with tektra-cli, tektra-engine and tektra-engine-cuda")
    parser.add_argument("--starter", type=Path, required=True, help="the starter model")
    parser.add_argument("--large", default="8b", choices=[*random_gguf.SHAPES, "none"], help="the shape of the large model")
    parser.add_argument("--types", default="Q4_K,Q8_0", help="its types")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--questions", type=int, default=len(QUESTIONS), choices=range(1, len(QUESTIONS) + 1), help="how many are asked in each place")
    parser.add_argument("--skip", type=parts, default=set(), metavar="PARTS", help=f"what to leave out: {','.join(PARTS)}")
    options = parser.parse_args()
    if not shutil.which("nvidia-smi"):
        print("There is no NVIDIA GPU here (no nvidia-smi): nothing was checked.", file=sys.stderr)
        return 2
    check = Check(options.folder, options.starter, QUESTIONS[: options.questions])
    try:
        for name, part in (("devices", devices), ("text", same_text), ("cycles", cycles)):
            try:
                if name not in options.skip:
                    part(check)
            except FAILURES as error:
                check.row(part.__doc__ or name, words(error), False)
        if "starter" not in options.skip:
            measure(check, check.starter.stem, options.repetitions)
        large = options.large != "none" and "large" not in options.skip
        for kind in options.types.split(",") if large else []:
            file = check.home / "models" / f"{options.large}.{kind}.gguf"
            random_gguf.write(file, options.large, kind, check.starter, untied=True)
            measure(check, file.stem, options.repetitions)
    finally:
        print("\n| What | Outcome | Holds |\n|---|---|---|")
        for row in check.rows:
            print(f"| {' | '.join(row)} |")
        shutil.rmtree(check.home, ignore_errors=True)
    return 1 if check.broken else 0


if __name__ == "__main__":
    sys.exit(main())
