# SPDX-License-Identifier: Apache-2.0
"""What compare and curves share: one server at a time under the load of `mqctl bench`, the description of the machine, plots."""
import datetime
import importlib.util
import json
import math
import os
import platform
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
INTEROP = os.path.join(TOP, "tests", "interop")
SERVERS = ("apache", "mqd")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
STOP_S = 120  # Apache's broker takes its time
READABLE_S = 120  # until what was sent can be read
COLOURS = {"mqd": "#0a8f4f", "apache": "#c33"}

# What bin/runbroker.sh of Apache's distribution gives the JVM, with another heap (there: 8g) and without the log of collections.
JVM = ("-server -Xms{heap} -Xmx{heap} -XX:+UseG1GC -XX:G1HeapRegionSize=16m -XX:G1ReservePercent=25 "
       "-XX:InitiatingHeapOccupancyPercent=30 -XX:SoftRefLRUPolicyMSPerMB=0 -XX:-OmitStackTraceInFastThrow "
       "-XX:+AlwaysPreTouch -XX:MaxDirectMemorySize=15g -XX:-UseLargePages")


def load_probe():
    spec = importlib.util.spec_from_file_location("probe", os.path.join(INTEROP, "probe.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


probe = load_probe()


# ---- one server ------------------------------------------------------------------------------

class Server:
    """A NameServer and a broker with an empty store; the figures are those of the broker. `name` is a kind of server, or that and
    the heap of its broker: apache-4g."""

    def __init__(self, name, options, settings=""):
        self.kind, _, heap = name.partition("-")
        self.options = options
        self.folder = os.path.join(options.folder, self.kind)
        port = probe.free_ports()
        self.namesrv, self.broker = f"127.0.0.1:{port}", f"127.0.0.1:{port + 10}"
        env = dict(os.environ, MQD_BUILD=options.build, APACHE_LIB=options.apache_lib(), BROKER_SETTINGS=settings,
                   APACHE_BROKER_JAVA=options.jvm.format(heap=heap or options.heaps[0]))
        try:
            subprocess.run([os.path.join(INTEROP, "servers.sh"), "start", self.kind, self.folder, str(port), str(port + 10)],
                           env=env, check=True)
        except subprocess.CalledProcessError:
            self.stop()
            raise RuntimeError(f"{name} did not come up") from None
        except BaseException:
            self.stop()
            raise
        with open(os.path.join(self.folder, "broker.pid"), encoding="ascii") as f:
            self.pid = int(f.read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        subprocess.run([os.path.join(INTEROP, "servers.sh"), "stop", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_broker(self, how=signal.SIGTERM):
        """Ends the broker alone, and keeps its store."""
        process = os.pidfd_open(self.pid)  # readable when the last thread is gone, and with it the lock of the store
        try:
            os.kill(self.pid, how)
            if not select.select([process], [], [], STOP_S)[0]:
                raise RuntimeError(f"{self.kind} did not stop within {STOP_S} s")
        finally:
            os.close(process)

    def restart_broker(self):
        """As it was started, on the store that is there. When it was started, on the monotonic clock."""
        with open(os.path.join(self.folder, "broker.command"), encoding="utf-8") as f:
            command = shlex.split(f.read())
        with open(os.path.join(self.folder, "broker.log"), "ab") as log:
            start = time.monotonic()
            child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True, env=dict(os.environ, ROCKETMQ_HOME=self.folder))
        self.pid = child.pid
        with open(os.path.join(self.folder, "broker.pid"), "w", encoding="ascii") as f:
            f.write(str(self.pid))
        threading.Thread(target=child.wait, daemon=True).start()
        return start

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def anon_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))

    def files(self):
        """What the store has on disk: (path, stat) of each file; files come and go meanwhile."""
        for folder, _, names in os.walk(os.path.join(self.folder, "store")):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    yield path, os.stat(path)
                except FileNotFoundError:
                    pass

    def disk_bytes(self):
        """Blocks, not lengths: Apache's files are made longer than what is in them."""
        return sum(512 * stat.st_blocks for _, stat in self.files())

    def bench(self, verb, **parameters):
        """The result object of one `mqctl bench`, with the CPU time that the broker spent meanwhile. True is
        an option without a value, False is no option."""
        command = [os.path.join(self.options.build, "daemons", "ctl", "mqctl"), "bench", verb, "-n", self.namesrv,
                   "--quiet", "-o", "json"]
        for name, value in parameters.items():
            if value is not False:
                command += ["--" + name.replace("_", "-")] + ([] if value is True else [str(value)])
        cpu = self.cpu_seconds()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        cpu = self.cpu_seconds() - cpu
        try:
            result = json.loads(done.stdout)["result"]
        except (ValueError, KeyError):
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}") from None
        result["serverCpuSeconds"] = cpu
        return result

    def await_readable(self, topic, messages):
        """Apache's broker answers sends before their messages can be read, under load long before."""
        command = [os.path.join(self.options.build, "daemons", "ctl", "mqctl"), "topic", "describe", topic, "-n", self.namesrv,
                   "-o", "json"]
        deadline = time.monotonic() + READABLE_S
        while True:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0 and sum(queue["messages"] for queue in json.loads(done.stdout)) >= messages:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{topic}: not all of {messages} messages can be read after {READABLE_S} s: {done.stderr.strip()}")
            time.sleep(0.1)

    def warm_up(self, **parameters):
        """The JVM's compiler has most to gain from it."""
        self.bench("produce", **{"topic": "warmup", "connections": 16, "in_flight": 16, "warmup": "0s",
                                 "duration": f"{4000 * self.options.warmup_s:.0f}ms", **parameters})


def figures_of(result):
    messages = max(result["messages"], 1)
    return {"rate": result["messagesPerSecond"], "p50": result["latencyMs"]["p50"], "p99": result["latencyMs"]["p99"],
            "p999": result["latencyMs"]["p999"], "max": result["latencyMs"]["max"],
            "cpu": result["serverCpuSeconds"] * 1e6 / messages, "errors": result["errors"],
            "clientCpu": result["clientCpuSeconds"] / max(result["seconds"], 1e-9)}


def idle_connections(server, n):
    """KiB of the server's memory for each of n connections that have sent a heartbeat, as every client does, and then nothing."""
    before, peers = server.anon_kib(), []
    try:
        for i in range(n):
            peer = probe.Peer(server.broker)
            peers.append(peer)
            body = json.dumps({"clientID": f"idle-{i}", "consumerDataSet": [], "producerDataSet": [{"groupName": "idle"}]})
            header, _ = peer.ask(34, {}, body.encode())
            if header["code"] != 0:
                raise RuntimeError(f"a heartbeat is answered with code {header['code']}: {header.get('remark')}")
        return (server.anon_kib() - before) / n
    finally:
        for peer in peers:
            peer.close()


# ---- the command line ------------------------------------------------------------------------

def add_arguments(parser, repetitions, seconds, warmup, outputs, heaps=("1g",)):
    parser.add_argument("-l", "--list", action="store_true", help="list what there is to run")
    parser.add_argument("-r", "--repetitions", type=int, default=repetitions, metavar="N", help=f"default: {repetitions}")
    parser.add_argument("-s", "--seconds", type=float, default=seconds, help=f"of load for each figure; default: {seconds}")
    parser.add_argument("-w", "--warmup", type=float, default=warmup, metavar="SECONDS",
                        help=f"the same load before it is measured, and four times that after a start; default: {warmup}")
    parser.add_argument("-q", "--quick", action="store_true",
                        help="a second of everything, with any build: shows that it works, its figures say nothing")
    parser.add_argument("-B", "--build", default=os.path.join(TOP, "build-release"), help="release build; default: build-release")
    parser.add_argument("-o", "--output", default=".", metavar="DIR", help=f"where {outputs} go; default: here")
    parser.add_argument("-t", "--tmp", metavar="DIR", help="where the stores live: a real disk with some 30 GB free")
    parser.add_argument("--heap", dest="heaps", default=",".join(heaps), help=f"of Apache's broker; default: {','.join(heaps)}")
    parser.add_argument("--jvm", default=JVM, help="all options of Apache's JVM, in place of those of its launcher; {heap} stands for the heap")


def apache_lib():
    return subprocess.run([os.path.join(INTEROP, "run"), "server-jars"], capture_output=True, text=True, check=True).stdout.strip()


def finish_arguments(options):
    options.heaps = options.heaps.split(",")
    if options.quick:
        options.repetitions, options.seconds, options.warmup = 1, 1, 0.25
        options.heaps = options.heaps[:1]
    options.s, options.warmup_s = options.seconds, options.warmup
    options.seconds, options.warmup = f"{options.s * 1000:.0f}ms", f"{options.warmup * 1000:.0f}ms"
    options.build = os.path.realpath(options.build)
    options.apache_lib = apache_lib
    return options


def prepare(options):
    """Before the first server. Ending the tool ends the server, too."""
    if not options.quick:
        release_build(options.build)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    os.makedirs(options.output, exist_ok=True)


def release_build(build):
    """Figures of a debug build would be wrong, not merely low."""
    try:
        with open(os.path.join(build, "meson-info", "intro-buildoptions.json"), encoding="utf-8") as f:
            options = {o["name"]: o["value"] for o in json.load(f)}
    except OSError:
        sys.exit(f"{build} is not a build folder; make one: meson setup --buildtype=release -Dtests=false build-release && ninja -C build-release")
    if options["buildtype"] != "release" or options["b_sanitize"] != "none":
        sys.exit(f"{build} is a {options['buildtype']} build; only --buildtype=release is worth measuring")


def tree_commit():
    """Of the tree that this tool is of; None outside of a checkout."""
    done = subprocess.run(["git", "-C", TOP, "describe", "--always", "--dirty", "--match="], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def describe(options):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), platform.machine())
    version = subprocess.run([os.path.join(options.build, "daemons", "broker", "mq-brokerd"), "--version"], capture_output=True,
                             text=True, check=True).stdout.split()
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return {"date": datetime.date.today().isoformat(), "mqd": version[1], "commit": tree_commit(), "apache": "5.5.0", "jvm": options.jvm.format(heap=options.heaps[0]),
            "machine": f"{os.cpu_count()} × {model}, {memory_gib:.0f} GiB, Linux {platform.release()}",
            "repetitions": options.repetitions, "seconds": options.s, "warmupSeconds": options.warmup_s,
            "loadAverage": os.getloadavg()}


class Progress:
    def __init__(self, total=None):
        self.total, self.n, self.start = total, 0, time.monotonic()

    def line(self, text):
        self.n += 1
        count = f"{self.n:3}/{self.total}  " if self.total else ""
        print(f"{time.monotonic() - self.start:7.1f} s  {count}{text}", file=sys.stderr, flush=True)


def short(figures):
    numbers = {k: v for k, v in figures.items() if isinstance(v, (int, float))}
    return "  ".join(f"{k} {v:.4g}" for k, v in numbers.items()) or f"{len(figures)} points"


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(options, name, text):
    with open(os.path.join(options.output, name), "w", encoding="utf-8") as f:
        f.write(text)


def read_json(path):
    """None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


# ---- plots -----------------------------------------------------------------------------------

class Axis:
    """`ticks`: where they are, when not everywhere they would fit."""

    def __init__(self, title, is_log=False, ticks=None, unit=""):
        self.title, self.is_log, self.given, self.unit = title, is_log, ticks, unit

    def fit(self, values):
        if self.is_log:
            values = [v for v in values if v > 0] or [1]
            low, high = min(values), max(values)
            if self.given:
                self.low, self.high, self.ticks = min(low, self.given[0]), max(high, self.given[-1]), self.given
            else:
                self.low = 10.0 ** math.floor(math.log10(low))
                self.high = max(10.0 ** math.ceil(math.log10(high)), 10 * self.low)
                decades = round(math.log10(self.high / self.low))
                steps = (1, 2, 5) if decades < 3 else (1,)
                self.ticks = [s * self.low * 10 ** i for i in range(decades) for s in steps] + [self.high]
        else:
            self.low, self.high = 0, max(max(values, default=1), 1e-9) * 1.05
            step = 10.0 ** math.floor(math.log10(self.high))
            step *= next(f for f in (1, .5, .2, .1) if self.high / (step * f) >= 4)
            self.ticks = self.given or [i * step for i in range(int(self.high / step) + 1)]

    def place(self, value):
        """From 0 to 1."""
        if not self.is_log:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low) if self.high > self.low else 0.5

    def label(self, tick):
        return (f"{tick:,.0f}" if tick >= 1000 else f"{tick:g}") + self.unit


class Line:
    def __init__(self, name, points, colour, dash="", has_dots=True):
        self.name, self.points, self.colour, self.has_dots = name, points, colour, has_dots
        self.dash = f' stroke-dasharray="{dash}"' if dash else ""


def svg(title, x_axis, y_axis, lines):
    width, height, left, right, top, bottom = 760, 440, 96, 40, 66, 60
    x_axis.fit([x for line in lines for x, _ in line.points])
    y_axis.fit([y for line in lines for _, y in line.points])

    def x(v):
        return left + (width - left - right) * x_axis.place(v)

    def y(v):
        return height - bottom - (height - top - bottom) * y_axis.place(v)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>', f'<text x="{left}" y="22" font-size="15">{title}</text>']
    for tick in y_axis.ticks:
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{y_axis.label(tick)}</text>')
    for tick in x_axis.ticks:
        out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{height - bottom}" stroke="#eee"/>')
        out.append(f'<text x="{x(tick):.1f}" y="{height - bottom + 18}" text-anchor="middle">{x_axis.label(tick)}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 16}" text-anchor="middle">{x_axis.title}</text>')
    out.append(f'<text transform="translate(16 {(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">{y_axis.title}</text>')
    at = left
    for line in lines:
        path = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py in line.points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="{2 if line.has_dots else 1}"{line.dash}/>')
        if line.has_dots:
            out += [f'<circle cx="{x(px):.1f}" cy="{y(py):.1f}" r="3" fill="{line.colour}"/>' for px, py in line.points]
        out.append(f'<line x1="{at}" x2="{at + 24}" y1="44" y2="44" stroke="{line.colour}" stroke-width="2"{line.dash}/>')
        out.append(f'<text x="{at + 30}" y="48">{line.name}</text>')
        at += 52 + 6.5 * len(line.name)
    return "\n".join(out + ["</svg>"]) + "\n"
