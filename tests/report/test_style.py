from __future__ import annotations

import re
from importlib import resources

import pytest

STYLE = resources.files("outreach_sync.report").joinpath("style.css").read_text(encoding="utf-8")
TEXT, GRAPHICS = 4.5, 3.0  # WCAG 2.2, level AA: 1.4.3 and 1.4.11


def _palettes() -> list[dict[str, str]]:
    """Light, dark and print, in the order of the style sheet."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", block)) for block in blocks]


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(one * 2 for one in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_there_is_a_palette_for_light_for_dark_and_for_paper() -> None:
    assert len(_palettes()) == 3
    assert "@media (prefers-color-scheme: dark)" in STYLE
    assert "@media print" in STYLE


@pytest.mark.parametrize("palette", _palettes(), ids=["light", "dark", "print"])
def test_text_and_graphics_stand_out_from_what_is_behind_them(palette: dict[str, str]) -> None:
    for ground in ("ground", "card"):
        for ink in ("ink", "soft", "calm", "warn", "good"):
            assert _contrast(palette[ink], palette[ground]) >= TEXT, (ink, ground)
        assert _contrast(palette["bad"], palette[ground]) >= GRAPHICS
    assert _contrast(palette["warn"], palette["warn-soft"]) >= GRAPHICS
    assert _contrast(palette["bad"], palette["bad-soft"]) >= GRAPHICS
