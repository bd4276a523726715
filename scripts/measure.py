#!/usr/bin/env python3
"""Measures Tektra on this machine (Linux) and prints a Markdown section for BENCHMARKS.md.

Parts: second-start, window, model, idle, resources, socket. What cannot be measured is listed with its reason.
Every part works in a data folder of its own, which is removed afterwards.
"""

import argparse, contextlib, ctypes, datetime, json, mmap, os, platform, shutil, signal, sqlite3
import statistics, struct, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"Xvfb": "xvfb", "xwininfo": "x11-utils", "xdotool": "xdotool"}
PROCESSES = {"tektra": "window", "WebKitWebProcess": "WebKit web process",
             "WebKitNetworkProcess": "WebKit network process", "tektra-engine": "engine"}
STORY = "Write a long story about the sea, the moon and a lighthouse."
QUESTIONS, SENTENCE = ("Tell me about the sea.", "And the sky?"), "The quick brown fox jumps over the lazy dog. "


class Skip(Exception):
    """A part cannot be measured here; the text says why."""


class Report:
    """The samples of every figure, what they depend on, and what is missing."""

    def __init__(self, facts):
        self.facts, self.figures, self.skipped = facts, {}, {}

    def add(self, figure, unit, how, *samples):
        self.figures.setdefault(figure, {"unit": unit, "how": how, "samples": []})["samples"] += samples

    def markdown(self):
        lines = [f"## {self.facts['Date']}, commit {self.facts['Commit']}", ""]
        lines += [f"- {name}: {fact}" for name, fact in list(self.facts.items())[2:]]
        lines += ["", "| Figure | Median | Min–max | Runs | How |", "|---|---:|---:|---:|---|"]
        for name, figure in self.figures.items():
            samples = figure["samples"]
            middle, low, high = map(rounded, (statistics.median(samples), min(samples), max(samples)))
            lines.append(f"| {name} | {middle} {figure['unit']} | {low}–{high} | {len(samples)} | {figure['how']} |")
        lines += ["", *(f"- {part}: skipped: {reason}" for part, reason in self.skipped.items())]
        return "\n".join(lines).rstrip()


def rounded(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def facts(model):
    """What the figures depend on."""
    commit = run("git rev-parse --short HEAD || echo unknown", shell=True, cwd=ROOT).strip()
    changes = run("git --no-optional-locks status --porcelain || true", shell=True, cwd=ROOT).strip()
    cpu, memory = value_of("/proc/cpuinfo", "model name"), int(value_of("/proc/meminfo", "MemTotal").split()[0])
    return {
        "Date": datetime.date.today().isoformat(),
        "Commit": commit + (" + changes" if changes else ""),
        "CPU": f"{cpu or platform.machine()}, {os.cpu_count()} cores",
        "Memory": f"{memory / 1024**2:.1f} GiB",
        "System": platform.platform(),
        "Load average before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
        "Model": f"{model.stem}, {model.stat().st_size / 1024**2:.0f} MiB" if model else "none",
    }


def value_of(path, name):
    """The value of the first `name: value` line of a file."""
    lines = Path(path).read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def stat(pid):
    """/proc/PID/stat from the state on; `None` when the process has ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if fields[0] in "ZX" else fields


def below(pid):
    """The living processes below `pid`."""
    parents = {int(name): int(fields[1]) for name in os.listdir("/proc") if name.isdigit() and (fields := stat(name))}
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found[1:]


def end(pids):
    """Ends processes below this one: politely, then by force."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for pid in set(pids) & set(below(os.getpid())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
        wait_for(lambda: not any(map(stat, pids)), 5)


def wait_for(condition, seconds, every=0.02):
    """The first true value of `condition`, or the last value after `seconds`."""
    until = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < until:
        time.sleep(every)
    return value


def run(command, home=None, environment=os.environ, **how):
    """The standard output of a command."""
    environment = environment | ({"TEKTRA_HOME": str(home)} if home else {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, env=environment, **how)
    if done.returncode:
        name = command if isinstance(command, str) else " ".join([Path(command[0]).name, *command[1:2]])
        raise Skip(f"`{name}` ended with code {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout


def needs(*tools):
    if missing := [tool for tool in tools if not shutil.which(tool)]:
        raise Skip(", ".join(f"{tool} is missing (apt-get install {PACKAGES[tool]})" for tool in missing))


@contextlib.contextmanager
def screen():
    """An empty screen: its environment and pixels. What is started on it ends with it, the bus's services too."""
    needs("Xvfb", "xwininfo")
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: those that lose their parent become ours.
    before = set(below(os.getpid()))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            reader, writer = os.pipe()
            options = ["-screen", "0", "1280x800x24", "-nolisten", "tcp", "-fbdir", folder, "-displayfd", str(writer)]
            subprocess.Popen(["Xvfb", *options], pass_fds=[writer], stderr=subprocess.DEVNULL)
            os.close(writer)
            with open(reader) as answer:
                display = answer.readline().strip()
            if not display:
                raise Skip("Xvfb does not start")
            own = {"DISPLAY": f":{display}", "GDK_BACKEND": "x11", "XDG_DATA_HOME": f"{folder}/data"}
            with open(f"{folder}/Xvfb_screen0", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pixels:
                yield os.environ | own, pixels
        finally:
            end([pid for pid in below(os.getpid()) if pid not in before])
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def has_text(pixels):
    """Whether the right two thirds show more than plain colour, in more rows than the pointer fills."""
    header = struct.unpack_from(">25I", pixels)  # XWDFileHeader of X11/XWDFile.h
    start, width, height, stride = header[0] + 12 * header[19], header[4], header[5], header[12]
    rows = (pixels[start + y * stride + width // 3 * 4 : start + y * stride + width * 4] for y in range(height))
    return sum(row != row[:4] * (len(row) // 4) for row in rows) >= 40


@contextlib.contextmanager
def opened(options, home, environment, pixels):
    """Tektra's window: its process id and the seconds from its start until its page was on the screen."""
    if not wait_for(lambda: not has_text(pixels), 10):
        raise Skip("the screen is not empty")
    begun = time.perf_counter()
    environment = environment | {"TEKTRA_HOME": home}
    process = subprocess.Popen([options.target / "tektra"], env=environment, stderr=subprocess.DEVNULL)
    try:
        painted = wait_for(lambda: has_text(pixels) or process.poll() is not None, 60)
        took = time.perf_counter() - begun
        if not painted or process.poll() is not None:
            raise Skip(f"tektra ended with code {process.poll()}" if painted else "the window showed nothing in 60 s")
        if "IsViewable" not in run(["xwininfo", "-name", "Tektra"], environment=environment):
            raise Skip("something was painted, but no window named Tektra is mapped")
        yield process.pid, took
    finally:
        end([process.pid, *below(process.pid)])
        process.wait()


@contextlib.contextmanager
def data_folder(options):
    """A new data folder with the model in it."""
    if not options.model:
        raise Skip("no model was found (--model FILE)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        Path(home, "models").mkdir()
        Path(home, "models", options.model.name).symlink_to(options.model.resolve())
        yield home


def second_start(options, report):
    """The preparation when nothing is to be done: the first one, which may find something, does not count."""
    for number in range(options.reps + 1):
        begun = time.perf_counter()
        run(options.second_start, shell=True, cwd=ROOT)
        if number:
            how = f"`{options.second_start}`, nothing to be done"
            report.add("Second start, preparation", "s", how, time.perf_counter() - begun)


def window(options, report):
    """From the start to the page; the first one, which also starts the desktop's services, does not count."""
    with screen() as place, data_folder(options) as home:
        for number in range(options.reps + 1):
            with opened(options, home, *place) as (_, took):
                if number:
                    report.add("Window visible", "s", "`tektra` under Xvfb: start to painted page, files cached", took)


def model(options, report):
    """First token, reading and writing speed, with one and two threads in turn."""
    tokens, sentences = ("16", 10) if options.quick else ("64", 50)
    with data_folder(options) as home:
        for threads in (1, 2) * options.reps:
            settings = ["--temperature", "0", "--threads", str(threads)]
            cli = lambda *words, **how: run([options.target / "tektra-cli", *words, *settings], home, **how)
            cold, long = ask(cli, QUESTIONS[0], tokens), ask(cli, SENTENCE * sentences, "1")
            # The second line is sent when the answer to the first has ended.
            cli("chat", "--max-tokens", tokens, input="\n".join(QUESTIONS))
            warm = receipts(home)[-1]
            fresh = "`ask`: a new process, start and load included, file cached; prompt of {prompt_tokens} tokens"
            again = "`chat`: second message; prompt of {prompt_tokens} tokens, {cached_tokens} of them cached"
            decoded = "`ask`: {completion_tokens} tokens after {prompt_tokens}"
            for figure, unit, name, sample, how in (
                ("First token, cold", "ms", "ttft_ms", cold, fresh),
                ("Start and load of the engine", "ms", "load_ms", cold, "part of the cold first token"),
                ("First token, warm", "ms", "ttft_ms", warm, again),
                ("Prefill", "tok/s", "prefill_tokens_per_second", long, "`ask`: prompt of {prompt_tokens} tokens"),
                ("Decode", "tok/s", "decode_tokens_per_second", cold, decoded),
            ):
                if sample[name] is None:
                    raise Skip(f"an answer was too short for {name}")
                report.add(f"{figure}, {threads} thread{'s'[:threads - 1]}", unit, how.format(**sample), sample[name])


def ask(cli, prompt, tokens):
    """What an answer cost in a process of its own."""
    answer = json.loads(cli("ask", prompt, "--json", "--max-tokens", tokens))
    return answer["timings"] | answer["usage"]


def receipts(home):
    """What the answers cost, oldest first; none as long as there is no database."""
    with contextlib.suppress(sqlite3.OperationalError):
        with contextlib.closing(sqlite3.connect(f"file:{home}/tektra.db?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT receipt FROM message WHERE receipt IS NOT NULL ORDER BY number").fetchall()
            return [json.loads(receipt) for receipt, in rows]


def idle(options, report):
    """Memory and processor time when an answer is there and nothing happens."""
    needs("xdotool")
    settle, seconds = (2, 5) if options.quick else (15, 60)
    with screen() as place:
        for _ in range(min(options.reps, 3)):
            with data_folder(options) as home, opened(options, home, *place) as (pid, _):
                say_hi(home, place[0])
                time.sleep(settle)
                parts = parts_of(pid)
                add_each(report, "Idle CPU", "%", f"of one core over {seconds} s", cpu_percent(parts, lambda: time.sleep(seconds)))
                add_each(report, "Memory", "MiB", "PSS", {part: pss_mib(pid) for part, pid in parts.items()})


def resources(options, report):
    """Processor time while the live charts are drawn once a second, and nothing else happens."""
    needs("xdotool")
    settle, seconds = (2, 5) if options.quick else (15, 60)
    with screen() as place:
        for _ in range(min(options.reps, 3)):
            with data_folder(options) as home, opened(options, home, *place) as (pid, _):
                say_hi(home, place[0])
                run(["xdotool", "key", "ctrl+4"], environment=place[0])
                time.sleep(settle)
                parts = parts_of(pid)
                add_each(report, "Live charts", "%", f"of one core over {seconds} s", cpu_percent(parts, lambda: time.sleep(seconds)), "resources shown at 1 Hz")


def answer(options, report):
    """A long answer in the window: how fast it is written, and what showing it takes."""
    needs("xdotool")
    with screen() as place:
        for _ in range(min(options.reps, 3)):
            with data_folder(options) as home, opened(options, home, *place) as (pid, _):
                say_hi(home, place[0])
                percent = cpu_percent(parts_of(pid), lambda: say("hi" if options.quick else STORY, home, place[0]))
                speed = receipts(home)[-1]["decode_tokens_per_second"]
                report.add("Decode in the window", "tok/s", "a long answer, up to 1,024 tokens", speed)
                add_each(report, "Answering", "%", "of one core", percent, "that answer being written")


def cpu_percent(parts, meanwhile):
    """What each process computes meanwhile, in percent of one core."""
    begun, before = time.monotonic(), {part: cpu_s(pid) for part, pid in parts.items()}
    meanwhile()
    percent = 100 / (time.monotonic() - begun)
    return {part: percent * (cpu_s(pid) - before[part]) for part, pid in parts.items()}


def add_each(report, figure, unit, how, values, state="a conversation open, nothing done"):
    for part, value in [*values.items(), ("all", sum(values.values()))]:
        report.add(f"{figure}, {part}", unit, f"{how}; model loaded, {state}", value)


def say_hi(home, environment):
    time.sleep(2)
    say("hi", home, environment)


def say(text, home, environment):
    """Types into the composer, which has the focus, and waits for the whole answer."""
    count = len(receipts(home) or [])
    run(["xdotool", "type", text], environment=environment)
    run(["xdotool", "key", "Return"], environment=environment)
    if not wait_for(lambda: len(receipts(home) or []) > count, 600, 0.2):
        raise Skip("typing into the window brought no answer in 10 minutes")


def parts_of(window):
    """The processes of a window: what each is → its id."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0] for pid in [window, *below(window)]}
    parts = {PROCESSES[Path(name).name]: pid for pid, name in commands.items() if Path(name).name in PROCESSES}
    if missing := set(PROCESSES.values()) - set(parts):
        raise Skip(f"not found: {', '.join(missing)}")
    return parts


def cpu_s(pid):
    fields = stat(pid)
    if not fields:
        raise Skip("a process ended meanwhile")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mib(pid):
    return int(value_of(f"/proc/{pid}/smaps_rollup", "Pss").split()[0]) / 1024


def socket(options, report):
    """What the way through the engine's socket costs per token."""
    samples = json.loads(run([options.target / "measure-socket"]))["samples_us"]
    report.add("Engine socket, per token", "µs", "`measure-socket`", *samples)


PARTS = {"second-start": second_start, "window": window, "model": model, "idle": idle, "resources": resources, "answer": answer, "socket": socket}


def arguments():
    home = Path(os.environ.get("TEKTRA_HOME") or Path.home() / ".local/share/tektra")
    first_model = next(iter(sorted((home / "models").glob("*.gguf"))), None)
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=Path, default=target, help="folder of the release executables")
    parser.add_argument("--model", type=Path, default=first_model, help="default: the first of the models folder")
    parser.add_argument("--second-start", metavar="CMD", default="make prepare")
    parser.add_argument("--only", metavar="LIST", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--reps", type=int, default=5, help="runs of each figure (idle: at most 3)")
    parser.add_argument("--quick", action="store_true", help="one short run of each, to see that everything works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    options = parser.parse_args()
    options.only, options.target = options.only.split(","), options.target.absolute()
    options.reps = 1 if options.quick else options.reps
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    if options.model and not options.model.is_file():
        parser.error(f"no such file: {options.model}")
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(facts(options.model))
    for part in options.only:
        print(f"measuring {part} …", file=sys.stderr)
        try:
            PARTS[part](options, report)
        except KeyboardInterrupt:
            report.skipped[part] = "interrupted"
            break
        except FileNotFoundError as error:
            report.skipped[part] = f"{Path(error.filename or '').name} is missing"
        except (Skip, OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            report.skipped[part] = str(error)
    print(report.markdown())
    if options.json:
        options.json.write_text(json.dumps(vars(report), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
