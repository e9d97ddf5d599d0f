"""How a page is looked at: light or dark, on a desk or in a hand."""

from typing import Any, NamedTuple


class Look(NamedTuple):
    """A colour scheme and the size of a window in CSS pixels."""

    scheme: str
    width: int
    height: int

    @property
    def name(self) -> str:
        """As ``dark-390``."""
        return f"{self.scheme}-{self.width}"

    def options(self) -> dict[str, Any]:
        """Return the options of a browser context."""
        return {
            "color_scheme": self.scheme,
            "viewport": {"width": self.width, "height": self.height},
            "reduced_motion": "reduce",
            "locale": "en-GB",
            "timezone_id": "Europe/Brussels",
        }


LOOKS = tuple(
    Look(scheme, width, height)
    for scheme in ("light", "dark")
    for width, height in ((1440, 900), (390, 844))
)
