"""A worker for the operator's tests: standard library only, and it does what the values tell it to.

A value is a list of words parted by spaces, several orders by ";":
  at T       ask for a timer at T            die N     write last words, exit with N
  never      want no timer                   hang      answer no more
  forget     have the state removed          wait F    go on once the file F exists (F.seen is made while waiting)
  count N    raise the counter N             grow N    make the state N bytes longer
  babble     print to the standard output    wrong     answer a number of results that is wrong
  once F     die unless the file F exists, and make it
Anything else is only noted. The state is JSON: {"seen": arrivals, "next": time or null, "pad": text}.
Each arrival gives the output (0, customer, "<value or timer@T or none>|<seen>|<watermark>|<partition>:<offset>|<size>|<key>").
Each frame gives the output (4, null, "a=2,b=1").
A model's version gives (4, "model", "<its text>|<now or soon>"); one that begins with "bad" is refused, one with "big" taken only now.
As a learner:
An example is such a value too, learnt when the watermark says so: outputs (6, "learnt", "<values>@<watermark>"), one frame of examples
gives (4, null, "examples=N"); slow N has the worker say N times that it is behind. State goes in pieces of WORKER_PIECE bytes.
What is no record and no timer gives (5, customer, "<handover, look or request>@<offset>|<the rule sets seen>") and leaves the state.
"""

import json
import os
import struct
import sys
import time

NEVER = 2**63 - 1
RULES = []
HELD = {}
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer


def unpack(data, at=0):
    """The value at `at` and where it ends."""
    byte = data[at]
    at += 1

    def number(form):
        return struct.unpack_from(">" + form, data, at)[0], at + struct.calcsize(form)

    def taken(size, at):
        return data[at : at + size], at + size

    def items(count, at):
        values = []
        for _ in range(count):
            value, at = unpack(data, at)
            values.append(value)
        return values, at

    if byte < 0x80:
        return byte, at
    if byte >= 0xE0:
        return byte - 256, at
    if 0x90 <= byte < 0xA0:
        return items(byte & 15, at)
    if 0xA0 <= byte < 0xC0:
        text, at = taken(byte & 31, at)
        return text.decode(), at
    if byte == 0xC0:
        return None, at
    if byte in (0xC2, 0xC3):
        return byte == 0xC3, at
    if byte in (0xC4, 0xC5, 0xC6):
        return taken(*number({0xC4: "B", 0xC5: "H", 0xC6: "I"}[byte]))
    if byte in (0xD9, 0xDA, 0xDB):
        text, at = taken(*number({0xD9: "B", 0xDA: "H", 0xDB: "I"}[byte]))
        return text.decode(), at
    if byte in (0xDC, 0xDD):
        return items(*number({0xDC: "H", 0xDD: "I"}[byte]))
    forms = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
    return number(forms[byte])


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xcf" + struct.pack(">Q", value) if value >= 0 else b"\xd3" + struct.pack(">q", value)
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, str):
        return b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())
    return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))


def answer(*parts):
    frame = pack(parts)
    stdout.write(struct.pack(">I", len(frame)) + frame)
    stdout.flush()


def last_words(text, code):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    os._exit(code)


class Batch:
    def __init__(self, watermark, groups):
        self.watermark = watermark
        self.groups = groups
        self.results, self.outputs, self.counters = [], [], {"frames": 1}

    def run(self):
        for customer, state, arrivals in self.groups:
            self.results.append(self.customer(customer, json.loads(state) if state else None, arrivals))
        shape = ",".join(f"{customer}={len(arrivals)}" for customer, _, arrivals in self.groups)
        self.outputs.append((4, None, shape.encode()))
        answer(2, self.results, self.outputs, self.counters)

    def count(self, name):
        self.counters[name] = self.counters.get(name, 0) + 1

    def customer(self, customer, state, arrivals):
        state = state or {"seen": 0, "next": None, "pad": ""}
        removed = False
        stays = all(arrival[2] < -1 for arrival in arrivals)
        for value, at, partition, offset, size, key in arrivals:
            if partition < -1:
                name = {-2: "handover", -3: "look", -4: "request"}[partition]
                self.outputs.append((5, customer.encode(), f"{name}@{offset}|{','.join(RULES)}".encode()))
                continue
            removed = False
            if value is None and partition == -1:
                due = state["next"] is not None and state["next"] <= self.watermark
                self.count("due" if due else "woken")
                if not due:
                    continue
                said = f"timer@{state['next']}"
                state["next"] = None
            else:
                self.count("received")
                said = "none" if value is None else value.decode()
                for order in said.split(";"):
                    removed = self.obey(state, *order.split()) or removed
            state["seen"] += 1
            key = "" if key is None else key.decode()
            text = f"{said}|{state['seen']}|{self.watermark}|{partition}:{offset}|{size}|{key}"
            self.outputs.append((0, customer.encode(), text.encode()))
            if removed:
                state["seen"] = 0
        if customer == "" or stays:
            return None, NEVER
        return b"" if removed else json.dumps(state).encode(), NEVER if state["next"] is None else state["next"]

    def obey(self, state, word="", rest=""):
        """Does as told; true if the state is to be removed."""
        if word == "at":
            state["next"] = int(rest)
        elif word == "never" or word == "forget":
            state["next"] = None
        elif word == "count":
            self.count(rest)
        elif word == "grow":
            state["pad"] += "x" * int(rest)
        elif word == "die":
            last_words("RuntimeError: told to die", int(rest))
        elif word == "hang":
            while stdin.read(1):
                pass
            time.sleep(600)
        elif word == "wait":
            open(rest + ".seen", "w").close()
            while not os.path.exists(rest):
                time.sleep(0.001)
        elif word == "once":
            if not os.path.exists(rest):
                open(rest, "w").close()
                last_words("RuntimeError: this happens once", 3)
        elif word == "babble":
            print("here I am", flush=True)
        elif word == "wrong":
            self.results.pop() if self.results else self.results.append((None, NEVER))
        return word == "forget"


class Learner:
    def __init__(self):
        self.waiting, self.learnt, self.slow, self.pieces = [], 0, 0, []

    def answer(self, kind, rest):
        getattr(self, {4: "examples", 5: "watermark", 6: "snapshot", 7: "restore"}[kind])(*rest)

    def examples(self, examples):
        for example in examples:
            value = example.decode()
            for order in value.split(";"):
                word, _, number = order.partition(" ")
                if word == "slow":
                    self.slow = int(number)
                elif word in ("die", "hang", "wait", "babble"):
                    Batch(0, []).obey({}, word, number)
            self.waiting.append(value)
        answer(4, [(4, None, f"examples={len(examples)}".encode())], {"offered": len(examples)})

    def watermark(self, watermark):
        if self.slow:
            self.slow -= 1
            answer(5, True, [(6, b"behind", str(self.slow).encode())], {})
            return
        learnt, self.waiting = self.waiting, []
        self.learnt += len(learnt)
        said = f"{','.join(learnt)}@{watermark}|{self.learnt}"
        answer(5, False, [(6, b"learnt", said.encode())] if learnt else [], {"learnt": len(learnt)})

    def snapshot(self, piece):
        size = int(os.environ.get("WORKER_PIECE", "1000"))
        state = json.dumps([self.waiting, self.learnt]).encode()
        pieces = [state[at : at + size] for at in range(0, len(state), size)]
        answer(6, len(pieces), pieces[piece])

    def restore(self, piece, count, data):
        self.pieces.append(data)
        said = []
        if piece == count - 1:
            self.waiting, self.learnt = json.loads(b"".join(self.pieces))
            said = [(4, b"restored", f"{count > 1}".encode())]
        answer(7, said, {})


def main():
    learner = Learner()
    frozen = os.environ.get("WORKER_FROZEN")
    while len(header := stdin.read(4)) == 4:
        frame, _ = unpack(stdin.read(struct.unpack(">I", header)[0]))
        if frame[0] == 0:
            if frozen:
                time.sleep(600)
            settings = json.loads(frame[4])
            sys.stderr.write(f"worker {frame[2]} of {frame[3]} in {os.environ.get('PYTHONPATH')} with {settings}\n")
            answer(0, f"test worker, protocol {frame[1]}")
        elif frame[0] == 1:
            rules = json.loads(frame[1])
            good = not rules.get("bad")
            RULES.append(f"{rules.get('version')}{'w' if rules.get('warming') else ''}")
            said = (4, b"rules", f"version {rules.get('version')} {'taken' if good else 'refused'}".encode())
            answer(1, good, "" if good else "line 1: it is bad", [said], {"rules_seen": 1})
        elif frame[0] == 3:
            header, _ = unpack(frame[1])
            name, version = (tuple(header[:2]), header[2]) if isinstance(header, list) else ("", 0)
            said = frame[1][-20:].decode("latin-1").split("#")[-1]
            if not said.startswith("bad") and (frame[2] or not said.startswith("big")):
                HELD[name] = max(version, HELD.get(name, 0))
            said = f"{said}|{'now' if frame[2] else 'soon'}"
            answer(3, HELD.get(name, 0), [(4, b"model", said.encode())], {"models_seen": 1})
        elif frame[0] > 3:
            learner.answer(frame[0], frame[1:])
        else:
            Batch(frame[1], frame[2]).run()


main()
