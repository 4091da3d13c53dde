"""Progress bars in the terminal while history is read, since the first start takes minutes."""

from __future__ import annotations

import asyncio
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from engine.ports import Clock
from engine.venues.feed import LiveFeed
from handlers.wording import venue as venue_name

LOOK_SECONDS = 0.5


async def show_history(feed: LiveFeed, clock: Clock) -> None:
    """Show a bar per venue until all history has been read, if standard error is a terminal."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        return
    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars = {worker.id: progress.add_task(venue_name(worker.id), total=None, left="") for worker in feed.workers}
        most: dict[str, float] = {}
        while feed.in_history:
            for worker in feed.workers:
                markets, days = worker.history_to_go(clock.now())
                most[worker.id] = max(most.get(worker.id, 0.0), days)
                left = f"{days:.0f} d of {markets} to read" if markets else worker.detail or "read"
                if most[worker.id]:
                    progress.update(bars[worker.id], total=most[worker.id], completed=most[worker.id] - days, left=left)
                elif worker.detail:
                    progress.update(bars[worker.id], left=left)
            await asyncio.sleep(LOOK_SECONDS)
