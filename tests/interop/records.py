#!/usr/bin/env python3
"""A second implementation of sections 1 to 4 of docs/protocol.md.

Reads the vectors out of the document and opens, takes apart and verifies every
record with other libraries than covim uses.  It shares no code with covim, so
what it understands is what the document says.
"""
import hashlib
import hmac
import re
import struct
import sys

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey, Ed25519PublicKey)
    from cryptography.hazmat.primitives.asymmetric.x25519 import (
        X25519PrivateKey, X25519PublicKey)
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.serialization import (Encoding,
                                                              PublicFormat)
except ImportError:
    print("skipped: python3-cryptography is not installed")
    sys.exit(77)

NOW = 1749989400
SALT = bytes([0x5a]) * 16


def vectors(text):
    found = re.findall(r"^vector (\S+)\n((?:[0-9a-f]+\n)+)", text, re.M)
    return {name: bytes.fromhex(hexes.replace("\n", ""))
            for name, hexes in found}


def hkdf(ikm, info, length, salt=b""):
    prk = hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()
    out = block = b""
    n = 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([n]),
                         hashlib.sha256).digest()
        out += block
        n += 1
    return out[:length]


def raw(key):
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def public(fill):
    seed = bytes([fill]) * 32
    return raw(Ed25519PrivateKey.from_private_bytes(seed).public_key())


def verify(key, signature, message):
    Ed25519PublicKey.from_public_bytes(key).verify(signature, message)


def agree(secret, public_key):
    return X25519PrivateKey.from_private_bytes(secret).exchange(
        X25519PublicKey.from_public_bytes(public_key))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        part = self.data[self.at:self.at + n]
        assert len(part) == n, "truncated"
        self.at += n
        return part

    def number(self, form):
        return struct.unpack(">" + form,
                             self.take(struct.calcsize(">" + form)))[0]

    def candidates(self):
        out = []
        for _ in range(self.number("B")):
            kind, pref = self.number("B"), self.number("B")
            ip = self.take(16 if kind & 0x10 else 4)
            out.append((kind & 0x0f, pref, ip, self.number("H")))
        return out

    def gates(self):
        for _ in range(self.number("B")):
            self.take(33)
            self.take({4: 4, 6: 16}[self.number("B")] + 4)

    def signed_by(self, key, prefix):
        """The signature that follows, over everything read so far."""
        body = self.data[:self.at]
        verify(key, self.take(64), prefix + body)
        assert not any(self.data[self.at:]), "padding"


def certificate(data, node):
    identity, not_after, signature = data[:32], data[32:40], data[40:]
    verify(identity, signature, b"covim node 1" + node + not_after)
    assert struct.unpack(">Q", not_after)[0] > NOW - 120
    return identity


def chain(r, session, holder):
    issuer, parent, most = session, bytes(32), 3
    for _ in range(r.number("B")):
        grant = r.take(186)
        assert grant[:32] == issuer and grant[32:64] == parent
        verify(issuer, grant[122:], b"covim grant 1" + session + grant[:122])
        assert 0 < grant[96] <= most
        issuer, parent = grant[64:96], hashlib.sha256(grant).digest()
        most = grant[96]
    assert issuer == holder
    return most


def pointer(value, e, place, key, session):
    assert len(value) in (512, 600, 1200) and value[0] == 1
    inner = ChaCha20Poly1305(key).decrypt(value[1:13], value[13:],
                                          b"covim ptr" + place)
    r = Reader(inner)
    assert r.number("B") == 1
    seq, not_after, node = r.number("Q"), r.number("I"), r.take(32)
    assert not_after > NOW - 120
    assert not_after <= 3600 * (e + 1) + 900
    role = chain_after(r, session, node)
    box, salt, flags = r.take(32), r.take(16), r.number("H")
    candidates = r.candidates()
    r.gates()
    r.signed_by(node, b"covim ptr 1" + place)
    return dict(seq=seq, node=node, role=role, box=box, salt=salt,
                flags=flags, candidates=candidates)


def chain_after(r, session, node):
    return chain(r, session, certificate(r.take(104), node))


def knock(value, inbox, box_secret, box):
    assert len(value) == 600 and value[0] == 1
    eph = value[1:33]
    key = hkdf(agree(box_secret, eph), b"covim join" + eph + box, 32)
    r = Reader(ChaCha20Poly1305(key).decrypt(bytes(12), value[41:],
                                             inbox + b"\x01" + eph))
    req_id, seq, digest, node = (r.take(16), r.number("Q"), r.take(8),
                                 r.take(32))
    identity = certificate(r.take(104), node)
    proof = r.number("B")
    r.take({0: 0, 1: 186, 2: 24}[proof])
    name = r.take(r.number("B")).decode()
    flags = r.number("H")
    first = r.take(32) if flags & 0x8000 else eph
    candidates = r.candidates()
    r.gates()
    r.signed_by(node, b"covim join 1" + inbox + eph + box)
    return dict(req_id=req_id, seq=seq, digest=digest, node=node,
                identity=identity, proof=proof, name=name,
                candidates=candidates, shared=agree(box_secret, first))


def answer(value, place, key, first_eph, box, node):
    assert len(value) == 512 and value[0] == 1
    counter = value[1:5]
    r = Reader(ChaCha20Poly1305(key).decrypt(bytes(8) + counter, value[5:],
                                             place))
    req_id, verdict, _ = r.take(16), r.number("B"), r.number("H")
    candidates = r.candidates()
    r.gates()
    hints = r.number("H"), r.number("B"), r.number("H")
    r.signed_by(node, b"covim answer 1" + req_id + first_eph + box + counter)
    return dict(req_id=req_id, verdict=verdict, candidates=candidates,
                hints=hints, counter=struct.unpack(">I", counter)[0])


def main(path):
    with open(path, encoding="utf-8") as f:
        v = vectors(f.read())
    session, identity, node = public(1), public(2), public(3)
    guest_identity, guest = public(4), public(5)
    assert session == v["session.public"]
    assert identity == v["identity.public"] and node == v["node.public"]
    assert certificate(v["certificate"], node) == identity
    assert chain(Reader(v["grants"]), session, identity) == 3
    assert chain(Reader(v["grants.child"]), session, guest_identity) == 2

    e = NOW // 3600
    e8 = struct.pack(">Q", e)
    root = hkdf(session, b"", 32, b"covim share 1")
    place, key = hkdf(root, b"ptr loc" + e8, 20), hkdf(root, b"ptr key" + e8,
                                                       32)
    inbox = [hkdf(root, b"inbox" + e8 + node + SALT + bytes([s]), 20)
             for s in range(4)]
    assert root == v["root"]
    assert place == v["pointer.location"] and key == v["pointer.key"]
    assert inbox == [v["inbox.%d" % s] for s in range(4)]

    box_secret = bytes([0x42]) * 32
    box = raw(X25519PrivateKey.from_private_bytes(box_secret).public_key())
    assert box == v["box.public"]
    p = pointer(v["pointer"], e, place, key, session)
    assert p["node"] == node and p["role"] == 3 and p["box"] == box
    assert p["salt"] == SALT and p["flags"] & 0x0180 == 0x0080
    assert [c[:2] + c[3:] for c in p["candidates"]] == [
        (1, 200, 40000), (1, 199, 40001), (1, 198, 40002)]
    gone = pointer(v["pointer.gone"], e, place, key, session)
    assert gone["flags"] & 0x0100 and gone["seq"] == p["seq"] + 1
    digest = hashlib.sha256(v["pointer"]).digest()[:8]
    assert digest == v["pointer.digest"]

    slot = hashlib.sha256(guest).digest()[0] % 4
    assert bytes([slot]) == v["knock.slot"]
    first = knock(v["knock"], inbox[slot], box_secret, box)
    assert first["node"] == guest and first["identity"] == guest_identity
    assert first["digest"] == digest and first["seq"] == p["seq"]
    assert first["proof"] == 1 and first["name"] == "Ada"
    again = knock(v["knock.again"], inbox[(slot + 1) % 4], box_secret, box)
    assert again["req_id"] == first["req_id"] and again["proof"] == 0
    assert first["shared"] == again["shared"] == v["shared"]
    work = hashlib.sha256(inbox[slot] + v["knock"][1:33] +
                          v["knock"][-16:] + v["knock.pow12"]).digest()
    assert work[0] == 0 and work[1] < 16

    place, key = (hkdf(v["shared"], b"reply loc", 20),
                  hkdf(v["shared"], b"reply", 32))
    assert place == v["answer.location"] and key == v["answer.key"]
    a = answer(v["answer"], place, key, v["eph.public"], box, node)
    assert a["req_id"] == first["req_id"] and a["counter"] == 1
    assert a["verdict"] == 1 and a["hints"] == (80, 1, 140)
    assert len(a["candidates"]) == 1
    print("all records of docs/protocol.md, sections 1 to 4, verified")


if __name__ == "__main__":
    main(sys.argv[1])
