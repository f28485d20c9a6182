"""The program that takes the picture of a page: it starts Chromium in an enclosure and drives it.

``python -m deepfake_service.capture.renderer GATE``: standard input has what is wanted as JSON,
standard output gets a line of JSON and then the picture. ``GATE`` is the socket on which it hands
the browser's connections to the gate. Chromium is spoken to by its DevTools protocol over a pair of
pipes: a library for that would bring a second program, which would read what a browser says that a
page has taken over. This process reads it, and is within the same enclosure.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepfake_models.sandbox.enclosure import (
    NotEnclosed,
    enclose,
    end_all,
    lead_out,
    memory_bytes,
)

LOAD, SCROLL, SETTLE = 1 / 3, 1 / 8, 1 / 12
"""Of the time that there is: for the page to load, to be scrolled through, and to load the rest."""
DATA_BYTES = 1 << 30
"""What each process of the browser may reserve to write to. ``memory_bytes`` bounds all of them."""
LOOK_S = 0.1
"""Between two looks at the memory."""
MAX_MESSAGE_BYTES = 64 << 20
WIDTH, HEIGHT, MAX_HEIGHT = 1280, 900, 16_000
"""Of the window; a page that is longer is cut, as endless ones are."""
WRITABLE = {"/tmp": 128 << 20, "/dev/shm": 256 << 20}  # noqa: S108 - within the enclosure
FONTS = ("/etc/fonts", "/usr/share/fontconfig", "/usr/share/fonts", "/usr/local/share/fonts",
         "/var/cache/fontconfig")  # fmt: skip
PROFILE = "/tmp/profile"  # noqa: S108 - as above
FLAGS = (
    "--remote-debugging-pipe", f"--user-data-dir={PROFILE}", f"--window-size={WIDTH},{HEIGHT}",
    "--hide-scrollbars", "--mute-audio", "--lang=en-US", "--disable-breakpad",
    "--disable-background-networking", "--disable-setuid-sandbox", "--disable-gpu",
    "--disable-software-rasterizer", "--disable-quic", "--block-new-web-contents",
    "--deny-permission-prompts", "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--proxy-bypass-list=<-loopback>", "--js-flags=--jitless",
)  # fmt: skip
SHOW = """(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms)), begin = Date.now();
  for (let y = 0; y < Math.min(document.documentElement.scrollHeight, %d)
       && Date.now() - begin < %d; y += %d) {
    scrollTo(0, y);
    await wait(100);
  }
  scrollTo(0, 0);
  const missing = [...document.images].filter((image) => !image.complete);
  await Promise.race([wait(%d), Promise.all(missing.map((image) =>
    new Promise((done) => { image.onload = image.onerror = done; })))]);
})()"""
"""Shows the page once from top to bottom, so that it loads what it loads when it is seen."""


class Missing(Exception):
    """There is no picture, for the reason that this names."""


class Browser:
    """Chromium, to which commands are sent."""

    def __init__(self, program: str, arguments: list[str]) -> None:
        (theirs, self._out), (self._in, back) = os.pipe(), os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        # First away from the numbers that they are moved to.
        moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in (null, theirs, back)]
        given = [moved[0], moved[0], *moved]  # nothing for the standard three
        os.posix_spawn(
            program,
            [program, *arguments],
            {"HOME": PROFILE, "LC_ALL": "C.UTF-8"},
            file_actions=[(os.POSIX_SPAWN_DUP2, each, n) for n, each in enumerate(given)],
        )
        for each in (null, theirs, back, *moved):
            os.close(each)
        self._number = 0
        self._read, self._searched = bytearray(), 0
        self._session: str | None = None

    def open(self) -> None:
        """Open a page, to which the commands are sent that follow."""
        target = self.tell("Target.createTarget", url="about:blank")["targetId"]
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return what it answers; ``Missing`` if the browser refuses it, or has
        ended."""
        number = self._send(method, parameters)
        while (message := self._next()).get("id") != number:
            pass
        if not isinstance(result := message.get("result"), dict):
            raise Missing("failed")
        return result

    def wait(self, event: str, seconds: float) -> None:
        """Wait for an event of the page, at most so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0 and self._next(left).get("method") != event:
            pass

    def _send(self, method: str, parameters: dict[str, Any]) -> int:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        try:
            while content:
                content = content[os.write(self._out, content) :]
        except BrokenPipeError:
            raise Missing("failed") from None
        return self._number

    def _next(self, seconds: float | None = None) -> dict[str, Any]:
        """Return the next message, or nothing if none comes in time. Dialogs are closed, because
        their page waits for that."""
        while (end := self._read.find(b"\0", self._searched)) < 0:
            self._searched = len(self._read)
            if not select.select([self._in], [], [], seconds)[0]:
                return {}
            piece = os.read(self._in, 1 << 20)
            if not piece or len(self._read) > MAX_MESSAGE_BYTES:
                raise Missing("failed")
            self._read += piece
        content, self._searched = bytes(self._read[:end]), 0
        del self._read[: end + 1]
        message: dict[str, Any] = json.loads(content)
        if message.get("method") == "Page.javascriptDialogOpening":
            self._send("Page.handleJavaScriptDialog", {"accept": False})
        return message


def picture_of(browser: Browser, url: str, seconds: float) -> tuple[dict[str, Any], bytes]:
    """Return what is known of the picture of a page, and the picture as PNG; ``Missing`` if there
    is none."""
    version = browser.tell("Browser.getVersion")
    browser.tell("Browser.setDownloadBehavior", behavior="deny")
    browser.open()
    agent = str(version["userAgent"]).replace("Headless", "")
    browser.tell("Emulation.setUserAgentOverride", userAgent=agent)
    browser.tell("Page.enable")
    if browser.tell("Page.navigate", url=url).get("errorText"):
        raise Missing("unreachable")
    browser.wait("Page.loadEventFired", LOAD * seconds)
    frame = _frame(browser, url)
    # In a world of its own, whose functions the page cannot replace.
    world = browser.tell("Page.createIsolatedWorld", frameId=frame["id"])["executionContextId"]
    show = SHOW % (MAX_HEIGHT, 1000 * SCROLL * seconds, HEIGHT, 1000 * SETTLE * seconds)
    browser.tell("Runtime.evaluate", expression=show, contextId=world, awaitPromise=True)
    size = browser.tell("Page.getLayoutMetrics")["cssContentSize"]
    frame = _frame(browser, url)
    clip = {"x": 0, "y": 0, "width": WIDTH, "scale": 1,
            "height": max(1, min(int(size["height"]), MAX_HEIGHT))}  # fmt: skip
    taken = browser.tell("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    if _frame(browser, url)["loaderId"] != frame["loaderId"]:
        raise Missing("moving")
    about = {
        "url": frame["url"],
        "browser": version["product"],
        "user_agent": agent,
        "is_cut": size["height"] > MAX_HEIGHT,
    }
    return about, base64.b64decode(taken["data"])


def _frame(browser: Browser, url: str) -> dict[str, Any]:
    """Return the page that is shown now, if it is one of the web or the one that was asked for."""
    frame: dict[str, Any] = browser.tell("Page.getFrameTree")["frameTree"]["frame"]
    if "unreachableUrl" in frame or not frame["url"].startswith(("http://", "https://", url)):
        raise Missing("unreachable")
    return frame


def shown_for(program: str) -> Iterator[str]:
    """Yield the folders that a program needs: its own, and those of its libraries, and fonts."""
    yield str(Path(program).parent)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)  # noqa: S603, S607
    paths = {word for word in listed.stdout.split() if word.startswith("/")}
    yield from sorted({str(Path(path).parent) for path in paths})
    yield "/etc/ld.so.cache"
    yield from FONTS


class Guard:
    """Ends the browser when it has had the time or the memory that it may have."""

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self.reason: str | None = None
        self._end = time.monotonic() + seconds
        self._most_bytes = most_bytes
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.reason is None:
            time.sleep(LOOK_S)
            if memory_bytes() > self._most_bytes:
                self.reason = "memory"
            elif time.monotonic() > self._end:
                self.reason = "too_slow"
        end_all()


def _answer(about: dict[str, Any], picture: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(about).encode() + b"\n" + picture)
    sys.stdout.buffer.flush()


def main() -> None:
    asked = json.loads(sys.stdin.buffer.read())
    gate = socket.socket(fileno=int(sys.argv[1]))
    gate.set_inheritable(False)
    try:
        enclose(list(shown_for(asked["program"])), WRITABLE, DATA_BYTES)
    except NotEnclosed as error:
        _answer({"reason": "not_enclosed", "detail": str(error)})
        return
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    proxy = f"--proxy-server=socks5://127.0.0.1:{listener.getsockname()[1]}"
    browser = Browser(asked["program"], [*FLAGS, proxy, *asked["flags"]])
    guard = Guard(asked["seconds"], asked["memory_bytes"])
    lead_out(listener, gate)
    try:
        about, picture = picture_of(browser, asked["url"], asked["seconds"])
    except (Missing, KeyError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, Missing) else "failed"
        _answer({"reason": guard.reason or reason})
    else:
        _answer(about, picture)


if __name__ == "__main__":
    main()
