#!/usr/bin/env python3
"""An HTTP proxy that knows CONNECT to port 443 and nothing else.

    connectproxy.py ADDRESS PORT [USER:PASSWORD]

One line on stdout for each request: its target and the status it got."""
import base64
import socket
import sys
import threading


def answer(client, status, reason):
    client.sendall(f"HTTP/1.1 {status} {reason}\r\n\r\n".encode())
    client.close()


def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def read_head(client):
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 8192:
        data = client.recv(4096)
        if not data:
            break
        head += data
    return head.decode("latin-1").split("\r\n")


def serve(client, login):
    lines = read_head(client)
    words = lines[0].split(" ")
    wanted = "Proxy-Authorization: Basic " + login
    if words[0] != "CONNECT":
        status, reason = 405, "Method Not Allowed"
    elif login and wanted not in lines:
        status, reason = 407, "Proxy Authentication Required"
    elif not words[1].endswith(":443"):
        status, reason = 403, "Forbidden"
    else:
        status, reason = 200, "Connection established"
    target = words[1] if len(words) > 1 else "?"
    server = None
    if status == 200:
        host, port = target.rsplit(":", 1)
        try:
            server = socket.create_connection((host.strip("[]"), int(port)), 5)
            server.settimeout(None)
        except OSError:
            status, reason = 504, "Gateway Timeout"
    print(target, status, flush=True)
    if not server:
        answer(client, status, reason)
        return
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    threading.Thread(target=copy, args=(server, client), daemon=True).start()
    copy(client, server)


def main():
    login = sys.argv[3] if len(sys.argv) > 3 else ""
    login = base64.b64encode(login.encode()).decode() if login else ""
    with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(
                target=serve, args=(client, login), daemon=True
            ).start()


main()
