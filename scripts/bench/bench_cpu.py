#!/usr/bin/env python3
"""Measures Tektra's CPU engine and llama.cpp alternately on the same files and prints a Markdown table of ratios with their spread (Linux).

A cell is a file and a number of threads. It is measured in pairs: a fresh process of Tektra, then one of llama.cpp, and so on. Each process
runs two repetitions of prefill and decode; the first, which faults the weights in, is dropped. What disturbs the machine for longer than a
pair falls on both, so the ratios of the pairs say more than single speeds. Files other than the starter model have random weights.
"""

import argparse
import datetime
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Optional

import gguf
import llama_library
import random_gguf

FOLDER = Path(__file__).resolve().parent
QUIET_LOAD = 0.5
PROCESS_SECONDS = 3600
# Of decoding and a plain read of memory, in a pair.
TURNS = 12
HEADINGS = ["File", "Threads", "Prefill: Tektra", "llama.cpp", "Ratio (min–max)", "Decode: Tektra", "llama.cpp", "Ratio (min–max)",
            "Of bandwidth: Tektra", "llama.cpp", "Resident MiB: Tektra", "llama.cpp", "File MiB"]


class Failed(Exception):
    """Something cannot be measured; the text says why."""


@dataclass(frozen=True)
class Sample:
    """One repetition of one engine."""

    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    resident_mib: float


@dataclass(frozen=True)
class Bandwidth:
    """What the machine streams from memory, as the engine measures it, in GB/s: the fastest pass and the median one."""

    best: float
    median: float


@dataclass(frozen=True)
class Turns:
    """Medians of turns of decoding with Tektra and a plain read of memory right after it."""

    used: float
    """How much of the memory's bandwidth decoding used, of 1: weights and KV cache."""
    read_gb_per_second: float
    kv_bytes_per_token: float


@dataclass
class Cell:
    """What was measured of one file with one number of threads: pair by pair."""

    file: str
    threads: int
    file_bytes: int
    bytes_per_token: int
    turns: list[Turns]
    tektra: list[Sample]
    llama_cpp: list[Sample]

    def row(self) -> list[str]:
        """The cell as a line of the table."""
        row = [self.file, str(self.threads)]
        for name in ("prefill_tokens_per_second", "decode_tokens_per_second"):
            ours, theirs = ([getattr(sample, name) for sample in side] for side in (self.tektra, self.llama_cpp))
            middle, other = statistics.median(ours), statistics.median(theirs)
            ratios = [one / two for one, two in zip(ours, theirs)]
            row += [rounded(middle), rounded(other), f"**{middle / other:.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"]
        used = [turns.used for turns in self.turns]
        other = [(self.bytes_per_token + turns.kv_bytes_per_token) * sample.decode_tokens_per_second / 1e9 / turns.read_gb_per_second
                 for sample, turns in zip(self.llama_cpp, self.turns)]
        row += [f"{statistics.median(side):.0%}" for side in (used, other)]
        row += [f"{statistics.median(sample.resident_mib for sample in side):.0f}" for side in (self.tektra, self.llama_cpp)]
        return row + [f"{self.file_bytes / 1024**2:.0f}"]


def rounded(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def say(text: str) -> None:
    """Progress goes to standard error; standard output is the report."""
    print(f"· {text}", file=sys.stderr, flush=True)


def output(command: list[str]) -> str:
    """The standard output of a command."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROCESS_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[-300:] or "without a word"
        raise Failed(f"`{' '.join([Path(command[0]).name, *command[1:2]])}` ended with code {done.returncode}: {said}")
    return done.stdout


def json_lines(text: str) -> list[dict]:
    """The JSON objects among the lines of a text."""
    try:
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    except ValueError as error:
        raise Failed(f"no JSON: {error}") from error


@dataclass(frozen=True)
class Bench:
    """How both engines are called."""

    engine: Path
    libraries: Path
    prefill: int
    decode: int

    def sample(self, peer: bool, file: Path, threads: int) -> Sample:
        """The second of two repetitions in a fresh process."""
        lines = self.run(peer, file, threads, self.prefill, self.decode, 2)
        if len(lines) != 2:
            raise Failed(f"{'llama.cpp' if peer else 'Tektra'} printed {len(lines)} lines instead of 2")
        try:
            return Sample(**{name: float(lines[1][name]) for name in Sample.__dataclass_fields__})
        except KeyError as error:
            raise Failed(f"{'llama.cpp' if peer else 'Tektra'} does not tell {error}") from error

    def run(self, peer: bool, file: Path, threads: int, prefill: int, decode: int, repetitions: int) -> list[dict]:
        """The lines of one process."""
        command = [str(self.engine), "bench"]
        if peer:
            command = [sys.executable, str(FOLDER / "llama_cpp.py"), "--libraries", str(self.libraries)]
        numbers = {"threads": threads, "prefill": prefill, "decode": decode, "repetitions": repetitions}
        command += ["--model", str(file)] + [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
        return json_lines(output(command))

    def cell(self, file: Path, threads: int, pairs: int) -> Cell:
        """Measures a cell. What is used of the bandwidth is taken in each pair, between the two: it changes as much as the rest."""
        header = gguf.read(file)
        cell = Cell(file.stem, threads, file.stat().st_size, header.bytes_per_token(), [], [], [])
        for pair in range(pairs):
            say(f"{file.stem}, {threads} thread{'s'[: threads > 1]}: pair {pair + 1} of {pairs}")
            cell.tektra.append(self.sample(False, file, threads))
            cell.turns.append(self.turns(file, threads, cell.bytes_per_token))
            cell.llama_cpp.append(self.sample(True, file, threads))
        return cell

    def turns(self, file: Path, threads: int, bytes_per_token: int) -> Turns:
        """Decoding and plain reads of memory, in turn in one process."""
        numbers = {"threads": threads, "prefill": self.prefill, "repetitions": TURNS}
        options = [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
        lines = json_lines(output([str(self.engine), "bench", "--bandwidth", "--model", str(file), *options]))
        try:
            reads = [float(line["read_gb_per_second"]) for line in lines]
            kv_bytes = statistics.mean(float(line["kv_bytes_per_token"]) for line in lines)
            used = [(bytes_per_token + kv_bytes) * float(line["decode_tokens_per_second"]) / 1e9 / read
                    for line, read in zip(lines, reads)]
            return Turns(statistics.median(used), statistics.median(reads), kv_bytes)
        except (KeyError, statistics.StatisticsError) as error:
            raise Failed(f"Tektra does not tell how much of the bandwidth it uses: {error}") from error

    def bandwidth(self, threads: int) -> Optional[Bandwidth]:
        """What the machine streams from memory; `None` when the engine cannot tell."""
        try:
            lines = json_lines(output([str(self.engine), "bench", "--bandwidth", "--threads", str(threads)]))
            return Bandwidth(float(lines[-1]["read_gb_per_second"]), float(lines[-1]["median_read_gb_per_second"]))
        except (Failed, LookupError, ValueError, TypeError) as error:
            say(f"no memory bandwidth for {threads} threads: {error}")
            return None

    def engine_version(self) -> str:
        """What the engine calls itself."""
        try:
            done = subprocess.run([self.engine, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return "of unknown version"
        return (done.stdout + done.stderr).strip().splitlines()[0] if (done.stdout + done.stderr).strip() else "of unknown version"


def facts(bench: Bench, starter: Path, bandwidths: dict[int, Optional[Bandwidth]], pairs: int) -> dict[str, str]:
    """What the figures depend on. Runs both engines once, so that what is broken is told before hours have gone by."""
    bench.run(False, starter, 1, 2, 1, 1)
    peer = bench.run(True, starter, 1, 2, 1, 1)[0]
    cpu = re.search(r"^(?:model name|Model)\s*:\s*(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    streamed = [f"{read.median:.1f} (best {read.best:.1f}) GB/s with {threads}" for threads, read in bandwidths.items() if read]
    return {
        "Date": datetime.date.today().isoformat(),
        "CPU": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "Memory": f"{memory / 1024**2:.1f} GiB; read bandwidth by threads: {', '.join(streamed) or 'unknown'}",
        "System": f"{platform.system()} {platform.release()}, load average {', '.join(f'{load:.2f}' for load in os.getloadavg())}",
        "Tektra": bench.engine_version(),
        "llama.cpp": f"{peer['release']} (node-llama-cpp {llama_library.PACKAGE_VERSION}), CPU variant {peer['variant']}",
        "Each figure": f"tokens a second, median of {pairs} pairs of fresh processes; prefill of {bench.prefill} tokens, then "
                       f"{bench.decode} decoded; ratios are Tektra / llama.cpp, of the medians and (lowest–highest) of the pairs",
    }


def save(file: Path, about: dict[str, str], cells: list[Cell]) -> None:
    """Writes everything measured so far, in one step."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(json.dumps({"facts": about, "cells": [asdict(cell) for cell in cells]}, indent=1, ensure_ascii=False) + "\n",
                        encoding="utf-8")
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def among(known: list[str]) -> Callable[[str], list[str]]:
    """Reads a list of known words, or `all`."""

    def read(text: str) -> list[str]:
        words = known if text == "all" else text.split(",")
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not among {', '.join(known)}")
        return words

    return read


def numbers(text: str) -> list[int]:
    """Reads a list of numbers above 0."""
    found = [int(word) for word in text.split(",")]
    if min(found) < 1:
        raise ValueError
    return found


def arguments() -> argparse.Namespace:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tektra"
    starter = Path(os.environ.get("TEKTRA_HOME") or data) / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    parser = argparse.ArgumentParser(description="Measures Tektra's CPU engine and llama.cpp alternately on the same files.")
    parser.add_argument("--engine", type=Path, required=True, metavar="PATH", help="Tektra's engine executable")
    parser.add_argument("--threads", type=numbers, default=sorted({1, os.cpu_count() or 1}), help="default: 1 and all cores")
    shapes = [shape for shape in random_gguf.SHAPES if shape != "8b"]  # A GPU's.
    parser.add_argument("--shapes", type=among(shapes), default=["1b"], help="e.g. 135m,1b or all; default: 1b")
    parser.add_argument("--types", type=among(list(random_gguf.TYPES)), default=["Q4_0", "Q4_K", "Q6_K", "Q8_0", "F16"],
                        help="e.g. Q4_K,Q8_0 or all; default: Q4_0,Q4_K,Q6_K,Q8_0,F16")
    parser.add_argument("--quick", action="store_true", help="the starter model and 1b Q4_K only")
    parser.add_argument("--repetitions", type=int, default=5, help="pairs a cell; default: 5")
    parser.add_argument("--prefill", type=int, default=512, metavar="TOKENS")
    parser.add_argument("--decode", type=int, default=128, metavar="TOKENS")
    parser.add_argument("--models", type=Path, default=llama_library.default_cache(), metavar="FOLDER", help="for generated files")
    parser.add_argument("--starter", type=Path, default=starter, metavar="FILE", help="the starter model, also the vocabulary's source")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also writes every sample")
    parser.add_argument("--keep", action="store_true", help="keeps generated files for the next time")
    options = parser.parse_args()
    if min(options.repetitions, options.prefill, options.decode) < 1:
        parser.error("--repetitions, --prefill and --decode must be at least 1")
    if options.quick:
        options.shapes, options.types = ["1b"], ["Q4_K"]
    return options


def measure(options: argparse.Namespace) -> int:
    """Prints the report; tells how many cells failed."""
    if not os.access(options.engine, os.X_OK):
        raise Failed(f"{options.engine} is not an executable: build the engine first (`make build`)")
    if not options.starter.is_file():
        raise Failed(f"{options.starter} is missing: `make setup` brings it")
    if (load := os.getloadavg()[0]) > QUIET_LOAD:
        say(f"warning: the load average is {load:.2f}: something else is running, so the figures are noise")
    bench = Bench(options.engine.resolve(), llama_library.install(llama_library.default_cache()), options.prefill, options.decode)
    bandwidths = {threads: bench.bandwidth(threads) for threads in options.threads}
    about = facts(bench, options.starter, bandwidths, options.repetitions)
    print("\n".join(f"- {name}: {fact}" for name, fact in about.items()))
    print(f"\n| {' | '.join(HEADINGS)} |\n|---|{'---:|' * (len(HEADINGS) - 1)}", flush=True)
    cells: list[Cell] = []
    failed = 0
    for shape, kind in [("", ""), *((shape, kind) for shape in options.shapes for kind in options.types)]:
        file, written = options.starter, False
        try:
            if shape:
                file = options.models / f"{shape}.{kind}.gguf"
                written = random_gguf.write(file, shape, kind, options.starter)
            for threads in options.threads:
                cells.append(bench.cell(file, threads, options.repetitions))
                print(f"| {' | '.join(cells[-1].row())} |", flush=True)
                if options.json:
                    save(options.json, about, cells)
        except (Failed, random_gguf.CannotWrite, gguf.NotGguf) as error:
            failed += 1
            print(f"| {file.stem} | {' | '.join(['failed'] * (len(HEADINGS) - 1))} |", flush=True)
            say(f"{file.stem} failed: {error}")
        finally:
            if written and not options.keep:
                file.unlink(missing_ok=True)
    return failed


def main() -> int:
    options = arguments()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)  # Files are removed then, too.
    try:
        return 1 if measure(options) else 0
    except (Failed, llama_library.Unusable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
