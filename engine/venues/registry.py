"""The venues there are. Adding one is a file and a line here."""

from __future__ import annotations

from engine.venues.binanceusdm import BinanceUsdm
from engine.venues.bybit import Bybit
from engine.venues.okx import Okx
from engine.venues.venue import Venue

VENUES: dict[str, type[Venue]] = {venue.id: venue for venue in (BinanceUsdm, Bybit, Okx)}
