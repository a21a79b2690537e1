"""Titles of films that do not exist, for presenting simulated ratings."""

import numpy as np

from ...utils.settings import check_integer
from ..splits import RandomState

WORDS = {
    "adjective": """
        Amber Borrowed Bright Broken Crooked Crystal Distant Early Electric Empty Faithful Forgotten
        Gentle Golden Hidden Hollow Honest Idle Iron Late Lonely Midnight Narrow Northern Paper Patient
        Quiet Reluctant Restless Salt Scarlet Second Seventh Silent Silver Sleepless Stolen Tender
        Unlikely Velvet Wandering Winter
    """,
    "noun": """
        Accordion Archipelago Astronomer Baker Beekeeper Bridge Carousel Cartographer Chandelier
        Clockmaker Comet Compass Detective Dragonfly Ferryman Garden Glacier Harbour Heron Hotel Ladder
        Lantern Letter Librarian Lighthouse Locksmith Machinist Meridian Messenger Mirror Observatory
        Orchard Orchestra Passenger Pianist Pilot Planet Promise Railway Riverboat Saxophone Shoreline
        Sparrow Staircase Stranger Summer Tailor Telegraph Tide Tournament Voyage Waltz Widow
    """,
    "place": """
        Aberdeen Bergen Cádiz Dakar Galway Genoa Hobart Kraków Kyoto Lima Lisbon Montreal Nairobi Odesa
        Oslo Porto Quito Reykjavík Rotterdam Salta Tallinn Trieste Tromsø Valparaíso
    """,
    "name": """
        Ada Amara Bruno Clara Dmitri Elena Farid Greta Hugo Ines Jonas Lena Marta Noor Otto Paloma Rafael
        Sofia Tomás Yuki
    """,
}
FORMS = (
    "The {adjective} {noun}", "{adjective} {noun}", "The {noun}", "{noun} of {place}", "No {noun} in {place}",
    "Last {noun} to {place}", "{name} and the {noun}", "{name}'s {noun}", "The {noun} and the {other}",
)  # fmt: skip
YEARS = 1950, 2025


def invented_titles(n: int, random_state: RandomState = 0) -> list[str]:
    """Return n distinct titles with a year, such as "The Patient Locksmith (1987)", determined by the seed.

    A ValueError if n is not an integer from 0 to 10,000.
    """
    check_integer("n", n, at_least=0, at_most=10_000)
    rng, titles = np.random.default_rng(random_state), dict[str, None]()
    words = {kind: text.split() for kind, text in WORDS.items()}
    words["other"] = words["noun"]
    while len(titles) < n:
        chosen = {kind: some[rng.integers(len(some))] for kind, some in words.items()}
        if chosen["noun"] != chosen["other"]:
            titles[FORMS[rng.integers(len(FORMS))].format(**chosen)] = None
    return [f"{name} ({rng.integers(*YEARS)})" for name in titles]
