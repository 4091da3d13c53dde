"""Parsing of numbers as users type them, and formatting of numbers for messages."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches

from engine.errors import InputError
from engine.liquidation.grid import BIN, WINDOW
from engine.market import DAY_MS, HOUR_MS, MINUTE_MS
from handlers.i18n import N_, _, written

_NUMBER = re.compile(r"([+-]?)\$?(\d[\d.,'_]*)([kmb%]?)\$?", re.IGNORECASE)
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_RANGE = re.compile(r"\$?\d[\d.,'_]*[km]?(?:-|\.\.|to)\$?\d[\d.,'_]*[km]?", re.IGNORECASE)
_DURATION = re.compile(
    r"(\d{1,5})\s*(?:(m|min|mins|minutes?)|(h|hrs?|hours?)|(d|days?)|(w|wks?|weeks?))", re.IGNORECASE
)
_DURATION_MS = (MINUTE_MS, HOUR_MS, DAY_MS, 7 * DAY_MS)

_AS_TYPED = {
    **dict.fromkeys(map(ord, "\u2212\u2013\u2014\u2012\uff0d"), "-"),
    **{ord(full): plain for full, plain in zip("\uff1a\uff0c\uff0e\uff05\uff0b\uff04\uff0f", ":,.%+$/", strict=True)},
    **{0xFF10 + digit: str(digit) for digit in range(10)},
    0x3000: " ",
    0x60C: ",",
    0x66B: ".",
}
"""Plain equivalents of characters from other keyboards."""

_UNIT_LETTERS = {
    **dict.fromkeys(("к", "тыс", "тысяч", "mil", "nghìn", "ngàn", "千", "thousand"), "k"),
    **dict.fromkeys(("млн", "миллион", "mio", "mln", "triệu", "million", "millions"), "m"),
    **dict.fromkeys(("млрд", "mrd", "bn", "billion", "billions", "tỷ"), "b"),
}
_UNIT_WORDS = re.compile(
    rf"(\d)\s*({'|'.join(sorted(_UNIT_LETTERS, key=len, reverse=True))})\.?(?![\w])", re.IGNORECASE
)

MAX_TEXT = 200
"""Maximum length of arguments, characters; the rest is cut off before parsing."""


class DidYouMeanError(InputError):
    """A number that is too small for a price of this asset but, times a thousand, is near the mark price."""

    def __init__(self, typed: str, price: float) -> None:
        super().__init__(N_("{typed} is far from the price. Did you mean {price}?"), typed=typed, price=label(price))
        self.typed, self.price = typed, price
        self.asset = ""


def clean(text: str) -> str:
    """Return text with plain signs, digits and units, without control characters and lone surrogates.

    Phones send other minus signs, apostrophes and full-width characters, and units in other scripts.
    """
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", text)
    text = text.translate(_AS_TYPED)
    text = re.sub(r"(?<=\d)['\u2018\u2019\u02bc\u2032`\u00b4](?=\d)", "'", text)
    return _UNIT_WORDS.sub(lambda match: match[1] + _UNIT_LETTERS[match[2].casefold()], text)


def parse_price(text: str, mark: float) -> float:
    """Parse a price in any usual notation: 88000, 88,000, 88.000, 88 000, 88k, $1.2m, -3%, 1,5%.

    An ambiguous separator is read so that the price is closest to the mark price.

    Raises:
        DidYouMeanError: for 88 when 88k would be near.
        InputError: when it is no number, or a price beyond the map's reach.
    """
    compact = re.sub(r"[\s\u00a0\u202f~≈€£₿]|^[<>=]+|usdt?$|[?!;,.\u2026]+$", "", text.strip(), flags=re.IGNORECASE)
    if _RANGE.fullmatch(compact):
        raise InputError("One price at a time, not {word}.", "/liq 88000", word=text.strip()[:20])
    match = _NUMBER.fullmatch(compact)
    shown = text.strip()[:20]
    if not match:
        raise InputError("{word!r} is not a price.", label(round(mark, -3) if mark > 5000 else mark), word=shown)
    signed, digits, unit = match[1], match[2], match[3].lower()
    readings = _readings(digits)
    if not readings:
        raise InputError("{word!r} is not a price.", label(mark), word=shown)
    if unit == "%" or (signed and not unit and min(readings) < 100):
        share = min(readings) / 100 * (-1 if signed == "-" else 1)
        if not share:
            raise InputError("{word} is the current price.", "-3%", word=shown)
        if not -0.6 < share < 1.5:
            raise InputError("{word} is outside the map.", "-3%", word=shown)
        return mark * (1 + share)
    prices = [reading * _UNITS[unit] for reading in readings if reading > 0]
    if not prices or signed == "-":
        raise InputError("{word!r} is not a price.", label(mark), word=shown)
    price = min(prices, key=lambda p: abs(math.log(p / mark)))
    return _within_reach(price, mark, shown)


def _within_reach(price: float, mark: float, shown: str) -> float:
    if abs(math.log(price / mark)) <= WINDOW * BIN * 0.9:
        return price
    if abs(math.log(price * 1000 / mark)) < 0.7:
        raise DidYouMeanError(shown, price * 1000)
    low, high = mark * math.exp(-WINDOW * BIN * 0.9), mark * math.exp(WINDOW * BIN * 0.9)
    raise InputError(
        "{word} is outside the map ({low} to {high}).",
        label(mark),
        word=shown,
        low=label(low),
        high=label(high),
    )


def _readings(digits: str) -> list[float]:
    """Return the possible values of a run of digits and separators."""
    plain = digits.replace("'", "").replace("_", "").rstrip(".,")
    marks = [c for c in plain if c in ".,"]
    if len(plain) > 25:
        return []
    if not marks:
        return [float(plain)]
    if len(set(marks)) == 2:
        decimal = marks[-1]
        if marks.count(decimal) > 1:
            return []
        other = "," if decimal == "." else "."
        return [float(plain.replace(other, "").replace(decimal, "."))]
    groups = plain.split(marks[0])
    as_thousands = [float("".join(groups))] if all(len(group) == 3 for group in groups[1:]) else []
    as_decimal = [float(".".join(groups))] if len(marks) == 1 else []
    return as_thousands + as_decimal


def parse_duration(text: str) -> int:
    """Parse a time span such as 30m, 4h, 2d or 2 hours into milliseconds; a bare number is hours.

    Raises:
        InputError: when it is no time span, zero, or over 30 days.
    """
    match = _DURATION.fullmatch(text.strip() + ("h" if text.strip().isdecimal() else ""))
    unit = next((ms for ms, group in zip(_DURATION_MS, match.groups()[1:], strict=True) if group), 0) if match else 0
    if not match or not 0 < (span := int(match[1]) * unit) <= 30 * DAY_MS:
        raise InputError("Time must be 1m to 30d, not {word!r}.", "4h", word=text.strip()[:20])
    return span


def is_number(word: str) -> bool:
    """Return whether a word looks like a number rather than a name."""
    return bool(_NUMBER.fullmatch(word))


COIN_NAMES = {
    "bitcoin": "BTC",
    "ethereum": "ETH",
    "ether": "ETH",
    "solana": "SOL",
    "ripple": "XRP",
    "dogecoin": "DOGE",
    "cardano": "ADA",
    "avalanche": "AVAX",
    "chainlink": "LINK",
    "polkadot": "DOT",
    "litecoin": "LTC",
    "toncoin": "TON",
    "tron": "TRX",
    "shiba": "SHIB",
    "polygon": "POL",
    "uniswap": "UNI",
    "cosmos": "ATOM",
    "биткоин": "BTC",
    "биткойн": "BTC",
    "эфир": "ETH",
    "比特币": "BTC",
    "以太坊": "ETH",
    "xbt": "BTC",
}
"""Tickers by the names that people use for coins."""


def find_asset(word: str, known: Sequence[str]) -> str:
    """Return the watched asset that a word means.

    Raises:
        InputError: when there is none; it names the most similar watched asset or lists some.
    """
    name = word.upper().lstrip("$").removesuffix("USDT").removesuffix("USD").rstrip("/-:?!,.") or word.upper()
    name = COIN_NAMES.get(name.casefold(), name) if name not in known else name
    if name in known:
        return name
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    example = f"/liq {(close or list(known))[0].lower()}"
    if close:
        raise InputError("{word} isn't watched. Did you mean {asset}?", example, word=word[:20], asset=close[0])
    raise InputError("{word} isn't watched. Watched: {assets}.", example, word=word[:20], assets=", ".join(known[:8]))


def price(value: float) -> str:
    """Format a price with the separators of the current language: 88,910, 3,124.5, 0.2134."""
    return written(_price(value))


def _price(value: float) -> str:
    if value >= 10_000:
        return f"{value:,.0f}"
    if value >= 1000:
        return f"{value:,.1f}".removesuffix(".0")
    if value >= 1:
        return f"{value:,.{max(0, 4 - int(math.log10(value)))}f}".rstrip("0").rstrip(".")
    return _small(value, 4)


def _small(value: float, digits: int) -> str:
    """Format a number below one to some significant digits, never in scientific notation."""
    places = digits - 1 - math.floor(math.log10(value)) if value > 0 else digits
    return f"{value:.{places}f}".rstrip("0").rstrip(".")


def zone(low: float, high: float) -> str:
    """Format both ends of a cluster, rounded outward to four significant digits of the lower end."""
    step = 10 ** (math.floor(math.log10(low)) - 3)
    return f"{price(math.floor(low / step) * step)}-{price(math.ceil(high / step) * step)}"


def label(value: float) -> str:
    """Format a price as a short label: 88.0k, 3,120, 0.213."""
    if value >= 10_000:
        return written(f"{value / 1000:.1f}k")
    if value >= 1000:
        return written(f"{value:,.0f}")
    return written(f"{value:.3g}" if value >= 1 else _small(value, 3))


def usd(value: float) -> str:
    """Format an amount in USD to two significant digits: $38M, $1.2B, $450k."""
    if value < 1:
        return "$0"
    rounded = float(f"{value:.1e}")
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if rounded >= unit:
            scaled = rounded / unit
            return written(f"${scaled:.1f}{letter}" if scaled < 10 else f"${scaled:.0f}{letter}")
    return f"${rounded:.0f}"


def usd_range(low: float, high: float) -> str:
    """Format a band in USD: $20-75M if both ends share a unit."""
    left, right = usd(low), usd(high)
    if left[-1] == right[-1] and left[-1].isalpha():
        return f"{left[:-1]}-{right[1:]}"
    return f"{left}-{right[1:]}"


def count(value: int) -> str:
    """Format a whole number with thousands separators: 12,345."""
    return written(f"{value:,}")


def percent(share: float, digits: int = 1) -> str:
    """Format a fraction as a percentage without a sign."""
    return written(f"{abs(share) * 100:.{digits}f}%")


def signed_percent(share: float, digits: int = 1) -> str:
    return written(f"{share * 100:+.{digits}f}%")


def ratio(value: float) -> str:
    """Format a ratio: 1.7x."""
    return written(f"{value:.1f}x")


def span(seconds: float) -> str:
    """Format a time span: 14 s, 3 min, 2 h, 4 d."""
    if seconds < 120:
        return _("{number} s", number=f"{seconds:.0f}")
    if seconds < 2 * 3600:
        return _("{number} min", number=f"{seconds / 60:.0f}")
    if seconds < 72 * 3600:
        return _("{number} h", number=f"{seconds / 3600:.0f}")
    return _("{number} d", number=f"{seconds / 86400:.0f}")
