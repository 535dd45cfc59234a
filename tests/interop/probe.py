#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Raw requests to a NameServer and a broker, for answers that no client library shows whole.

  probe.py ports [PAIRS]                          prints a free port, the ones 8, 10 and 11 above it free too; and so 20 above, …
  probe.py wait HOST:PORT [--pid-files FILE...]   until the NameServer knows a broker that serves
  probe.py gone HOST:PORT                         until the NameServer knows no broker
  probe.py topics HOST:PORT TOPIC...              makes topics with 4 queues and waits for their routes
  probe.py run HOST:PORT                          prints every answer, with what differs between runs replaced

`run` prints one line for each request: `probe NAME: code=N remark="..." ext={...} body=...`. Nothing is judged here; the
lines are compared with those of Apache's server (expected/probe.txt).
"""
import itertools
import json
import os
import random
import re
import socket
import struct
import sys
import time
import zlib

DEADLINE_S = 60
V5_5_0 = 513  # MQVersion.Version.V5_5_0's ordinal: routes in strict JSON from 401 on
FLAG_ONEWAY = 2


class Peer:
    """One connection with one request in flight."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        self.opaque = itertools.count(1)
        self.notices = []  # groups that code 40 named

    def close(self):
        self.sock.close()

    def _read(self, size):
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise ConnectionError("the peer closed the connection")
            data += part
        return data

    def send(self, code, ext=None, body=b"", flag=0, version=V5_5_0):
        opaque = next(self.opaque)
        header = json.dumps({"code": code, "extFields": {k: str(v) for k, v in (ext or {}).items()},
                             "flag": flag, "language": "JAVA", "opaque": opaque,
                             "serializeTypeCurrentRPC": "JSON", "version": version},
                            separators=(",", ":")).encode()
        self.sock.sendall(struct.pack(">II", 4 + len(header) + len(body), len(header)) + header + body)
        return opaque

    def ask(self, code, ext=None, body=b"", **kwargs):
        """Returns (header, body) of the answer; of requests of the server in between only notices are remembered."""
        opaque = self.send(code, ext, body, **kwargs)
        while True:
            size, mark = struct.unpack(">II", self._read(8))
            header = json.loads(self._read(mark & 0xFFFFFF))
            body = self._read(size - 4 - (mark & 0xFFFFFF))
            if header["flag"] & 1 and header["opaque"] == opaque:
                return header, body
            if header["code"] == 40 and not header["flag"] & 1:
                self.notices.append(header["extFields"]["consumerGroup"])
            if header["flag"] & 1:
                raise ValueError(f"an answer to request {header['opaque']}, which wants none")


def parse_json(text):
    """Server bodies may have bare numbers and flat objects as keys."""
    text = re.sub(r'([{,])(-?\d+):', r'\1"\2":', text)
    text = re.sub(r'(?<=[{,])(\{[^{}]*\}):', lambda m: json.dumps(m[1]) + ":", text)
    return json.loads(text)


# ---- ports -----------------------------------------------------------------------------------

def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_ports(pairs=1):
    """Of the first NameServer; its broker's is 10 above, with its second port (- 2), Apache's replication (+ 1) and proxy (+ 2, + 3)."""
    for base in random.sample(range(27000, 32000, 20 * pairs), 5000 // (20 * pairs)):
        if all(is_free(base + 20 * pair + i) for pair in range(pairs) for i in (0, 8, 10, 11, 12, 13)):
            return base
    sys.exit("probe.py: no free ports between 27000 and 32000")


# ---- waiting ---------------------------------------------------------------------------------

def alive(pid_files):
    for name in pid_files:
        with open(name, encoding="ascii") as f:
            pid = int(f.read())
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.exit(f"probe.py: the server of {name} has exited")


def serving_broker(namesrv):
    """The address of a broker that the NameServer routes to and that answers itself, or an exception."""
    peer = Peer(namesrv)
    try:
        _, body = peer.ask(105, {"topic": "TBW102"})
        broker = parse_json(body.decode())["brokerDatas"][0]["brokerAddrs"]["0"]
    finally:
        peer.close()
    peer = Peer(broker)
    try:
        header, _ = peer.ask(30, {"topic": "TBW102", "queueId": 0})
        if header["code"] != 0:
            raise ValueError(f"the broker answers code {header['code']}")
    finally:
        peer.close()
    return broker


def wait(namesrv, pid_files):
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            broker = serving_broker(namesrv)
            alive(pid_files)  # else others have the ports
            return broker
        except (OSError, ValueError, KeyError, IndexError) as e:
            if time.monotonic() > deadline:
                sys.exit(f"probe.py: {namesrv} has no serving broker after {DEADLINE_S} s: {e}")
        alive(pid_files)
        time.sleep(0.05)


def gone(namesrv):
    deadline = time.monotonic() + DEADLINE_S
    peer = Peer(namesrv)
    while peer.ask(105, {"topic": "TBW102"})[0]["code"] != 17:
        if time.monotonic() > deadline:
            sys.exit(f"probe.py: {namesrv} still routes to a broker after {DEADLINE_S} s")
        time.sleep(0.05)
    peer.close()


# ---- the requests -----------------------------------------------------------------------------

def send_v1(topic, **fields):
    return {"producerGroup": "probe", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": 4,
            "queueId": 0, "sysFlag": 0, "bornTimestamp": int(time.time() * 1000), "flag": 0,
            "properties": "", **fields}


def send_v2(topic, **fields):
    return {"a": "probe", "b": topic, "c": "TBW102", "d": 4, "e": 0, "f": 0, "g": int(time.time() * 1000), "h": 0,
            "i": "", "j": 0, "k": "false", "m": "false", **fields}


def pull(topic, offset, group="probe-group", **fields):
    """Bit 2 of sysFlag: the subscription is in the header. No bit 1: the answer comes at once."""
    return {"consumerGroup": group, "topic": topic, "queueId": 0, "queueOffset": offset, "maxMsgNums": 32,
            "sysFlag": 4, "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 0,
            "expressionType": "TAG", **fields}


def topic_config(topic, read, write, perm=6, **fields):
    return {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": read, "writeQueueNums": write, "perm": perm,
            "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": "false", **fields}


# What a header says, by its name in version 1 and in version 2.
SEND_FIELDS = {"producerGroup": "a", "topic": "b", "defaultTopic": "c", "defaultTopicQueueNums": "d", "queueId": "e", "sysFlag": "f",
               "bornTimestamp": "g", "flag": "h", "properties": "i", "reconsumeTimes": "j", "unitMode": "k", "maxReconsumeTimes": "l",
               "batch": "m"}


def sends_in_need():
    """Each kind of send without each field, and with a word where a number belongs; to a topic that is there and to one that is not."""
    def without(fields, name):
        return {k: v for k, v in fields.items() if k != name}

    there = "ProbeFields"
    more = {"reconsumeTimes": 0, "unitMode": "false", "maxReconsumeTimes": 16, "batch": "false"}
    for v1, v2 in SEND_FIELDS.items():
        yield f"send-v1-without-{v1}", 10, without(send_v1(there, **more), v1), b"x"
        yield f"send-v2-without-{v1}", 310, without(send_v2(there), v2), b"x"
        yield f"send-batch-without-{v1}", 320, without(send_v2(there, m="true"), v2), batch_entry(b"x")
    for v1 in ("defaultTopicQueueNums", "queueId", "sysFlag", "bornTimestamp", "flag", "reconsumeTimes", "maxReconsumeTimes"):
        yield f"send-v1-word-as-{v1}", 10, send_v1(there, **{**more, v1: "x"}), b"x"
        yield f"send-v2-word-as-{v1}", 310, send_v2(there, **{SEND_FIELDS[v1]: "x"}), b"x"
    yield "send-v1-word-as-batch", 10, send_v1(there, batch="x"), b"x"
    for v1, v2 in list(SEND_FIELDS.items())[:4]:
        yield f"send-v1-to-be-made-without-{v1}", 10, without(send_v1("ProbeMade1" + v2), v1), b"x"
        yield f"send-v2-to-be-made-without-{v1}", 310, without(send_v2("ProbeMade2" + v2), v2), b"x"
    yield "send-without-any", 10, {}, b"x"


def batch_entry(body, properties=b""):
    """MessageDecoder.encodeMessage: size, magic, crc, flag, body, properties; the broker fills in the rest."""
    return struct.pack(">IIII", 22 + len(body) + len(properties), 0, 0, 0) + \
        struct.pack(">I", len(body)) + body + struct.pack(">H", len(properties)) + properties


def heartbeat(client, group, topic, sub_version=1, model="CLUSTERING", **more):
    return json.dumps({
        "clientID": client,
        "consumerDataSet": [{
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "consumeType": "CONSUME_PASSIVELY", "groupName": group,
            "messageModel": model, "unitMode": False,
            "subscriptionDataSet": [] if more.get("withoutSub") else [
                {"classFilterMode": False, "codeSet": [], "expressionType": "TAG",
                 "subString": "*", "subVersion": sub_version, "tagsSet": [], "topic": topic}]}],
        "producerDataSet": [{"groupName": "probe"}], **more}).encode()


def queue(topic, queue_id):
    return {"brokerName": "broker-a", "queueId": queue_id, "topic": topic}


def lock(client, group, queues):
    return json.dumps({"clientId": client, "consumerGroup": group, "mqSet": queues}).encode()


# ---- what a broker tells a NameServer ----

REGISTRANT = {"brokerName": "probe-broker", "brokerAddr": "10.9.8.7:10911", "clusterName": "ProbeCluster", "brokerId": 0}
PACKED = {**REGISTRANT, "brokerName": "probe-packed", "brokerAddr": "10.9.8.6:10911"}


def data_version(counter):
    return {"counter": counter, "stateVersion": 0, "timestamp": 1700000000000}


def registration(counter, *topics):
    table = {t: {"attributes": {}, "order": False, "perm": 6, "readQueueNums": 4, "topicFilterType": "SINGLE_TAG", "topicName": t,
                 "topicSysFlag": 0, "writeQueueNums": 4} for t in topics}
    return json.dumps({"filterServerList": [], "topicConfigSerializeWrapper": {
        "dataVersion": data_version(counter), "topicConfigTable": table}}).encode()


def packed_registration(counter, *topics):
    """RegisterBrokerBody.encode with compression."""
    def sized(text):
        return struct.pack(">I", len(text)) + text.encode()
    return zlib.compress(sized(json.dumps(data_version(counter))) + struct.pack(">I", len(topics)) +
                         b"".join(sized(f"{t} 4 4 6 SINGLE_TAG {{}}") for t in topics) + sized("[]") + struct.pack(">I", 0))


def register(broker, **fields):
    return {**broker, "haServerAddr": "10.9.8.7:10912", "compressed": "false", "bodyCrc32": 0, **fields}


def registrations():
    two = registration(1, "ProbeRegA", "ProbeRegB")
    yield "ns-system-topics", 304, {}, b""
    yield "register-one-topic-first", 103, register(REGISTRANT), registration(1, "ProbeRegA")
    yield "register-wrong-crc", 103, register(REGISTRANT, bodyCrc32=4711), two
    yield "register-garbage", 103, register(REGISTRANT), b"{"
    yield "data-version-unknown", 322, REGISTRANT, json.dumps(data_version(1)).encode()
    yield "register", 103, register(REGISTRANT, bodyCrc32=zlib.crc32(two) & 0x7FFFFFFF), two
    yield "register-one-topic-more", 103, register(REGISTRANT), registration(2, "ProbeRegC")
    yield "register-packed", 103, register(PACKED, compressed="true"), packed_registration(1, "ProbeRegA", "ProbeRegP")
    yield "register-packed-garbage", 103, register(PACKED, compressed="true"), b"no zlib"
    yield "data-version-same", 322, REGISTRANT, json.dumps(data_version(2)).encode()
    yield "data-version-other", 322, REGISTRANT, json.dumps(data_version(3)).encode()
    yield "broker-heartbeat", 904, REGISTRANT, b""
    yield "broker-heartbeat-unknown", 904, {**REGISTRANT, "brokerAddr": "10.9.8.5:10911"}, b""
    yield "route-registered", 105, {"topic": "ProbeRegA"}, b""
    yield "route-registered-more", 105, {"topic": "ProbeRegC"}, b""
    yield "route-packed", 105, {"topic": "ProbeRegP"}, b""
    yield "route-shape-standard", 105, {"topic": "ProbeRegC", "acceptStandardJsonOnly": "true"}, b"", {"version": 400}
    yield "route-shape-old", 105, {"topic": "ProbeRegC"}, b"", {"version": 400}
    yield "route-shape-new", 105, {"topic": "ProbeRegC"}, b""
    yield "cluster-registered", 106, {}, b""
    yield "topics-registered", 224, {"cluster": "ProbeCluster"}, b""
    yield "register-topic", 217, {"topic": "ProbeRegT"}, json.dumps({"queueDatas": [
        {"brokerName": "probe-broker", "perm": 6, "readQueueNums": 2, "writeQueueNums": 2, "topicSysFlag": 1}]}).encode()
    yield "register-topic-unknown-broker", 217, {"topic": "ProbeRegU"}, json.dumps({"queueDatas": [
        {"brokerName": "no-such-broker", "perm": 6, "readQueueNums": 2, "writeQueueNums": 2, "topicSysFlag": 0}]}).encode()
    yield "route-register-topic", 105, {"topic": "ProbeRegT"}, b""
    yield "route-register-topic-unknown-broker", 105, {"topic": "ProbeRegU"}, b""
    yield "unit-topics", 311, {}, b""
    yield "unit-sub-topics", 312, {}, b""
    yield "unit-sub-ununit-topics", 313, {}, b""
    yield "member-group", 901, REGISTRANT, b""
    yield "member-group-unknown", 901, {"clusterName": "ProbeCluster", "brokerName": "no-such-broker"}, b""
    yield "wipe-registered", 205, {"brokerName": "probe-broker"}, b""
    yield "route-wiped-registered", 105, {"topic": "ProbeRegC"}, b""
    yield "register-same-version", 103, register(REGISTRANT), registration(2, "ProbeRegA", "ProbeRegC")
    yield "route-still-wiped", 105, {"topic": "ProbeRegC"}, b""
    yield "delete-topic-other-cluster", 216, {"topic": "ProbeRegA", "clusterName": "DefaultCluster"}, b""
    yield "route-not-deleted", 105, {"topic": "ProbeRegA"}, b""
    yield "unregister-broker", 104, REGISTRANT, b""
    yield "unregister-broker-unknown", 104, REGISTRANT, b""
    yield "route-unregistered", 105, {"topic": "ProbeRegC"}, b""
    yield "unregister-packed", 104, PACKED, b""
    yield "route-unregistered-packed", 105, {"topic": "ProbeRegP"}, b""
    yield "ns-config", 319, {}, b""
    yield "ns-config-forbidden", 318, {}, b"kvConfigPath=/tmp/elsewhere"


def assignment(group, topic, client, strategy="AVG", model="CLUSTERING"):
    return json.dumps({"clientId": client, "consumerGroup": group, "messageModel": model, "strategyName": strategy,
                       "topic": topic}).encode()


def request_mode(group, topic, **fields):
    return json.dumps({"consumerGroup": group, "topic": topic, **fields}).encode()


def requests():
    """(name, peer, code, fields, body[, more for ask()]): in this order, because later ones look at what earlier ones made."""
    ns, br = "namesrv", "broker"
    topic, group, me = "Probe", "probe-group", "127.0.0.1@probe"
    now = int(time.time() * 1000)

    yield "no-topic", ns, 105, {}, b""
    yield "no-queue", br, 30, {"topic": topic}, b""
    yield "no-fields", br, 310, {}, b"x"
    yield "queue-not-a-number", br, 30, {"topic": topic, "queueId": "x"}, b""
    yield "namesrv-unknown-code", ns, 7777, {}, b""
    yield "broker-unknown-code", br, 7777, {}, b""
    yield "route-unknown-topic", ns, 105, {"topic": "NoSuchTopic"}, b""
    yield "route-template", ns, 105, {"topic": "TBW102"}, b""
    yield "cluster", ns, 106, {}, b""
    yield "topics-of-cluster", ns, 224, {"cluster": "DefaultCluster"}, b""
    yield "topics-of-unknown-cluster", ns, 224, {"cluster": "NoSuchCluster"}, b""
    yield "all-topics", ns, 206, {}, b""
    yield "kv-put", ns, 100, {"namespace": "Probe", "key": "k", "value": "v"}, b""
    yield "kv-get", ns, 101, {"namespace": "Probe", "key": "k"}, b""
    yield "kv-get-absent", ns, 101, {"namespace": "Probe", "key": "absent"}, b""
    yield "kv-list", ns, 219, {"namespace": "Probe"}, b""
    yield "kv-list-absent", ns, 219, {"namespace": "NoSuchNamespace"}, b""
    yield "kv-delete", ns, 102, {"namespace": "Probe", "key": "k"}, b""
    yield "kv-get-deleted", ns, 101, {"namespace": "Probe", "key": "k"}, b""

    yield "create-topic", br, 17, topic_config(topic, 4, 4), b""
    yield "create-topic-bad-name", br, 17, topic_config("bad name", 4, 4), b""
    yield "create-topic-system-name", br, 17, topic_config("TBW102", 4, 4), b""
    yield "create-topic-long-name", br, 17, topic_config("t" * 128, 4, 4), b""
    yield "create-topic-no-name", br, 17, topic_config("", 4, 4), b""
    yield "create-topic-one-queue", br, 17, topic_config("ProbeOneQueue", 1, 1), b""
    yield "create-topic-more-read", br, 17, topic_config("ProbeMoreRead", 6, 2), b""
    yield "create-topic-read-only", br, 17, topic_config("ProbeReadOnly", 4, 4, perm=4), b""
    yield "create-topic-write-only", br, 17, topic_config("ProbeWriteOnly", 4, 4, perm=2), b""
    yield "create-topic-for-fields", br, 17, topic_config("ProbeFields", 1, 1), b""
    yield "route-more-read", ns, 105, {"topic": "ProbeMoreRead"}, b""

    yield "send-v1", br, 10, send_v1(topic, properties="KEYS\x01key1\x02TAGS\x01A\x02UNIQ_KEY\x01" + "0" * 31 + "1\x02"), b"one"
    yield "send-v2", br, 310, send_v2(topic, i="TAGS\x01B\x02"), b"two"
    yield "send-batch", br, 320, send_v2(topic, m="true"), batch_entry(b"three") + batch_entry(b"four", b"TAGS\x01A\x02")
    yield "send-batch-code-without-m", br, 320, send_v2(topic, e=1), batch_entry(b"one message")
    yield "send-negative-queue", br, 310, send_v2("ProbeOneQueue", e=-1), b"x"
    yield "send-queue-4-of-4", br, 310, send_v2(topic, e=4), b"x"
    yield "send-read-queue", br, 310, send_v2("ProbeMoreRead", e=5), b"x"
    yield "send-queue-beyond-read", br, 310, send_v2("ProbeMoreRead", e=6), b"x"
    yield "send-read-only", br, 310, send_v2("ProbeReadOnly"), b"x"
    yield "send-write-only", br, 310, send_v2("ProbeWriteOnly"), b"x"
    yield "send-bad-name", br, 310, send_v2("bad name"), b"x"
    yield "send-blank-name", br, 310, send_v2(""), b"x"
    yield "send-long-name", br, 310, send_v2("t" * 128), b"x"
    yield "send-long-dead-letter", br, 310, send_v2("%DLQ%" + "l" * 200), b"x"
    yield "send-system-topic", br, 310, send_v2("RMQ_SYS_TRANS_HALF_TOPIC"), b"x"
    yield "send-no-template", br, 310, send_v2("ProbeNoTemplate", c="NoSuchTemplate"), b"x"
    for name, *request in sends_in_need():
        yield name, br, *request
    yield "send-auto-create", br, 310, send_v2("ProbeAuto", d=16), b"x"
    yield "route-auto-created", ns, 105, {"topic": "ProbeAuto"}, b""
    yield "send-body-at-limit", br, 310, send_v2("ProbeBig"), b"x" * (4 << 20)
    yield "send-body-too-big", br, 310, send_v2("ProbeBig"), b"x" * ((4 << 20) + 1)
    yield "send-properties-too-big", br, 310, send_v2(topic, i="k\x01" + "v" * 32768 + "\x02"), b"x"

    yield "max-offset", br, 30, {"topic": topic, "queueId": 0}, b""
    yield "max-offset-unknown-topic", br, 30, {"topic": "NoSuchTopic", "queueId": 0}, b""
    yield "max-offset-bad-queue", br, 30, {"topic": topic, "queueId": 9}, b""
    yield "min-offset", br, 31, {"topic": topic, "queueId": 0}, b""
    yield "min-offset-unknown-topic", br, 31, {"topic": "NoSuchTopic", "queueId": 0}, b""
    yield "search-past", br, 29, {"topic": topic, "queueId": 0, "timestamp": now - 3600000}, b""
    yield "search-future", br, 29, {"topic": topic, "queueId": 0, "timestamp": now + 3600000}, b""
    yield "search-past-upper", br, 29, {"topic": topic, "queueId": 0, "timestamp": now - 3600000, "boundaryType": "UPPER"}, b""
    yield "search-future-upper", br, 29, {"topic": topic, "queueId": 0, "timestamp": now + 3600000, "boundaryType": "UPPER"}, b""
    yield "search-unknown-boundary", br, 29, {"topic": topic, "queueId": 0, "timestamp": now + 3600000, "boundaryType": "MIDDLE"}, b""
    yield "search-empty-queue", br, 29, {"topic": topic, "queueId": 3, "timestamp": now}, b""

    yield "pull-all", br, 11, pull(topic, 0), b""
    yield "pull-two", br, 11, pull(topic, 0, maxMsgNums=2), b""
    yield "pull-by-tag", br, 11, pull(topic, 0, subscription="A"), b""
    yield "pull-by-two-tags", br, 11, pull(topic, 0, subscription="A||B"), b""
    yield "pull-no-such-tag", br, 11, pull(topic, 0, subscription="Z"), b""
    yield "pull-at-end", br, 11, pull(topic, 4), b""
    yield "pull-beyond-end", br, 11, pull(topic, 100), b""
    yield "pull-negative-offset", br, 11, pull(topic, -5), b""
    yield "pull-empty-queue", br, 11, pull(topic, 0, queueId=3), b""
    yield "pull-empty-queue-beyond", br, 11, pull(topic, 7, queueId=3), b""
    yield "pull-bad-queue", br, 11, pull(topic, 0, queueId=9), b""
    yield "pull-unknown-topic", br, 11, pull("NoSuchTopic", 0), b""
    yield "pull-write-only", br, 11, pull("ProbeWriteOnly", 0), b""
    yield "pull-read-only", br, 11, pull("ProbeReadOnly", 0), b""
    yield "lite-pull", br, 361, pull(topic, 0, sysFlag=4 + 16), b""
    yield "pull-without-heartbeat", br, 11, pull(topic, 0, group="probe-silent", sysFlag=0), b""

    yield "group-members-none", br, 38, {"consumerGroup": "probe-nobody"}, b""
    yield "heartbeat", br, 34, {}, heartbeat(me, group, topic)
    yield "group-members", br, 38, {"consumerGroup": group}, b""
    yield "pull-after-heartbeat", br, 11, pull(topic, 0, sysFlag=0, subVersion=1), b""
    yield "pull-newer-subscription", br, 11, pull(topic, 0, sysFlag=0, subVersion=2), b""
    yield "pull-unsubscribed-topic", br, 11, pull("ProbeReadOnly", 0, sysFlag=0, subVersion=1), b""
    yield "heartbeat-garbage", br, 34, {}, b"{"

    yield "assignment", br, 400, {}, assignment(group, topic, me)
    yield "assignment-by-circle", br, 400, {}, assignment(group, topic, me, "AVG_BY_CIRCLE")
    yield "assignment-other-strategy", br, 400, {}, assignment(group, topic, me, "MACHINE_ROOM")
    yield "assignment-stranger", br, 400, {}, assignment(group, topic, "127.0.0.1@stranger")
    yield "assignment-no-members", br, 400, {}, assignment("probe-nobody", topic, me)
    yield "assignment-broadcast", br, 400, {}, assignment("probe-nobody", topic, me, model="BROADCASTING")
    yield "assignment-unknown-topic", br, 400, {}, assignment(group, "NoSuchTopic", me)
    yield "assignment-garbage", br, 400, {}, b"{"
    yield "mode-none-set", br, 402, {}, b""
    yield "mode", br, 401, {}, request_mode(group, topic, mode="POP", popShareQueueNum=-1)
    yield "mode-retry-topic", br, 401, {}, request_mode(group, "%RETRY%" + group, mode="POP")
    yield "mode-unknown-topic", br, 401, {}, request_mode(group, "NoSuchTopic", mode="POP")
    yield "mode-bad-group", br, 401, {}, request_mode("bad name", topic, mode="POP")
    yield "mode-overflow", br, 401, {}, request_mode(group, topic, popShareQueueNum=1 << 40)
    yield "mode-garbage", br, 401, {}, b"{"
    yield "assignment-pop", br, 400, {}, assignment(group, topic, me)
    yield "mode-without", br, 401, {}, request_mode(group, "ProbeMoreRead")
    yield "mode-by-number", br, 401, {}, request_mode("probe-other", topic, mode=1, popShareQueueNum="3")
    yield "mode-unknown-name", br, 401, {}, request_mode("probe-other", "ProbeMoreRead", mode="PUSH")
    yield "modes", br, 402, {}, b""

    yield "offset-young-queue", br, 14, {"consumerGroup": group, "topic": topic, "queueId": 0}, b""
    yield "offset-empty-queue", br, 14, {"consumerGroup": group, "topic": topic, "queueId": 3}, b""
    yield "offset-no-zero", br, 14, {"consumerGroup": group, "topic": topic, "queueId": 0, "setZeroIfNotFound": "false"}, b""
    yield "commit", br, 15, {"consumerGroup": group, "topic": topic, "queueId": 0, "commitOffset": 3}, b""
    yield "offset-committed", br, 14, {"consumerGroup": group, "topic": topic, "queueId": 0}, b""
    yield "commit-unknown-topic", br, 15, {"consumerGroup": group, "topic": "NoSuchTopic", "queueId": 0, "commitOffset": 3}, b""
    yield "commit-with-pull", br, 11, pull(topic, 4, sysFlag=5, commitOffset=4), b""
    yield "offset-after-pull", br, 14, {"consumerGroup": group, "topic": topic, "queueId": 0}, b""

    yield "reset", br, 222, {"topic": topic, "group": group, "timestamp": 0, "isForce": "true", "queueId": 0, "offset": 1}, b""
    yield "reset-beyond", br, 222, {"topic": topic, "group": group, "timestamp": 0, "isForce": "true", "queueId": 0, "offset": 9}, b""
    yield "commit-while-reset", br, 15, {"consumerGroup": group, "topic": topic, "queueId": 0, "commitOffset": 3}, b""
    yield "pull-while-reset", br, 11, pull(topic, 4, group=group), b""
    yield "offset-after-reset", br, 14, {"consumerGroup": group, "topic": topic, "queueId": 0}, b""
    yield "pull-after-reset", br, 11, pull(topic, 3, group=group, sysFlag=5, commitOffset=4), b""
    yield "offset-after-both", br, 14, {"consumerGroup": group, "topic": topic, "queueId": 0}, b""
    yield "delete-expired", br, 329, {}, b""
    yield "clean-expired-queues", br, 306, {}, b""
    yield "pop-rollback", br, 200056, {}, b""

    yield "topic-stats", br, 202, {"topic": topic}, b""
    yield "consume-stats", br, 208, {"consumerGroup": group, "topic": topic}, b""
    yield "create-group", br, 200, {}, json.dumps({"groupName": "probe-made", "retryMaxTimes": 3}).encode()
    yield "create-group-bad-name", br, 200, {}, json.dumps({"groupName": "bad name"}).encode()
    yield "all-groups", br, 201, {}, b""
    yield "all-topic-configs", br, 21, {}, b""
    yield "runtime-info", br, 28, {}, b""

    yield "lock", br, 41, {}, lock(me, group, [queue(topic, 0), queue(topic, 1)])
    yield "lock-taken", br, 41, {}, lock("127.0.0.1@other", group, [queue(topic, 0), queue(topic, 2)])
    yield "unlock", br, 42, {}, lock(me, group, [queue(topic, 0)])
    yield "lock-freed", br, 41, {}, lock("127.0.0.1@other", group, [queue(topic, 0)])

    yield "query-key", br, 12, {"topic": topic, "key": "key1", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": now + 3600000}, b""
    yield "query-absent-key", br, 12, {"topic": topic, "key": "absent", "maxNum": 32, "beginTimestamp": 0, "endTimestamp": now + 3600000}, b""
    yield "query-unique-key", br, 12, {"topic": topic, "key": "0" * 31 + "1", "maxNum": 32, "beginTimestamp": 0,
                                       "endTimestamp": now + 3600000, "_UNIQUE_KEY_QUERY": "true"}, b""
    yield "view-beyond-end", br, 33, {"offset": 1 << 50}, b""

    yield "consume-stats-unknown-group", br, 208, {"consumerGroup": "probe-nobody"}, b""
    yield "connections", br, 203, {"consumerGroup": group}, b""
    yield "connections-unknown-group", br, 203, {"consumerGroup": "probe-nobody"}, b""
    yield "producers", br, 204, {"producerGroup": "probe"}, b""
    yield "producers-unknown-group", br, 204, {"producerGroup": "probe-nobody"}, b""
    yield "broker-config", br, 26, {}, b""
    yield "earliest-store-time", br, 32, {"topic": topic, "queueId": 0}, b""
    yield "earliest-store-time-empty", br, 32, {"topic": topic, "queueId": 3}, b""
    yield "earliest-store-time-unknown", br, 32, {"topic": "NoSuchTopic", "queueId": 0}, b""
    yield "end-transaction-unknown", br, 37, {"producerGroup": "probe", "tranStateTableOffset": 0, "commitLogOffset": 1 << 50,
                                              "commitOrRollback": 8, "fromTransactionCheck": "false", "msgId": "none"}, b""
    yield "consume-by-who", br, 300, {"topic": topic}, b""
    yield "topic-config", br, 351, {"topic": topic}, b""
    yield "topic-config-unknown", br, 351, {"topic": "NoSuchTopic"}, b""
    yield "group-config", br, 352, {"group": "probe-made"}, b""
    yield "group-config-unknown", br, 352, {"group": "probe-nobody"}, b""
    yield "unregister", br, 35, {"clientID": me, "consumerGroup": group, "producerGroup": "probe"}, b""
    yield "group-members-left", br, 38, {"consumerGroup": group}, b""

    yield "topic-stats-unknown", br, 202, {"topic": "NoSuchTopic"}, b""
    yield "wipe-write-perm", ns, 205, {"brokerName": "broker-a"}, b""
    yield "route-wiped", ns, 105, {"topic": "ProbeAuto"}, b""
    yield "add-write-perm", ns, 327, {"brokerName": "broker-a"}, b""
    yield "route-added", ns, 105, {"topic": "ProbeAuto"}, b""
    yield "wipe-unknown-broker", ns, 205, {"brokerName": "no-such-broker"}, b""
    yield "delete-topic", br, 215, {"topic": "ProbeAuto"}, b""
    yield "delete-topic-system", br, 215, {"topic": "TBW102"}, b""
    yield "delete-topic-unknown", br, 215, {"topic": "NoSuchTopic"}, b""
    yield "delete-topic-namesrv", ns, 216, {"topic": "ProbeAuto"}, b""
    yield "route-deleted", ns, 105, {"topic": "ProbeAuto"}, b""
    yield "pull-deleted", br, 11, pull("ProbeAuto", 0), b""

    for name, *rest in registrations():
        yield name, ns, *rest


# ---- printing -----------------------------------------------------------------------------------

# Answers whose remark is an exception's text in Java, or whose body is each server's own: only the code is comparable.
CODE_ONLY = {"no-queue", "no-fields", "queue-not-a-number", "heartbeat-garbage", "register-garbage", "register-packed-garbage",
             "broker-config", "ns-config", "ns-system-topics", "assignment-garbage", "mode-garbage", "mode-overflow"}

# Refusals of these have such remarks; successes are comparable.
IN_NEED = {name for name, *_ in sends_in_need()}

# Asked again until this holds, at most DEADLINE_S: Apache's broker puts messages into its queues and its index some time after the
# answer, and registers new topics in the background.
AWAITED = {
    "route-more-read": lambda header: header["code"] == 0,
    "route-auto-created": lambda header: header["code"] == 0,
    "max-offset": lambda header: header["extFields"].get("offset") == "4",
    "query-key": lambda header: header["code"] == 0,
    "route-unregistered": lambda header: header["code"] == 17,
    "route-unregistered-packed": lambda header: header["code"] == 17,
}

# What differs from run to run: clocks, ids, addresses, and how many system topics and groups a broker has.
VOLATILE = {"lastUpdateTimestamp", "lastTimestamp", "dataVersion", "mappingDataVersion", "totalTopicNum", "totalGroupNum",
            "consumeTps", "topicPutTps", "msgId", "transactionId", "timestamp", "indexLastUpdateTimestamp", "indexLastUpdatePhyoffset", "wipeTopicCount",
            "addTopicCount"}

# Keys of code 28 that older brokers gave and exporters still ask for.
OLD_KEYS = {"brokerVersion", "getTransferedTps"}

# Topics of Apache's broker for its own bookkeeping.
APACHES_OWN_TOPICS = re.compile(r"RMQ_SYS_ROCKSDB_|rmq_sys_|RMQ_SYS_TRANS_OP_HALF_TOPIC|OFFSET_MOVED_EVENT")


def plain(text):
    text = re.sub(r"\b127\.0\.0\.1:\d+\b", "HOST:PORT", text)
    text = re.sub(r"\bUNIQ_KEY\x01[0-9A-F]{32,}", "UNIQ_KEY\x01*", text)
    return text


def mine(table, name):
    """Tables of all topics or groups: only those made here."""
    return table not in ("topicConfigTable", "subscriptionGroupTable") or name.lower().startswith("probe")


def steady(value, key=None):
    if key in VOLATILE:
        return "*"
    if isinstance(value, dict):
        return {plain(k): steady(v, k) for k, v in sorted(value.items()) if mine(key, k)}
    if isinstance(value, list):
        kept = [v for v in value if not (key == "topicList" and APACHES_OWN_TOPICS.match(v))]
        return sorted((steady(v) for v in kept), key=lambda v: json.dumps(v, sort_keys=True))
    return plain(value) if isinstance(value, str) else value


def records(body):
    """Records as [queue, offset, flag, body, properties...]. The hosts are IPv4 here, so the body's length is at 84."""
    out = []
    while body:
        size, = struct.unpack_from(">I", body)
        queue_id, flag, queue_offset, _, sys_flag = struct.unpack_from(">IIQQI", body, 12)
        if sys_flag & 0x30:
            raise ValueError("a record with an IPv6 host")
        length, = struct.unpack_from(">I", body, 84)
        text = body[88:88 + length]
        at = 88 + length
        at += 1 + body[at]
        props = body[at + 2:size].decode()
        shown = sorted(plain(p).replace("\x01", "=") for p in props.split("\x02") if p)
        out.append([queue_id, queue_offset, flag, text.decode(errors="replace")] + shown)
        body = body[size:]
    return json.dumps(out, ensure_ascii=True)


def shown_remark(header):
    remark = header.get("remark")
    # Code 17's success carries the remark that Apache puts into answers before their handler speaks.
    if not remark or remark == "not set any response code":
        return "-"
    return plain(remark.split("\n")[0])


def shown_body(code, request, body):
    if not body:
        return "-"
    if code == 0 and request in (11, 361, 12, 33):
        return records(body)
    text = body.decode(errors="replace")
    if request == 28:
        return "keys " + " ".join(sorted(k for k in parse_json(text)["table"] if "/" not in k and k not in OLD_KEYS))
    try:
        return json.dumps(steady(parse_json(text)), sort_keys=True)
    except ValueError:
        return plain(text)


BAD_FRAMES = {
    "longer-than-any": struct.pack(">II", 1 << 30, 100) + b"{" * 1000,
    "negative-length": struct.pack(">ii", -1, 100),
    "header-beyond-frame": struct.pack(">II", 20, 1000) + b" " * 16,
    "header-not-json": struct.pack(">II", 20, 16) + b"\x00" * 16,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


def topics(namesrv, names):
    """For clients that can neither create a topic nor send to an unknown one."""
    broker, peer = Peer(wait(namesrv, [])), Peer(namesrv)
    deadline = time.monotonic() + DEADLINE_S
    for name in names:
        header, _ = broker.ask(17, topic_config(name, 4, 4))
        if header["code"] != 0:
            sys.exit(f"probe.py: topic {name}: code {header['code']} {header.get('remark')}")
        while peer.ask(105, {"topic": name})[0]["code"] != 0:
            if time.monotonic() > deadline:
                sys.exit(f"probe.py: {namesrv} has no route to {name} after {DEADLINE_S} s")
            time.sleep(0.02)


def after_bad_frame(address, data, other):
    """Whether the server goes on for `other`; the one who sent the frame may be closed at once, later, or never."""
    peer = Peer(address)
    peer.sock.sendall(data)
    code = other.ask(7777)[0]["code"]
    peer.close()
    return f"others are answered code {code}"


def ask_until(peer, name, code, fields, body, more):
    deadline = time.monotonic() + DEADLINE_S
    while True:
        header, answer = peer.ask(code, fields, body, **more)
        if name not in AWAITED or AWAITED[name](header) or time.monotonic() > deadline:
            return header, answer
        time.sleep(0.02)


class Members:
    """Who is told of changes in a group (40), and what heartbeats are answered."""

    def __init__(self, address):
        self.address = address
        self.peers = {}

    def beat(self, name, group, topic="Probe", **kwargs):
        if name not in self.peers:
            self.peers[name] = Peer(self.address)
        header, _ = self.peers[name].ask(34, {}, heartbeat(name, group, topic, **kwargs))
        return header["extFields"].get("IS_SUB_CHANGE")

    def unregister(self, name, group):
        if name not in self.peers:
            self.peers[name] = Peer(self.address)
        self.peers[name].ask(35, {"clientID": name, "consumerGroup": group})

    def close(self, name, group):
        """Returns when somebody was told, or when the group has fewer members."""
        self.peers.pop(name).close()
        deadline = time.monotonic() + DEADLINE_S
        other = next(iter(self.peers.values()))
        while name.encode() in other.ask(38, {"consumerGroup": group})[1] and time.monotonic() < deadline:
            time.sleep(0.02)

    def told(self):
        """What each was told since the last time. A notice is on its way before the one who caused it is answered; the second question
        is read when everything before the first one's answer was written."""
        for peer in self.peers.values():
            for _ in range(2):
                peer.ask(30, {"topic": "Probe", "queueId": 0})
        shown = " ".join(f"{name}={len(peer.notices)}" for name, peer in self.peers.items() if peer.notices) or "nobody"
        for peer in self.peers.values():
            peer.notices.clear()
        return shown


def members(address):
    m, group = Members(address), "probe-members"

    def step(name, answer=None):
        print(f"probe members-{name}: " + (f"IS_SUB_CHANGE={answer} " if answer else "") + f"told {m.told()}", flush=True)

    step("first", m.beat("a", group))
    step("again", m.beat("a", group))
    step("second", m.beat("b", group))
    step("newer-version", m.beat("a", group, sub_version=2))
    step("other-topic", m.beat("a", group, topic="ProbeOneQueue", sub_version=3))
    step("last-one-wins", m.beat("b", group))
    step("unregister", m.unregister("b", group))
    step("unregister-stranger", m.unregister("c", group))
    step("unregister-unknown-group", m.unregister("c", "probe-nobody"))
    m.beat("b", group)
    m.told()
    m.close("b", group)
    step("close")

    group = "probe-members-v2"
    step("v2-first", m.beat("a", group, heartbeatFingerprint=7))
    step("v2-without-subscriptions", m.beat("a", group, heartbeatFingerprint=7, withoutSub=True))
    step("v2-second-alike", m.beat("b", group, heartbeatFingerprint=7))
    step("v2-second-changes", m.beat("b", group, topic="ProbeOneQueue", sub_version=2, heartbeatFingerprint=8))
    step("v2-first-hears", m.beat("a", group, heartbeatFingerprint=7, withoutSub=True))
    step("v2-first-says-again", m.beat("a", group, sub_version=3, heartbeatFingerprint=7))
    step("v2-after-v1", m.beat("b", group, sub_version=4))
    step("v2-first-hears-v1", m.beat("a", group, heartbeatFingerprint=7, withoutSub=True))

    group = "probe-members-broadcast"
    step("broadcast-first", m.beat("a", group, model="BROADCASTING"))
    step("broadcast-second", m.beat("b", group, model="BROADCASTING"))
    step("broadcast-unregister", m.unregister("b", group))

    group = "probe-members-silent"
    m.peers["a"].ask(200, {}, json.dumps({"groupName": group, "notifyConsumerIdsChangedEnable": False}).encode())
    step("silent-first", m.beat("a", group))
    step("silent-second", m.beat("d", group))
    step("silent-unregister", m.unregister("d", group))
    m.beat("d", group)
    m.told()
    m.close("d", group)
    step("silent-close")


def run(namesrv):
    addresses = {"namesrv": namesrv, "broker": wait(namesrv, [])}
    peers = {name: Peer(address) for name, address in addresses.items()}
    for target in peers:
        # Were it answered, the next answer would be refused as unexpected.
        peers[target].send(7777, flag=FLAG_ONEWAY)
        for name, data in BAD_FRAMES.items():
            print(f"probe {target}-{name}: {after_bad_frame(addresses[target], data, peers[target])}")

    for name, target, code, fields, body, *more in requests():
        try:
            header, answer = ask_until(peers[target], name, code, fields, body, *more or [{}])
        except (OSError, ValueError) as e:
            print(f"probe {name}: {type(e).__name__}: {e}")
            peers[target].close()
            peers[target] = Peer(addresses[target])
            continue
        if name in CODE_ONLY or (name in IN_NEED and header["code"] == 1):
            print(f"probe {name}: code={header['code']}")
            continue
        if name.startswith("route-shape"):  # the dialects differ in the keys that are numbers
            print(f"probe {name}: code={header['code']} " + re.sub(r'.*"brokerAddrs":\{([^:]*):.*', r"key \1", answer.decode()))
            continue
        ext = steady(header.get("extFields") or {})
        print(f"probe {name}: code={header['code']} remark={shown_remark(header)} ext={json.dumps(ext, sort_keys=True)} "
              f"body={shown_body(header['code'], code, answer)}", flush=True)
    members(addresses["broker"])


def main():
    if len(sys.argv) in (2, 3) and sys.argv[1] == "ports":
        print(free_ports(int(sys.argv[2]) if len(sys.argv) == 3 else 1))
    elif len(sys.argv) >= 3 and sys.argv[1] == "wait":
        wait(sys.argv[2], sys.argv[4:])
    elif len(sys.argv) == 3 and sys.argv[1] == "gone":
        gone(sys.argv[2])
    elif len(sys.argv) >= 4 and sys.argv[1] == "topics":
        topics(sys.argv[2], sys.argv[3:])
    elif len(sys.argv) == 3 and sys.argv[1] == "run":
        run(sys.argv[2])
    else:
        sys.stderr.write(__doc__)
        sys.exit(64)


if __name__ == "__main__":
    main()
