"""Colours: one a capability or provider on every chart, told apart by the colour-blind as well, on light and dark."""

from collections.abc import Mapping, Sequence

# By lightness as well as hue, after Okabe and Ito (Color Universal Design, 2008) and Tol (Colour Schemes, 2021);
# neighbours in a stack differ most. Each has a contrast of 3 : 1 at least to both backgrounds, but the palest.
SERIES = (
    "#3B78D8",
    "#E08A1E",
    "#14967F",
    "#C2528B",
    "#7A5CC4",
    "#B8A11C",
    "#2FA4C7",
    "#C4553B",
    "#6B9440",
    "#8A6FA8",
    "#A3742C",
    "#4E8FA0",
)
OTHER = "#8C939E"
VALUE = SERIES[0]
GOOD = "#14967F"
BAD = "#D6455D"
WARNING = "#D98E04"
NEUTRAL = "#8C939E"
OUTCOMES = {
    "successes": "#5FAE9B",
    "success": "#5FAE9B",
    "errors": BAD,
    "error": BAD,
    "unknown": NEUTRAL,
    "errors_by_status": BAD,
    "errors_by_flag": "#E08A1E",
    "errors_by_both": "#8F2D56",
    "interactions": VALUE,
}
SEVERITIES = {"low": "#E9B44C", "medium": "#E08A1E", "high": BAD}


def assigned(names: Sequence[str]) -> Mapping[str, str]:
    """Name → colour, in the order in which names came into the world, so that a new one changes no other's."""
    return {name: SERIES[number % len(SERIES)] for number, name in enumerate(names)}
