"""redis-cli as a person uses it, on a terminal: interactive.py host:port

Types lines and looks at what is shown. Every difference is printed.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

host, port = sys.argv[1].rsplit(":", 1)
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execvp("redis-cli", ["redis-cli", "-h", host, "-p", port])

fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
shown = ""


def until(wanted, seconds=20):
    """Reads until something is shown; gives what was shown up to its end."""
    global shown
    end = time.time() + seconds
    while wanted not in shown:
        if time.time() > end:
            print(f"{wanted!r} was not shown, but: {shown[-600:]!r}")
            sys.exit(1)
        if select.select([terminal], [], [], 0.1)[0]:
            shown += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", os.read(terminal, 65536).decode(errors="replace"))
    at = shown.index(wanted) + len(wanted)
    seen, shown = shown[:at], shown[at:]
    return seen


def type_(text):
    os.write(terminal, text.encode())


prompt = f"{host}:{port}> "
until(prompt)
type_("SETEX ")
until("key seconds value")  # the hint, which comes of COMMAND DOCS
type_("typed 100 hello\r")
until("OK")
until(prompt)
type_("GET typed\r")
until('"hello"')
until(prompt)  # what is typed before it would be shown by the terminal, not by redis-cli
type_("HELP DYN.GET\r")
until("summary:")
until(prompt)
type_("select 3\r")
until(f"{host}:{port}[3]> ")
type_("MULTI\r")
until("(TX)> ")
type_("INCR n\r")
until("QUEUED")
until("(TX)> ")
type_("EXEC\r")
until("1) (integer) 1")
until(f"{host}:{port}[3]> ")
type_("SUBSCRIBE news\r")
until("Reading messages...")
type_("\x03")
until(f"{host}:{port}[3]> ", 5)
type_("GET n\r")
until('"1"')
until(f"{host}:{port}[3]> ")
type_("QUIT\r")
print("ok")
