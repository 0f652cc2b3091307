# What is behind a sandbox's wall, for a test of the doctor: takes TCP and says nothing of its own, answers UDP. Knows of names that example.com is one.

import socket, sys, threading

TCP4, TCP6 = [("0.0.0.0", p) for p in (80, 443, 853)], [("::", 443)]


def answer(question):
    known = b"\x07example\x03com" in question
    head = question[:2] + (b"\x81\x80" if known else b"\x81\x83") + b"\0\1" + (b"\0\1" if known else b"\0\0") + b"\0\0\0\0"
    end = question.index(b"\0", 12) + 5
    a = known and question[end - 3] == 1
    head = head if a or not known else question[:2] + b"\x81\x80\0\1\0\0\0\0\0\0"
    return head + question[12:end] + (b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x07" if a else b"")


def listen(family, address):
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(address)
    server.listen(64)
    held = []
    while True:
        held.append(server.accept())


def datagrams(family, address, source):
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((source, address[1]))
    while True:
        octets, peer = server.recvfrom(4096)
        try:
            server.sendto(answer(octets) if address[1] == 53 else b"\xc0" + octets[:40], peer)
        except ValueError:
            pass


# UDP answers must come from the address that was asked.
for family, address in [(socket.AF_INET, a) for a in TCP4] + [(socket.AF_INET6, a) for a in TCP6]:
    threading.Thread(target=listen, args=(family, address), daemon=True).start()
for source in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    for port in (53, 443):
        threading.Thread(target=datagrams, args=(family, ("", port), source), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
