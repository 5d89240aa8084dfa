"""The viewer: its pages in a browser, what its server refuses, and folders that it cannot show."""

import http.client
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from validator_episodes import episode_of, scene_on_route

from alpamayo.evaluation import manifest
from alpamayo.json_values import read_sealed, sealed, write_json
from alpamayo.runs import write_run
from alpamayo.validator import score_episode
from alpamayo.viewer.library import Library
from alpamayo.viewer.server import ViewerServer
from alpamayo_sim import testing
from alpamayo_sim.errors import InputError

HOSTILE = "<img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two drivers on one scenario and of one on another; names have markup in them."""
    folder = tmp_path_factory.mktemp("suite")
    crash = scene_on_route(testing.standing(HOSTILE, 25.0, 0.0))
    names = []
    for driver, scene, speed in (("fast", crash, 10.0), ("slow", crash, 0.0), (HOSTILE, scene_on_route(), 10.0)):
        episode = replace(episode_of(scene, speed=speed), driver=driver)
        names.append(f"{len(names)}/run")
        write_run(episode, score_episode(episode), folder / names[-1])
    manifest.write(manifest.Manifest({"suite": "test"}, tuple(names)), folder)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ViewerServer]:
    server = ViewerServer(Library(folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def asked(server: ViewerServer, path: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers
    connection.close()
    return found


def test_pictures_and_data_are_made_when_they_are_asked_for(server: ViewerServer) -> None:
    for path in ("/thumbnail/0", "/cameras/0/0", "/cameras/0/3"):
        status, content, headers = asked(server, path)
        assert (status, headers["Content-Type"], content[:4]) == (200, "image/webp", b"RIFF")
    status, content, _ = asked(server, "/data/0")
    assert status == 200
    assert b"At-fault collision at " in content


@pytest.mark.parametrize(
    "path",
    [
        "/thumbnail/9",
        "/cameras/0/99999",
        "/data/x",
        "/data/0/..",
        "/../suite.json",
        "/etc/passwd",
        "/watch",
        "/watch?run=7",
    ],
)
def test_other_addresses_are_not_found(server: ViewerServer, path: str) -> None:
    status, content, _ = asked(server, path)
    assert status == 404
    assert b"\n" not in content


def test_only_this_machine_may_ask_and_only_for_reading(server: ViewerServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert asked(server, "/", host="evil.example")[0] == 403
    assert asked(server, "/", method="POST")[0] == 501
    policy = asked(server, "/")[2]["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy


def test_foreign_names_are_words_on_every_page(server: ViewerServer) -> None:
    for path in ("/", "/watch?run=2"):
        page = asked(server, path)[1].decode()
        assert HOSTILE not in page
        assert "&lt;img src=x" in page


@pytest.mark.parametrize("kind", ["absent", "empty", "file"])
def test_a_folder_that_is_none_is_one_line(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
    elif kind == "file":
        folder.write_text("words")
    with pytest.raises(InputError, match=kind) as caught:
        Library(folder)
    assert "\n" not in str(caught.value)


def test_a_port_that_is_taken_is_one_line(server: ViewerServer) -> None:
    with pytest.raises(InputError, match=f"cannot serve on port {server.server_port}"):
        ViewerServer(server.library, server.server_port)


def test_a_single_run_is_shown(folder: Path) -> None:
    assert len(Library(folder / "0" / "run").rows) == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test where a script raises, and with a dialog that a foreign script would open."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(120_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    yield page
    page.close()
    assert faults == []


def until(page: Any, expression: str) -> None:
    """Wait until an expression holds; Playwright's own way needs eval, which the pages forbid."""
    deadline = time.monotonic() + 120.0
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


@pytest.mark.slow
def test_the_gallery_filters_sorts_and_opens(server: ViewerServer, page: Any) -> None:
    page.goto(server.address)
    assert page.locator(".card:visible").count() == 3
    page.select_option("select[name=driver]", "fast")
    assert page.locator(".card:visible").count() == 1
    assert page.locator("#told").text_content() == "1 of 3"
    page.goto(page.url)
    page.reload()
    assert page.locator(".card:visible").count() == 1
    page.select_option("select[name=driver]", "")
    page.fill("#search", "reached")
    page.fill("#search", "")
    scores = page.eval_on_selector_all(".card", "cards => cards.map(card => parseFloat(card.dataset.pdm_score))")
    assert scores == sorted(scores)
    page.locator(".card a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/watch?run=*")


@pytest.mark.slow
def test_two_drivers_share_one_clock_and_a_link_shows_a_moment(server: ViewerServer, page: Any) -> None:
    page.goto(f"{server.address}watch?run=0&run=1#step=7")
    until(page, "window.player && window.player.step === 7")
    assert page.locator(".pane").count() == 2
    steps = "window.player.panes.map(pane => pane.world.step)"
    assert page.evaluate(steps) == [7, 7]
    page.focus("#slider")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(steps) == [8, 8]
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("window.player.step === window.player.last")
    assert "#step=" in page.url
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    until(page, "window.player.step > 2")
    page.keyboard.press(" ")
    assert not page.evaluate("window.player.playing")
    page.keyboard.press("+")
    assert page.evaluate("window.player.panes.every(pane => pane.world.zoom === 1.25)")
    until(page, "document.querySelector('img.cameras').naturalWidth > 0")


@pytest.mark.slow
def test_the_picture_of_the_world_changes_with_time(server: ViewerServer, page: Any) -> None:
    page.goto(f"{server.address}watch?run=0")
    until(page, "window.player")
    picture = "document.querySelector('canvas.world').toDataURL()"
    first = page.evaluate(picture)
    page.keyboard.press("PageDown")
    assert page.evaluate(picture) != first


@pytest.mark.slow
@pytest.mark.parametrize("path", ["", "watch?run=0", "watch?run=0&run=1"])
def test_a_narrow_screen_does_not_scroll_sideways(server: ViewerServer, page: Any, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(server.address + path)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_the_report_of_an_episode_is_read_by_a_browser(folder: Path, tmp_path: Path, page: Any) -> None:
    from alpamayo.episode import load_episode
    from alpamayo.report.episode_page import page as report

    episode = load_episode(folder / "0" / "run")
    (tmp_path / "report.html").write_text(report(episode, score_episode(episode), []), encoding="utf-8")
    page.goto((tmp_path / "report.html").as_uri() + "#step=3")
    assert page.locator("h1").text_content().startswith("At-fault collision at ")
    assert page.evaluate("[world.step, world.data.agents[0].named]") == [3, True]
    page.focus("#slider")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("world.step") == 2
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_a_suite_of_many_episodes_has_a_card_for_each(folder: Path, tmp_path: Path) -> None:
    names = []
    row = read_sealed(folder / "0" / "run" / "summary.json")
    assert row is not None
    for k in range(480):
        names.append(f"fast/{k:03d}")
        (tmp_path / names[-1]).mkdir(parents=True)
        write_json(sealed({**row, "scenario": f"s-{k:03d}"}), tmp_path / names[-1] / "summary.json")
    manifest.write(manifest.Manifest({}, tuple(names)), tmp_path)
    server = ViewerServer(Library(tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert asked(server, "/")[1].count(b'<article class="card"') == 480
    server.shutdown()
    server.server_close()
