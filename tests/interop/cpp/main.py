#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drives the unmodified C++ client, through the Python binding that ships it: main.py HOST:PORT PREFIX.

Prints, like the Java cases, `case NAME: what came of it` and `ok - NAME` or `not ok - NAME: why`. The cases run side by side.
"""
import collections
import os
import sys
import threading
import time
import traceback

from rocketmq.client import Message, MessageModel, Producer, PushConsumer, RecvMessage, SendStatus, dll, ffi_check
from rocketmq.exceptions import ProducerSendSyncFailed

DEADLINE_S = 60
CONSUMED, LATER = 0, 1
READY = "ready"  # a message that no case counts
SHOWN = ("TAGS", "KEYS", "DELAY", "REAL_TOPIC", "RETRY_TOPIC", "WAIT", "color")

NAMESRV, PREFIX = sys.argv[1:]
kept = []  # clients stay until the process ends; see main()

Got = collections.namedtuple("Got", "text times queue waited properties")


# ---- clients ----

def producer(group):
    p = Producer(f"{PREFIX}-{group}-producer")
    p.set_namesrv_addr(NAMESRV)
    ffi_check(dll.SetProducerInstanceName(p._handle, f"{group}-producer".encode()))  # pylint: disable=protected-access
    p.start()
    kept.append(p)
    await_connection(p)
    return p


def await_connection(p):
    """The first heartbeat of this client, 10 ms after its start, may be the one that connects to the broker. A send meanwhile finds no
    connection in any of its tries, which come at once, and says "No route info of this topic"; a try of an orderly one takes another
    queue. So the first message is one that may be sent again."""
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            sent(p.send_sync(message(f"{PREFIX}-ready", READY)))
            return
        except ProducerSendSyncFailed:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class Listener(PushConsumer):
    """Hands messages to `take`, one at a time, which returns CONSUMED or LATER, and keeps what came."""

    def __init__(self, group, topic, take=lambda got: CONSUMED, expression="*", instance=None, **kwargs):
        super().__init__(f"{PREFIX}-{group}", **kwargs)
        self.got = []
        self.ready = set()
        self.lock = threading.Lock()

        def on_message(_, handle):
            m = RecvMessage(handle)
            got = Got(m.body.decode(), m.reconsume_times, m.queue_id, m.store_timestamp - m.born_timestamp,
                      " ".join(f"{name}={m[name].decode()}" for name in SHOWN if m[name]))
            with self.lock:
                if got.text == READY:
                    self.ready.add(got.queue)
                    return CONSUMED
                self.got.append(got)
            return take(got)

        self.set_namesrv_addr(NAMESRV)
        self.set_instance_name(instance or f"{group}-consumer")
        self.set_thread_count(4)
        self.set_message_batch_max_size(1)
        ffi_check(dll.Subscribe(self._handle, topic.encode(), expression.encode()))
        self._register_callback(on_message)
        self.start()
        kept.append(self)

    def all(self):
        with self.lock:
            return list(self.got)

    def reached(self):
        """The queues that READY came from."""
        with self.lock:
            return set(self.ready)

    def wait(self, count):
        end = time.monotonic() + DEADLINE_S
        while len(self.all()) < count:
            check(time.monotonic() < end, f"{len(self.all())} of {count} messages after {DEADLINE_S} s")
            time.sleep(0.02)
        return self.all()


def message(topic, text, tag="A", key=None, level=0):
    m = Message(topic)
    m.set_body(text)
    m.set_tags(tag)
    m.set_property("color", "blue")
    if key:
        m.set_keys(key)
    if level:
        m.set_delay_time_level(level)
    return m


def sent(result):
    check(result.status == SendStatus.OK, f"send status is {result.status}")
    return result


def check(holds, sentence):
    if not holds:
        raise AssertionError(sentence)


# ---- cases ----

def volume():
    """Synchronous, in a batch, one-way and compressed; read by two groups, one of them by tag. This client's batch is one message for
    either server: it says nothing of a batch in its request."""
    topic, p = f"{PREFIX}-volume", producer("volume")
    big = "compressible " * 1000
    texts = [f"sync {i}" for i in range(100)] + [f"one way {i}" for i in range(30)] + [big]

    for text in texts[:100]:
        sent(p.send_sync(message(topic, text, key="key-of-" + text.replace(" ", "-"))))
    for text in texts[100:130]:
        p.send_oneway(message(topic, text, tag="B"))
    sent(p.send_sync(message(topic, big)))
    sent(p.send_batch([message(topic, f"batch {i}", tag="C") for i in range(30)]))
    every, tagged = Listener("volume-all", topic), Listener("volume-tagged", topic, expression="none || B")
    got = [g.text for g in every.wait(len(texts) + 1)]
    check(set(texts) < set(got) and len(set(got)) == len(got), "what came is not what was sent")
    check(sorted(g.text for g in tagged.wait(30)) == sorted(texts[100:130]), "by tag: what came is not what was sent")
    keyed = [g for g in every.all() if g.text == "sync 7"][0]
    return f"got {len(got)}, by tag 30; one: {keyed.properties}"


def order():
    """A selector puts what belongs together into one queue; an orderly consumer gets it in that order."""
    topic, p, steps = f"{PREFIX}-order", producer("order"), 25

    for step in range(steps):
        for queue in range(3):
            sent(p.send_orderly(message(topic, f"{queue} {step}"), queue))
    got = Listener("order", topic, orderly=True).wait(3 * steps)
    for queue in range(3):
        mine = [g for g in got if g.text.startswith(f"{queue} ")]
        check([g.text for g in mine] == [f"{queue} {step}" for step in range(steps)], f"order of queue {queue}")
        check({g.queue for g in mine} == {queue}, f"queues of {queue}")
    return f"in order {len(got)}"


def delay():
    topic, p = f"{PREFIX}-delay", producer("delay")

    # One in each queue: of an empty one this client asks in two steps where to begin, and misses what comes between them.
    for i in range(4):
        sent(p.send_sync(message(topic, f"at once {i}")))
    for level in (2, 1):
        sent(p.send_sync(message(topic, f"level {level}", level=level)))
    every = Listener("delay", topic).wait(6)
    check(len({g.queue for g in every if g.text.startswith("at once")}) == 4, "a queue was empty")
    got = sorted((g for g in every if g.text.startswith("level")), key=lambda g: g.text)
    check(got[0].waited >= 1000 and got[1].waited >= 5000, f"they came after {got[0].waited} and {got[1].waited} ms")
    return "; ".join(f"{g.text}: {g.properties}" for g in got)


def retry():
    """Fails twice, then is consumed."""
    topic, p = f"{PREFIX}-retry", producer("retry")
    c = Listener("retry", topic, lambda got: LATER if got.times < 2 else CONSUMED)

    sent(p.send_sync(message(topic, "twice", key="k")))
    return "; ".join(f"{g.text} {g.times}: {g.properties}" for g in c.wait(3))


def broadcast():
    """Each member gets everything. One that asks for its offsets while its heartbeat connects gets none, asks again after 10 s, and begins
    behind what was sent meanwhile: so the first messages are READY, until each member has its queues."""
    topic, p, count = f"{PREFIX}-broadcast", producer("broadcast"), 40
    members = [Listener("broadcast", topic, instance=f"broadcast-{i}", message_model=MessageModel.BROADCASTING) for i in range(2)]
    end = time.monotonic() + DEADLINE_S

    while any(len(m.reached()) < 4 for m in members):
        check(time.monotonic() < end, f"after {DEADLINE_S} s queues {[m.reached() for m in members]} of 4 are read")
        sent(p.send_sync(message(topic, READY)))
        time.sleep(0.02)
    for i in range(count):
        sent(p.send_sync(message(topic, f"{i}")))
    return "each got " + " and ".join(str(len({g.text for g in m.wait(count)})) for m in members)


# ---- all of them ----

def run(name, case, lines):
    try:
        lines[name] = f"case cpp-{name}: {case()}\nok - cpp-{name}"
    except Exception as e:  # pylint: disable=broad-except
        traceback.print_exc()
        lines[name] = f"case cpp-{name}: failed\nnot ok - cpp-{name}: {e}"


def main():
    cases = {"volume": volume, "order": order, "delay": delay, "retry": retry, "broadcast": broadcast}
    lines = {}
    threads = [threading.Thread(target=run, args=(name, case, lines)) for name, case in cases.items()]

    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print("\n".join(lines[name] for name in cases), flush=True)
    # The clients are not shut down, nor destroyed: this client interrupts its own threads then, and one that is just asking for a route
    # aborts the process (boost::thread_interrupted that nobody catches).
    os._exit(any("\nnot ok" in line for line in lines.values()))


main()
