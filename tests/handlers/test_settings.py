"""Settings: an error is one sentence and never shows a secret."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from engine.errors import SettingError
from handlers.check import check
from handlers.logs import HIDDEN, OURS, redact, set_up_logging
from handlers.settings import PREFIX, TABLE, load

TOKEN = "123456:AAAA-bbbb-cccc-dddd-eeee-ffff-gggg"


def test_defaults() -> None:
    settings = load(None, {})
    assert settings.assets == ("BTC", "ETH", "SOL")
    assert len(settings.venues) == 11
    assert settings.ranked is None
    assert settings.access == "chats"
    assert settings.telegram_token is None


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.env"
    file.write_text("CLIFFWATCH_ASSETS=ETH\nCLIFFWATCH_POLL_SECONDS=30\nOTHER=1\n")
    settings = load(file, {"CLIFFWATCH_ASSETS": "btc, sol"})
    assert settings.assets == ("BTC", "SOL")
    assert settings.poll_seconds == 30


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(SettingError, match="CLIFFWATCH_ASETS is not a setting; the nearest is CLIFFWATCH_ASSETS"):
        load(None, {"CLIFFWATCH_ASETS": "BTC"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POLL_SECONDS", "soon"),
        ("POLL_SECONDS", "0"),
        ("VENUES", "binance-usdm"),
        ("ACCESS", "everybody"),
        ("TELEGRAM_API", "http://example.com"),
        ("VENUE_GATEWAY", "ftp://127.0.0.1"),
        ("OPERATORS", "me"),
        ("ASSETS", "B T C!"),
        ("LOG_LEVEL", "loud"),
        ("HISTORY_DAYS", "400"),
        ("TELEGRAM_API", "https://"),
        ("TELEGRAM_API", "https://host.example:99999"),
        ("TELEGRAM_API", "https://host.example:port"),
        ("TELEGRAM_API", "https://[::1"),
        ("DISCORD_API", "https://two words.example"),
        ("DISCORD_GATEWAY", "wss://:443"),
        ("DISCORD_API", "https://ho\x07st.example"),
        ("DISCORD_WEBHOOK", "https://host.example:99999/secret"),
        ("WEBHOOK_URL", "https://host.example:99999/secret"),
        ("ASSETS", "BTC,$x"),
    ],
)
def test_a_bad_value_is_one_sentence(name: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(None, {PREFIX + name: value})
    assert str(caught.value).startswith(PREFIX + name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("row", [row for row in TABLE if row.secret], ids=lambda row: str(row.name))
def test_a_bad_secret_is_refused_without_showing_it(row: object) -> None:
    with pytest.raises(SettingError) as caught:
        load(None, {PREFIX + row.name: "my secret value with spaces"})  # type: ignore[attr-defined]
    assert "secret value" not in str(caught.value)


def test_webhook_posts_are_always_signed() -> None:
    address = {"CLIFFWATCH_WEBHOOK_URL": "https://example.org/secret-path"}
    with pytest.raises(SettingError, match="WEBHOOK_SECRET") as caught:
        load(None, address)
    assert "secret-path" not in str(caught.value)
    with pytest.raises(SettingError, match="16 characters"):
        load(None, {**address, "CLIFFWATCH_WEBHOOK_SECRET": "short"})
    settings = load(None, {**address, "CLIFFWATCH_WEBHOOK_SECRET": "0123456789abcdef"})
    assert {settings.webhook_url, settings.webhook_secret} <= set(settings.secrets)


def test_plain_http_is_for_this_machine_only() -> None:
    assert load(None, {"CLIFFWATCH_TELEGRAM_API": "http://127.0.0.1:8081/"}).telegram_api == "http://127.0.0.1:8081"


def test_secrets_are_redacted() -> None:
    settings = load(None, {"CLIFFWATCH_TELEGRAM_TOKEN": TOKEN, "CLIFFWATCH_DISCORD_TOKEN": "abcdefghij.klmn"})
    text = redact(f"GET https://x/bot{TOKEN}/getMe Bot abcdefghij.klmn", settings.secrets)
    assert TOKEN not in text
    assert "abcdefghij" not in text
    assert HIDDEN in text


def test_text_like_a_token_is_redacted_too() -> None:
    assert "AAAA" not in redact("bot987654321:AAAAbbbbccccddddeeeeffffgggghhhhiii/getMe")
    assert "zzz" not in redact("https://discord.com/api/webhooks/1234/zzz-yyy")


def test_assets_can_be_a_top_n() -> None:
    assert load(None, {"CLIFFWATCH_ASSETS": "Top:50"}).ranked == 50
    assert load(None, {"CLIFFWATCH_ASSETS": "pepe,btc"}).ranked is None
    for bad in ("top:0", "top:9999", "top:"):
        with pytest.raises(SettingError):
            load(None, {"CLIFFWATCH_ASSETS": bad})


def test_a_password_in_an_address_is_never_shown() -> None:
    with pytest.raises(SettingError) as caught:
        load(None, {"CLIFFWATCH_TELEGRAM_API": "http://me:s3cret@host.example"})
    assert "s3cret" not in str(caught.value)
    for text in ("GET https://me:s3cret@host.example/x", "wss://s3cret@gateway.example", "http://a:s3cret@10.0.0.1:1"):
        assert "s3cret" not in redact(text)
    assert redact("https://host.example/a?to=me@there.example") == "https://host.example/a?to=me@there.example"


async def test_check_shows_no_password() -> None:
    settings = load(
        None,
        {
            "CLIFFWATCH_TELEGRAM_API": "https://me:s3cret@host.example",
            "CLIFFWATCH_VENUE_GATEWAY": "http://me:s3cret@127.0.0.1:9",
            "CLIFFWATCH_VENUES": "bybit",
            "CLIFFWATCH_VENUE_PROXIES": "bybit=http://me:s3cret@127.0.0.1:9",
        },
    )
    lines, well = await check(settings)
    assert not well
    assert "s3cret" not in "\n".join(lines)
    assert any("host.example" in line for line in lines)


def test_the_token_of_an_interaction_is_redacted() -> None:
    for text in (
        "POST https://discord.com/api/v10/interactions/1234/aW50ZXJhY3Rpb24/callback",
        "{'id': '1234', 'token': 'aW50ZXJhY3Rpb24'}",
        '{"token": "aW50ZXJhY3Rpb24"}',
    ):
        assert "aW50" not in redact(text)


def test_debug_is_for_our_loggers(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        set_up_logging("DEBUG", ())
        logging.getLogger("discord.gateway").debug("what a person wrote")
        logging.getLogger("telegram.ext.Updater").debug("what a person wrote")
        logging.getLogger("ccxt").info("from a library")
        logging.getLogger("handlers.x").debug("of our own")
        shown = capsys.readouterr().err
        assert "what a person wrote" not in shown
        assert "from a library" in shown
        assert "of our own" in shown
    finally:
        logging.getLogger().handlers[:], level = before
        logging.getLogger().setLevel(level)
        for name in OURS:
            logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_settings_file_others_can_read_logs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "my.env"
    file.write_text("CLIFFWATCH_ASSETS=ETH\n")
    file.chmod(0o600)
    load(file, {})
    assert not caplog.records
    file.chmod(0o640)
    load(file, {})
    assert "chmod 600" in caplog.text


def test_a_non_latin_ticker_can_be_set() -> None:
    assert load(None, {"CLIFFWATCH_ASSETS": "btc,币安人生"}).assets == ("BTC", "币安人生")


def test_proxies_are_by_venue_and_never_shown() -> None:
    settings = load(
        None, {"CLIFFWATCH_VENUE_PROXIES": "bybit=http://me:s3cret@proxy.example:8080, okx=http://10.0.0.1:3128"}
    )
    assert settings.venue_proxies == {"bybit": "http://me:s3cret@proxy.example:8080", "okx": "http://10.0.0.1:3128"}
    assert set(settings.venue_proxies.values()) <= set(settings.secrets)
    for bad in ("kraken=http://a:1", "bybit=ftp://me:s3cret@a", "http://me:s3cret@a"):
        with pytest.raises(SettingError) as caught:
            load(None, {"CLIFFWATCH_VENUE_PROXIES": bad})
        assert "s3cret" not in str(caught.value)
