#!/usr/bin/env python3
"""Runs the standard benchmark of `tektra-cli` and measures llama.cpp on the same file before and after it, in the same lengths (pp512, tg128).

Prints Tektra's table in Markdown and one of llama.cpp's medians beside Tektra's for the cells that both have: one answer, empty context.
What slows the machine for a while shows as a difference between before and after.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Optional

FOLDER = Path(__file__).resolve().parent
PREFILL, DECODE, REPETITIONS = 512, 128, 6


def lines(command: list[str]) -> list[dict]:
    """The JSON lines that a command prints."""
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def llama_cpp(model: Path, threads: int) -> list[dict]:
    """llama.cpp's repetitions in a fresh process; the first, which faults the weights in, is dropped."""
    options = ["--model", model, "--threads", threads, "--prefill", PREFILL, "--decode", DECODE, "--repetitions", REPETITIONS]
    return lines([sys.executable, str(FOLDER / "llama_cpp.py"), *map(str, options)])[1:]


def tektra(cli: Path, model: Path, preset: str) -> tuple[dict, str]:
    """The run with every sample, and its table."""
    done = subprocess.run([str(cli), "bench", "--preset", preset, "--model", str(model), "--json"], check=True, stdout=subprocess.PIPE, text=True)
    run = json.loads(done.stdout)
    show = [str(cli), "bench", "show", run["summary"]["id"], "--markdown"]
    return run, subprocess.run(show, check=True, stdout=subprocess.PIPE, text=True).stdout


def beside(run: dict, threads: int, name: str) -> Optional[float]:
    """Tektra's median of the cell with one answer and an empty context; `None` where that was not measured."""
    for cell in run["cells"]:
        key = cell["key"]
        if (key["batch"], key["depth_tokens"], key["threads"]) == (1, 0, threads):
            return next((metric["median"] for metric in cell["metrics"] if metric["name"] == name), None)
    raise SystemExit(f"the run has no cell with one answer and {threads} threads")


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--cli", type=Path, required=True, help="tektra-cli, with tektra-engine beside it")
    reader.add_argument("--model", type=Path, required=True, help="a GGUF file")
    reader.add_argument("--preset", default="standard", choices=["standard", "thorough"], help="those with llama.cpp's lengths")
    options = reader.parse_args()
    cores = len(os.sched_getaffinity(0))
    counts = sorted({1, cores})
    before = {threads: llama_cpp(options.model, threads) for threads in counts}
    run, table = tektra(options.cli, options.model, options.preset)
    after = {threads: llama_cpp(options.model, threads) for threads in counts}
    print(table)
    print("| Threads | | Tektra | llama.cpp before | after | Ratio |")
    print("|--:|---|--:|--:|--:|--:|")
    measured = {key["threads"] for key in (cell["key"] for cell in run["cells"])}
    for threads in (count for count in counts if count in measured):
        for test, name in (("pp512", "prefill_tokens_per_second"), ("tg128", "decode_tokens_per_second")):
            ours = beside(run, threads, name)
            theirs = [statistics.median(sample[name] for sample in side[threads]) for side in (before, after)]
            both = [sample[name] for side in (before, after) for sample in side[threads]]
            speed, ratio = ("–", "–") if ours is None else (f"{ours:.0f}", f"{ours / statistics.median(both):.2f}")
            print(f"| {threads} | {test} | {speed} | {theirs[0]:.0f} | {theirs[1]:.0f} | {ratio} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
