"""How real transcripts are distributed, as tables.

Source: counted in 310 sessions and 43 subagent files of Claude Code 1.0.17 to 2.1.237 (see
docs/transcript-format.md). Only the counts were taken over, no text.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

PERCENTILES = (1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_BUCKET_BITS = 10


class Quantiles:
    """Whole numbers drawn so that their percentiles are those of a table."""

    def __init__(self, *values: float) -> None:
        buckets = 1 << _BUCKET_BITS
        self._drawn = tuple(
            round(_interpolate(values, 100 * (bucket + 0.5) / buckets)) for bucket in range(buckets)
        )

    def draw(self, rng: random.Random) -> int:
        """Return one value."""
        return self._drawn[rng.getrandbits(_BUCKET_BITS)]


def _interpolate(values: tuple[float, ...], percentile: float) -> float:
    if percentile <= PERCENTILES[0]:
        return values[0]
    above = next(place for place, known in enumerate(PERCENTILES) if known >= percentile)
    low, high = PERCENTILES[above - 1], PERCENTILES[above]
    share = (percentile - low) / (high - low)
    start, end = math.log1p(values[above - 1]), math.log1p(values[above])
    return math.expm1(start + share * (end - start))


class Weighted(Generic[Item]):
    """Items drawn as often as their weights say."""

    def __init__(self, weights: Mapping[Item, float]) -> None:
        total = sum(weights.values())
        self._table: list[Item] = []
        for item, weight in weights.items():
            self._table += [item] * max(1, round(4096 * weight / total))

    def draw(self, rng: random.Random) -> Item:
        """Return one item."""
        return self._table[int(rng.random() * len(self._table))]


LINES_PER_SESSION = Quantiles(5, 13, 30, 74, 218, 448, 883, 1022, 1350, 2331, 2331)
LINES_PER_AGENT = Quantiles(4, 6, 9, 18, 33, 47, 59, 65, 90, 90, 90)
LINES_PER_API_MESSAGE = Weighted(
    {1: 0.196, 2: 0.545, 3: 0.205, 4: 0.036, 5: 0.011, 6: 0.005, 8: 0.002}
)
MS_BETWEEN_RECORDS = Quantiles(0, 1, 6, 300, 1_001, 3_056, 5_979, 13_590, 164_641, 2.8e6, 3.6e7)
API_CALLS_PER_TURN = Quantiles(1, 1, 1, 3, 7, 14, 25, 34, 60, 90, 120)

PROMPT_CHARS = Quantiles(2, 10, 20, 50, 93, 210, 843, 5_953, 15_478, 62_347, 120_000)
TEXT_CHARS = Quantiles(2, 22, 33, 58, 97, 213, 776, 1_282, 2_644, 5_998, 9_901)
THINKING_CHARS = Quantiles(
    259, 323, 357, 420, 587, 1_269, 2_874, 5_056, 12_983, 41_582, 83_414
)  # with the signature
FILE_CHARS = Quantiles(
    90, 600, 1_100, 2_800, 8_000, 22_000, 40_000, 52_000, 85_000, 140_000, 400_000
)  # a source file that is read and edited
PROGRESS_CHARS = Quantiles(0, 0, 0, 20, 60, 800, 2_600, 5_800, 32_000, 90_000, 120_000)
ATTACHMENT_CHARS = Quantiles(10, 20, 60, 100, 240, 1_000, 6_100, 8_200, 20_000, 49_000, 49_500)

INPUT_TOKENS = Quantiles(0, 1, 1, 1, 8, 8, 10, 13, 29_753, 128_644, 221_429)
CACHE_WRITE_TOKENS = Quantiles(0, 70, 152, 326, 677, 1_580, 6_192, 24_788, 92_758, 139_584, 161_920)


@dataclass(frozen=True, slots=True)
class ToolShape:
    """How often a tool is called, how large its input and result are, how often it fails."""

    share: float
    input_chars: Quantiles
    result_chars: Quantiles
    duration_ms: Quantiles
    error_share: float


def _seconds(*values: float) -> Quantiles:
    return Quantiles(*(1_000 * value for value in values))


TOOLS: Mapping[str, ToolShape] = {
    "Bash": ToolShape(
        0.3123,
        Quantiles(56, 65, 73, 91, 120, 183, 320, 515, 1_051, 4_227, 14_334),
        Quantiles(2, 2, 13, 67, 350, 1_135, 3_036, 5_583, 15_798, 31_164, 55_287),
        _seconds(0.037, 0.052, 0.076, 0.33, 2.372, 7.007, 27.977, 71.883, 317, 3_936, 5_000),
        0.0874,
    ),
    "Read": ToolShape(
        0.235,
        Quantiles(58, 73, 81, 96, 112, 124, 132, 144, 159, 175, 176),
        Quantiles(55, 685, 986, 1_545, 2_820, 5_859, 19_094, 31_482, 65_618, 123_088, 300_000),
        _seconds(0.001, 0.002, 0.002, 0.003, 0.043, 0.177, 0.46, 0.865, 1.952, 127, 1_673),
        0.0159,
    ),
    "Edit": ToolShape(
        0.2024,
        Quantiles(178, 224, 317, 514, 907, 1_651, 3_144, 4_712, 8_950, 16_615, 26_805),
        Quantiles(86, 94, 100, 109, 122, 174, 1_051, 1_625, 4_004, 10_870, 16_631),
        _seconds(0.001, 0.004, 0.005, 0.021, 0.109, 1.505, 21.541, 62.1, 382, 1_404, 5_000),
        0.0468,
    ),
    "Grep": ToolShape(
        0.1203,
        Quantiles(57, 75, 91, 122, 143, 163, 182, 194, 219, 253, 327),
        Quantiles(16, 18, 18, 86, 461, 2_090, 4_657, 7_609, 16_580, 20_597, 21_263),
        _seconds(0.06, 0.13, 0.242, 0.298, 0.44, 0.603, 1.167, 1.349, 2.803, 86, 244),
        0.0131,
    ),
    "TaskUpdate": ToolShape(
        0.028,
        Quantiles(38, 38, 38, 38, 38, 40, 40, 40, 41, 380, 380),
        Quantiles(18, 24, 24, 24, 24, 24, 24, 25, 37, 126, 126),
        _seconds(0.001, 0.001, 0.001, 0.002, 0.002, 0.004, 0.082, 0.409, 1.18, 3.066, 3.066),
        0.0054,
    ),
    "TodoWrite": ToolShape(
        0.0201,
        Quantiles(208, 399, 457, 579, 719, 925, 1_157, 1_321, 1_411, 1_917, 1_917),
        Quantiles(162, 162, 162, 162, 162, 162, 162, 162, 162, 162, 162),
        _seconds(0.006, 0.013, 0.018, 0.031, 0.059, 0.135, 0.268, 0.777, 23.9, 43.9, 43.9),
        0.0,
    ),
    "Write": ToolShape(
        0.0173,
        Quantiles(60, 164, 373, 1_167, 3_300, 7_415, 13_818, 17_596, 23_889, 39_874, 39_874),
        Quantiles(57, 67, 76, 89, 103, 154, 5_628, 11_579, 24_270, 27_674, 27_674),
        _seconds(0.003, 0.004, 0.006, 0.029, 0.269, 4.05, 48.8, 140, 255, 344, 344),
        0.0645,
    ),
    "TaskCreate": ToolShape(
        0.0155,
        Quantiles(161, 175, 185, 214, 257, 307, 398, 484, 625, 698, 698),
        Quantiles(50, 56, 56, 67, 76, 85, 95, 102, 114, 122, 122),
        _seconds(0.001, 0.001, 0.001, 0.002, 0.003, 0.005, 0.073, 0.546, 4.971, 7.764, 7.764),
        0.0,
    ),
    "Glob": ToolShape(
        0.0139,
        Quantiles(19, 24, 27, 31, 45, 72, 94, 98, 112, 115, 115),
        Quantiles(16, 16, 16, 16, 95, 339, 2_457, 3_045, 7_608, 10_967, 10_967),
        _seconds(0.005, 0.079, 0.205, 0.326, 0.492, 0.779, 1.356, 1.84, 4.677, 8.177, 8.177),
        0.0219,
    ),
    "Task": ToolShape(
        0.0114,
        Quantiles(345, 479, 529, 654, 907, 1_344, 3_154, 4_661, 6_794, 8_053, 8_053),
        Quantiles(140, 464, 747, 1_760, 5_087, 9_988, 13_804, 18_908, 25_565, 29_161, 29_161),
        _seconds(0.143, 2.271, 9.791, 41.4, 66.4, 171, 622, 1_035, 7_375, 8_000, 8_000),
        0.0421,
    ),
    "Skill": ToolShape(
        0.0032,
        Quantiles(18, 19, 24, 38, 44, 48, 59, 103, 171, 171, 171),
        Quantiles(25, 30, 30, 38, 44, 53, 58, 58, 90, 90, 90),
        _seconds(0.0, 0.001, 0.004, 0.005, 0.016, 0.101, 3.047, 9.478, 50, 50, 50),
        0.0794,
    ),
    "ExitPlanMode": ToolShape(
        0.0023,
        Quantiles(199, 1_547, 1_700, 2_574, 3_983, 7_291, 16_182, 19_370, 20_039, 20_039, 20_039),
        Quantiles(59, 227, 227, 227, 298, 390, 5_011, 6_610, 20_125, 20_125, 20_125),
        _seconds(2.129, 4.305, 10.4, 52.4, 91.3, 147, 554, 1_052, 9_628, 9_628, 9_628),
        0.8043,
    ),
    "AskUserQuestion": ToolShape(
        0.0018,
        Quantiles(327, 349, 423, 533, 734, 1_169, 1_666, 1_728, 2_885, 2_885, 2_885),
        Quantiles(141, 147, 158, 203, 301, 571, 817, 1_024, 1_289, 1_289, 1_289),
        _seconds(4.352, 7.15, 17.7, 49.1, 80.4, 221, 812, 2_881, 3_268, 3_268, 3_268),
        0.1389,
    ),
    "WebFetch": ToolShape(
        0.0018,
        Quantiles(124, 130, 167, 189, 252, 302, 415, 424, 517, 517, 517),
        Quantiles(24, 37, 37, 221, 907, 1_298, 1_882, 76_107, 80_721, 80_721, 80_721),
        _seconds(0.387, 0.446, 0.591, 2.368, 4.894, 13.2, 44.9, 70.5, 93.7, 93.7, 93.7),
        0.1667,
    ),
    "WebSearch": ToolShape(
        0.0014,
        Quantiles(43, 52, 53, 66, 77, 89, 100, 111, 136, 136, 136),
        Quantiles(206, 229, 265, 1_587, 3_360, 4_186, 4_410, 4_585, 4_657, 4_657, 4_657),
        _seconds(3.235, 3.934, 7.548, 16.9, 22.4, 26.3, 46.4, 52.7, 169, 169, 169),
        0.0,
    ),
    "mcp__linear-server__create_issue": ToolShape(
        0.0014,
        Quantiles(529, 768, 799, 998, 1_409, 1_722, 2_306, 2_872, 4_650, 4_650, 4_650),
        Quantiles(27, 27, 66, 225, 1_588, 2_338, 3_073, 3_677, 5_493, 5_493, 5_493),
        _seconds(2.291, 2.67, 3.294, 6.641, 10.0, 29.2, 63.7, 94.2, 96.7, 96.7, 96.7),
        0.3704,
    ),
    "mcp__linear-server__get_issue": ToolShape(
        0.0014,
        Quantiles(16, 16, 16, 16, 17, 17, 42, 46, 46, 46, 46),
        Quantiles(60, 60, 1_085, 1_146, 1_410, 1_674, 2_478, 5_865, 5_865, 5_865, 5_865),
        _seconds(0.329, 0.329, 0.331, 0.481, 0.965, 1.842, 6.439, 9.795, 9.795, 9.795, 9.795),
        0.0667,
    ),
}
TOOL_NAMES = Weighted({name: tool.share for name, tool in TOOLS.items()})


@dataclass(frozen=True, slots=True)
class Era:
    """Versions of Claude Code that wrote alike.

    ``side_records`` counts the records of other types per assistant line; ``growing``,
    ``stop_reason`` and ``undercounted`` are shares of API messages, ``hour_cache`` the share of
    sessions whose cache writes live for an hour. ``agents`` says where subagents are written.
    """

    share: float
    versions: tuple[str, ...]
    days: tuple[str, str]
    models: Weighted[str]
    side_records: Mapping[str, float]
    growing: float
    stop_reason: float
    undercounted: float
    hour_cache: float
    agents: str
    late_layout: bool = False


ERAS = (
    Era(
        share=0.04,
        versions=("1.0.17", "1.0.44", "1.0.61", "1.0.88", "1.0.117"),
        days=("2025-06-08", "2025-09-28"),
        models=Weighted({"claude-sonnet-4-20250514": 7, "claude-opus-4-20250514": 3}),
        side_records={},
        growing=0.22,
        stop_reason=0.16,
        undercounted=0.12,
        hour_cache=0.0,
        agents="inline",
    ),
    Era(
        share=0.10,
        versions=("2.0.14", "2.0.31", "2.0.55", "2.0.65", "2.0.76"),
        days=("2025-10-01", "2026-01-06"),
        models=Weighted(
            {
                "claude-sonnet-4-5-20250929": 5,
                "claude-opus-4-5-20251101": 4,
                "claude-haiku-4-5-20251001": 1,
            }
        ),
        side_records={"file-history-snapshot": 0.0795, "system": 0.0397, "queue-operation": 0.0195},
        growing=0.38,
        stop_reason=0.13,
        undercounted=0.41,
        hour_cache=0.0,
        agents="sibling",
    ),
    Era(
        share=0.64,
        versions=("2.1.1", "2.1.7", "2.1.12", "2.1.19", "2.1.29", "2.1.37", "2.1.42", "2.1.55"),
        days=("2026-01-07", "2026-03-05"),
        models=Weighted(
            {
                "claude-opus-4-5-20251101": 6,
                "claude-opus-4-6": 3,
                "claude-sonnet-4-5-20250929": 2,
                "claude-haiku-4-5-20251001": 1,
                "glm-4.7": 0.3,
            }
        ),
        side_records={
            "progress": 0.833,
            "file-history-snapshot": 0.0694,
            "system": 0.0628,
            "queue-operation": 0.006,
            "summary": 0.0013,
            "pr-link": 0.0005,
        },
        growing=0.12,
        stop_reason=0.02,
        undercounted=0.47,
        hour_cache=0.5,
        agents="folder",
    ),
    Era(
        share=0.08,
        versions=("2.1.62", "2.1.68", "2.1.76", "2.1.81"),
        days=("2026-03-06", "2026-04-20"),
        models=Weighted(
            {
                "claude-opus-4-6": 5,
                "claude-sonnet-4-6": 3,
                "claude-haiku-4-5-20251001": 1,
                "MiniMax-M2.7": 0.5,
            }
        ),
        side_records={
            "progress": 1.3,
            "queue-operation": 0.3,
            "file-history-snapshot": 0.0602,
            "system": 0.0519,
            "last-prompt": 0.0484,
        },
        growing=0.69,
        stop_reason=0.97,
        undercounted=0.02,
        hour_cache=0.8,
        agents="folder",
    ),
    Era(
        share=0.07,
        versions=("2.1.121", "2.1.126", "2.1.139", "2.1.167", "2.1.181"),
        days=("2026-04-21", "2026-06-30"),
        models=Weighted(
            {
                "claude-opus-4-7": 5,
                "claude-sonnet-4-6": 3,
                "claude-opus-4-8": 2,
                "claude-haiku-4-5-20251001": 1,
                "glm-5": 0.5,
            }
        ),
        side_records={
            "attachment": 0.195,
            "queue-operation": 0.1334,
            "system": 0.08,
            "last-prompt": 0.0717,
            "permission-mode": 0.0433,
            "mode": 0.0316,
            "ai-title": 0.03,
            "file-history-snapshot": 0.0251,
        },
        growing=0.12,
        stop_reason=0.99,
        undercounted=0.01,
        hour_cache=0.9,
        agents="folder",
        late_layout=True,
    ),
    Era(
        share=0.07,
        versions=("2.1.204", "2.1.212", "2.1.220", "2.1.231", "2.1.237"),
        days=("2026-07-01", "2026-11-10"),
        models=Weighted(
            {
                "claude-opus-5": 5,
                "claude-fable-5": 3,
                "claude-sonnet-5": 3,
                "claude-haiku-4-5-20251001": 1,
                "MiniMax-M3": 0.4,
            }
        ),
        side_records={
            "queue-operation": 0.4918,
            "attachment": 0.3872,
            "last-prompt": 0.1999,
            "mode": 0.1065,
            "permission-mode": 0.0808,
            "file-history-snapshot": 0.0678,
            "system": 0.0439,
            "ai-title": 0.0294,
            "atis-latch": 0.0201,
            "file-history-delta": 0.0037,
        },
        growing=0.12,
        stop_reason=0.99,
        undercounted=0.01,
        hour_cache=0.9,
        agents="folder",
        late_layout=True,
    ),
)
SESSION_ERAS = Weighted({place: era.share for place, era in enumerate(ERAS)})
