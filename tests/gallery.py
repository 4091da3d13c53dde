"""Every message and picture as it renders: `python -m tests.gallery` writes docs/gallery.md, a test checks it.

The content comes from commands on a simulated market of thirty days, the same each time.
"""

from __future__ import annotations

import asyncio
import html
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from engine.board import AssetBoard
from engine.calibration.track_record import track_record
from engine.clock import ManualClock
from engine.loopback.simulated import SimulatedSource
from engine.loopback.tape import Tape
from engine.market import HOUR_MS, AssetUpdate, Bar, Market, ReportedLiquidation
from engine.pipeline import AlertPipeline
from handlers.alert_messages import alert_answer
from handlers.answers import Answer
from handlers.commands.channel import preview_facts
from handlers.context import Services
from handlers.i18n import LANGUAGES, use_language
from handlers.pictures import Pictures
from handlers.platforms.discord.render import render_discord
from handlers.platforms.telegram.render import render_telegram
from storage.store import Store
from tests.engine.calibration.test_hourly_model import made_up
from tests.handlers.kit import Kit, People

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOW, DAYS, SEED = 1_795_320_000_000, 30, 7
SHARES = {"binanceusdm": "Binance", "bybit": "Bybit", "okx": "OKX"}
ASKED = (
    *("/start", "/liq 88000", "/liq", "/clusters", "/map", "/map 3%", "/market", "/rekt 24h", "/skill", "/risk"),
    *("/cascade", "/why 88000", "/offer 88000", "/threshold normal", "/threshold 0.2% $900b", "/alert price 95k"),
    *("/alert", "/alerts", "/mute btc 4h", "/quiet 23:00-07:00", "/timezone Europe/Berlin", "/language", "/settings"),
    *("/history", "/export", "/forget", "/status", "/help", "/help liq", "/liq 88", "/liq nope", "/lik", "/stop"),
)
IN_A_GROUP = ("/subscribe calm", "/channel", "/channel cap 6", "/channel log", "/preview", "/unsubscribe")
TRANSLATED = ("/liq 88000", "/clusters", "/help", "/alerts")
LIGHT = "/map"


def board_of(tape: Tape, now: int) -> AssetBoard:
    """Return a board advanced through a tape hour by hour, on three venues."""
    board = AssetBoard(tape.asset)
    start = -(-tape.start // HOUR_MS) * HOUR_MS
    for candle in tape.candles(HOUR_MS, start, now - HOUR_MS, now):
        closed = candle.at + HOUR_MS
        prices = (candle.open, candle.high, candle.low, candle.close)
        bars, reported = [], []
        for venue in SHARES:
            forced = list(tape.forced(venue, candle.at, closed))
            usd = {side: sum(o.price * o.amount_base for o in forced if o.side == side) for side in ("long", "short")}
            interest, rate = tape.interest_base(venue, closed), tape.funding_rate(closed)
            market = Market(venue, f"{tape.asset}/USDT:USDT", tape.asset)
            bar = Bar(candle.at, HOUR_MS, *prices, interest, None, None, rate, usd["long"], usd["short"])
            bars.append((market, bar))
            reported += [ReportedLiquidation(o.at, o.side, o.price * o.amount_base, market.key) for o in forced]
        path = bars[0][1].path
        board.advance(AssetUpdate(path=path, bars=tuple(bars), reported=tuple(reported)), closed)
    return board


async def made_kit() -> Kit:
    """Return a kit with services on the simulated market, ready for commands."""
    tape = Tape(SimulatedSource(SEED, NOW, DAYS))
    board = board_of(tape, NOW)
    clock = ManualClock(board.closed_at + 9_000)
    store = Store(None, clock)
    await store.open()
    services = Services(
        AlertPipeline({"BTC": board}, await store.rules.load(), store), store, clock, "open", wall=clock
    )
    services.ready.set()
    services.records["BTC"] = replace(track_record("BTC", made_up(count=24 * 60)), at=board.closed_at)
    return Kit(services, store, clock, People(admins={"7"}))


async def shown(kit: Kit) -> list[tuple[str, str, Answer]]:
    """Return heading, input and answer of each entry, in the order of the page."""
    entries = [("Privately", text, await kit.ask(text)) for text in ASKED]
    await kit.ask("/start")
    group = await kit.chat("-100", "group")
    entries += [("In a group, by its admins", text, await kit.ask(text, chat=group)) for text in IN_A_GROUP]
    board = kit.services.pipeline.boards["BTC"]
    entries += [("Alerts", name, alert_answer(facts)) for name, facts in alerts(board, kit.clock.at)]
    for tag, name in LANGUAGES.items():
        if tag == "en":
            continue
        chat = await kit.chat("8")
        await kit.store.chats.save_preferences(chat.id, replace(chat.preferences, language=tag))
        entries += [(name, text, await kit.ask(text, "8")) for text in TRANSLATED]
        with use_language(tag):
            entries += [(name, "near", alert_answer(preview_facts(board, kit.clock.at) | {"preview": False}))]
    return entries


def alerts(board: AssetBoard, now: int) -> Iterable[tuple[str, dict[str, object]]]:
    """Yield name and facts of each kind of alert, for the nearest cluster."""
    near = preview_facts(board, now) | {"preview": False, "rank": 1, "of": 2, "usual_ratio": 1.7}
    ends = {"mark": board.view.mark, "missed": (), "in_range": (near["cluster"],)}
    gone = {"offline_from": now - 7 * HOUR_MS, "offline_to": now - 60_000}
    value = near | {"risk_parts": {}, "next_below": None, "next_above": None}
    report = {
        "since": now - HOUR_MS,
        "reported_usd": 4.6e6,
        "long_share": 0.96,
        "expected_low_usd": 2.0e6,
        "expected_high_usd": 7.5e6,
        "swept_share": 1.0,
        "next_below": {"label": 86_400.0, "distance": 0.014, "forced_usd": 3.0e7},
        "next_above": {"label": 95_000.0, "distance": 0.038, "forced_usd": 3.3e7},
    }
    yield "near", near
    yield "entered", near | {"kind": "entered"}
    yield "swept", near | report | {"kind": "swept"}
    yield "swept, an hour later", near | report | {"kind": "swept", "final": True, "reported_usd": 5.2e6}
    yield "wick", near | report | {"kind": "wick", "swept_share": 0.13}
    yield "over", near | report | {"kind": "over", "swept_share": None, "faded": False, "distance": 0.012}
    yield "over, entered and faded", near | report | {"kind": "over", "swept_share": 0.4, "faded": True}
    hour = {"usd": 2.1e7, "hour_usd": {"long": 2.1e7, "short": 1.4e6}, "move_1h": -0.021, "percentile": 99.5}
    yield "surge", value | hour | {"kind": "surge", "side": "long", "threshold_usd": 1.8e7}
    ground = {"days": 7, "all_known": False, "far": 84_200.0, "forced_usd": 1.9e7}
    yield "fresh", value | hour | ground | {"kind": "fresh", "side": "long"}
    yield "fresh, as far as the map reaches", value | hour | {"kind": "fresh", "side": "short", "days": 30, "far": None}
    move = hour | {"kind": "move", "side": "long", "from": board.view.mark * 1.031}
    yield "move", value | move
    yield "move, an hour later", value | move | {"final": True, "reported_usd": 5.2e6}
    yield "price", value | {"kind": "price", "level": 95_000.0, "value": 95_000.0}
    yield "funding", value | {"kind": "funding", "level": 0.0005, "value": 0.00061}
    yield "oi", value | {"kind": "oi", "level": 0.1, "value": -0.123}
    yield (
        "risk",
        value | {"kind": "risk", "level": 70.0, "value": 74.0, "risk_parts": {"funding": 0.9, "open interest": 0.8}},
    )
    yield "cascade", value | {"kind": "cascade", "level": 5e7, "value": 6.2e7}
    yield "offline", near | ends | gone | {"kind": "offline"}
    yield "back", near | ends | gone | {"kind": "back"}
    missing = {"binanceusdm": "network error", "bybit": "maintenance"}
    yield "stale", near | {"kind": "stale", "since": now - 5 * 60_000, "missing": missing}
    yield "group", {"kind": "group", "count": 5, "items": [near] * 5, "asset": "BTC", "at": now}
    yield "digest", {"kind": "digest", "count": 2, "items": [near, near], "asset": "BTC", "at": now}
    yield "preview", near | {"preview": True}
    yield "full", {"kind": "full", "cap": 6, "timezone": "Europe/Berlin"}
    yield "test", {"kind": "test"}
    yield "welcome", {"kind": "welcome", "rules": 2}
    yield "approved", {"kind": "let_in"}
    yield "lost", {"kind": "lost", "chat": "Traders"}
    yield "waits", {"kind": "waits", "chat": "Traders"}
    yield "refused", {"kind": "refused", "chat": 3, "error": "HTTP 403, 50083"}
    yield "perhaps", {"kind": "perhaps", "chat": 3, "error": "no answer in time"}
    for state in ("token refused", "refusing"):
        yield f"platform, {state}", {"kind": "platform", "platform": "telegram", "state": state}
    yield "undelivered", {"kind": "undelivered", "message": 17, "chat": 3, "error": "forbidden"}


async def page(kit: Kit) -> tuple[str, dict[str, bytes]]:
    """Return the page, and its pictures by file name."""
    parts = [HEAD]
    drawn: dict[str, bytes] = {}
    pictures = Pictures(kit.services)
    heading = ""
    for title, typed, answer in await shown(kit):
        if title != heading:
            parts.append(f"## {title}")
            heading = title
        parts.append(f"### `{typed}`\n\n{_telegram(answer)}")
        if answer.picture is not None and title == "Privately":
            name = f"{typed.strip('/').replace(' ', '-').replace('%', '')}.png"
            drawn[name] = await pictures.draw(answer)
            parts.append(f"![{answer.picture.alt}](gallery/{name})")
            if typed == LIGHT:
                light = replace(answer, picture=replace(answer.picture, light=True))
                drawn["map-light.png"] = await pictures.draw(light)
                parts.append("![The same in light](gallery/map-light.png)")
        if typed == "/liq 88000" and title == "Privately":
            parts.append(f"On Discord, the first line as content and the rest as an embed:\n\n{_discord(answer)}")
    pictures.close()
    return "\n\n".join(parts) + "\n", drawn


HEAD = """# Gallery

Every message as it renders, from a simulated market of thirty days: numbers that nobody traded. Made by `make gallery`;
the checks see that it is current. Telegram's form is shown, buttons in brackets; Discord's differs as in the second
example."""


def _telegram(answer: Answer) -> str:
    rendered = render_telegram(answer)
    text = html.unescape(re.sub(r"</?[a-z]+>", "", rendered["html"]))
    rows = [" ".join(f"[{label}]" for label, _ in row) for row in rendered["buttons"]]
    return "```text\n" + "\n".join([text, *rows]) + "\n```"


def _discord(answer: Answer) -> str:
    rendered = render_discord(answer)
    embed = rendered["embed"]
    buttons = " ".join(f"[{label}]" for label, _ in rendered["buttons"])
    body = [rendered["content"], "---", embed["description"], embed["footer"]["text"], buttons]
    return "```text\n" + "\n".join(body) + "\n```"


async def make() -> None:
    """Write the page and its pictures."""
    kit = await made_kit()
    text, drawn = await page(kit)
    await kit.close()
    folder = DOCS / "gallery"
    folder.mkdir(exist_ok=True)
    for name in {path.name for path in folder.glob("*.png")} - drawn.keys():
        (folder / name).unlink()
    for name, png in drawn.items():
        (folder / name).write_bytes(png)
    (DOCS / "gallery.md").write_text(text)
    sys.stdout.write(f"{len(drawn)} pictures, {text.count('###')} messages\n")


if __name__ == "__main__":
    asyncio.run(make())
